// The REST server: TLS 1.3, client certificates only. Sockets, TLS and HTTP have a thread of their own, so that nobody
// who connects can hold up the io thread, where the host's lease is renewed; only a call itself, which reads or changes
// the cell, runs there, in its turn. The two threads share no state: calls and answers are handed over (crossing.hpp).
// Thread rule: make, run, stop and destroy on the io thread, or when it does not run.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "api/cell_port.hpp"
#include "api/identity.hpp"

namespace bascule::api {

struct ServerTls {
  std::string ca, cert, key;
  std::vector<std::string> crls{};  ///< PEM files of revocation lists; empty: none is asked
};

/// Where the mapping of names comes from; without it `urn:bascule:` URIs alone say who somebody is.
struct IdentitySource {
  std::string file{};  ///< looked at for changes
  std::function<core::Result<IdentityMap>()> load{};
};

/// Limits of one connection or of the whole server. The defaults are for a daemon with 1024 descriptors.
struct ServerLimits {
  std::size_t connections{512};  ///< beyond: they wait before their handshake
  std::size_t handshakes{64};    ///< at work at a time; about 1 ms of CPU each
  std::size_t handshakes_per_address{48};
  std::size_t waiting{256};  ///< before their handshake, one of each address in turn; beyond: the longest line's
                             ///< newest is cut
  std::size_t waiting_per_address{128};
  std::size_t others{384};    ///< of clients and auditors; the rest is kept for operators and hosts
  std::size_t clients{256};   ///< all clients together
  std::size_t per_name{128};  ///< connections with one certificate's name
  std::size_t streams{128};   ///< event streams
  std::size_t streams_per_name{16};
  std::size_t uploads{4};  ///< from the first byte to the end of the import
  std::uint32_t header_bytes{8192};
  std::uint64_t body_bytes{64 * 1024};          ///< kept in memory until it is whole; the longest definition has less
  std::uint64_t drain_bytes{16 * 1024 * 1024};  ///< read and thrown away so that a refusal can be heard
  std::size_t unsent_bytes{32 * 1024 * 1024};   ///< of answers that clients and auditors have not taken yet
  std::size_t unsent_per_name{8 * 1024 * 1024};
  std::chrono::milliseconds patience{500};  ///< with all places taken, who has not been let in for so long gives way
  std::chrono::milliseconds handshake_time{10'000};
  std::chrono::milliseconds header_time{10'000};  ///< from its first byte to its last
  std::chrono::milliseconds body_time{20'000};
  std::chrono::milliseconds write_time{20'000};  ///< for one answer: a slower reader is dropped
  std::chrono::milliseconds idle_time{75'000};   ///< between the requests of a connection
  std::chrono::milliseconds piece_time{30'000};  ///< for 256 KiB of an upload
  std::chrono::milliseconds heartbeat{15'000};   ///< a comment on a quiet event stream
  std::chrono::milliseconds files_time{
      3'000};                                  ///< between two looks at the files: a change counts when it stands still
  std::chrono::milliseconds stop_time{5'000};  ///< for calls at work when the server stops
};

struct ServerOptions {
  std::string listen;  ///< ip:port; port 0 = any
  ServerTls tls;
  IdentitySource identities;
  bool allow_tls12{};  ///< for a client that cannot do better; off unless asked for
  std::uint64_t max_image_bytes{std::uint64_t{10} << 30U};
  std::string console;  ///< folder of the web console; empty = none. One that cannot be read is told in the log
  ServerLimits limits;
};

class Server {
 public:
  /// Binds and loads the certificates. `executor` is the io thread's. Errors: io, invalid (which file).
  static core::Result<std::unique_ptr<Server>> make(const boost::asio::any_io_executor& executor, ServerOptions options,
                                                    CellPort& cell);
  /// Ends the API's thread. Calls that are still at work on the io thread go on, their answers are not sent.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Serves until stop() was called and every call at work has ended, or stop_time is over.
  boost::asio::awaitable<void> run();
  /// No new connections; idle ones and streams end now, calls at work are answered.
  void stop();
  /// Reads certificates, revocation lists and identities again, as it does by itself when they change. Connections of
  /// those who are not let in any more, or are somebody else now, end. Error: nothing was taken, what was in use stays.
  boost::asio::awaitable<core::Result<>> reload();
  std::uint16_t port() const;

 private:
  struct Impl;
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace bascule::api
