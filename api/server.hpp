// The REST server: TLS 1.3, client certificates only. One listener on the io thread shared with the rest of hostd.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "api/cell_port.hpp"

namespace bascule::api {

struct ServerTls {
  std::string ca, cert, key;
};

struct ServerOptions {
  std::string listen;  ///< ip:port; port 0 = any
  ServerTls tls;
  std::uint64_t max_image_bytes{std::uint64_t{10} << 30U};
};

/// Limits; each is one connection's or the whole server's.
struct ServerLimits {
  static constexpr std::size_t connections = 2048;     ///< beyond: closed at once
  static constexpr std::size_t handshakes = 128;       ///< at work at a time; others wait in the kernel's queue
  static constexpr std::size_t streams = 256;          ///< event streams
  static constexpr std::size_t uploads = 4;
  static constexpr std::uint32_t header_bytes = 8192;
  static constexpr std::uint64_t body_bytes = 1024 * 1024;
  static constexpr std::chrono::seconds handshake_time{10};
  static constexpr std::chrono::seconds request_time{20};  ///< for one whole head and body
  static constexpr std::chrono::seconds write_time{30};    ///< a reader slower than that is dropped
  static constexpr std::chrono::seconds idle_time{75};     ///< between requests of one connection
  static constexpr std::chrono::seconds upload_piece{30};  ///< silence within an upload
  static constexpr std::chrono::seconds heartbeat{15};     ///< comment on a quiet event stream
};

class Server {
 public:
  /// Binds and loads the certificates. Errors: io, invalid (which file).
  static core::Result<std::unique_ptr<Server>> make(const boost::asio::any_io_executor& executor, ServerOptions options,
                                                    CellPort& cell);
  ~Server();
  boost::asio::awaitable<void> run();
  /// No new connections; those that wait are closed.
  void stop();
  std::uint16_t port() const;

 private:
  struct Impl;
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace bascule::api
