// One TLS connection to one etcd member, speaking HTTP/1.1. No header of Asio's TLS or Beast is
// needed to use it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "hostd/core/error.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::runtime::etcd {

struct Endpoint {
  std::string url;   ///< as configured
  std::string host;  ///< name or address; an IPv6 address without its brackets
  std::uint16_t port{0};
};
/// Only https://host:port. Error: invalid.
core::Result<Endpoint> parse_endpoint(std::string_view url);

struct TlsFiles {
  std::string ca;
  std::string cert;
  std::string key;
};

/// Trusts only `ca`, shows `cert`, speaks TLS 1.2 or 1.3. Holds the files' contents as they were
/// when loaded.
class TlsContext;
/// Error: invalid, naming the file.
core::Result<std::shared_ptr<TlsContext>> load_tls(const TlsFiles& files);

/// How far a request went, and the answer.
struct Exchange {
  enum class Outcome : std::uint8_t {
    not_sent,  ///< the member cannot have got the whole request
    unknown,   ///< it may have it; no whole answer came
    answered,
  };
  Outcome outcome{Outcome::not_sent};
  unsigned status{0};
  std::string body;
  std::string why;        ///< unless answered
  bool too_large{false};  ///< unknown, because the answer is over kMaxReplyBytes
};

class Connection {
 public:
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  virtual ~Connection() = default;

  /// One POST and its answer: one write, no further round trip. Not usable any more unless
  /// reusable() afterwards.
  virtual boost::asio::awaitable<Exchange> post(std::string_view path, std::string_view body, Deadline deadline) = 0;
  /// Open, idle, and nothing has come in since the last answer (a member that closes says so).
  virtual bool reusable() = 0;

  /// A POST whose answer does not end; `deadline` is for the answer's header. Error: as
  /// Exchange::why.
  virtual boost::asio::awaitable<core::Result<>> begin_stream(std::string_view path, std::string_view body,
                                                              Deadline deadline) = 0;
  /// The next line of it, however long that takes. Errors: exhausted when a line is over
  /// kMaxStreamLine, unavailable when the stream ended.
  virtual boost::asio::awaitable<core::Result<std::string>> next_line() = 0;

  /// Ends whatever is going on, at once.
  virtual void close() = 0;
};
inline constexpr std::size_t kMaxReplyBytes = 8 * 1024 * 1024;
inline constexpr std::size_t kMaxStreamLine = 8 * 1024 * 1024;

/// Resolve, connect, TLS handshake with the member's name or address verified. Error: unavailable,
/// or refused when TLS says no.
boost::asio::awaitable<core::Result<std::shared_ptr<Connection>>> open_connection(boost::asio::any_io_executor executor,
                                                                                  Endpoint endpoint,
                                                                                  std::shared_ptr<TlsContext> tls,
                                                                                  Deadline deadline);

}  // namespace bascule::runtime::etcd
