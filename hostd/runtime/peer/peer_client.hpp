// Asking another hostd for a promise (failsafe, DESIGN section 4): a renewal of this host's lease delivered by hand,
// over mTLS, while etcd cannot be reached. Thread rule: the executor given, one thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"
#include "hostd/runtime/etcd/connection.hpp"

namespace bascule::runtime {

class PeerPort {
 public:
  PeerPort() = default;
  PeerPort(const PeerPort&) = delete;
  PeerPort& operator=(const PeerPort&) = delete;
  virtual ~PeerPort() = default;
  /// Success only when that host has said that it promises. Everything else is an error: refused (it said no, with its
  /// sentence), unavailable, outcome_unknown (it may have promised; that binds it, not this host).
  virtual boost::asio::awaitable<core::Result<>> ask_promise(std::string host, std::string address,
                                                             core::HostLease lease, Deadline deadline) = 0;
};

class PeerClient final : public PeerPort {
 public:
  /// Error: invalid, naming the file.
  static core::Result<std::unique_ptr<PeerClient>> make(boost::asio::any_io_executor executor, etcd::TlsFiles tls);
  /// `address`: as in HostInfo::api_address. The certificate must be of the cell's CA and name that address. One
  /// connection per host is kept open, at most one request on it at a time.
  boost::asio::awaitable<core::Result<>> ask_promise(std::string host, std::string address, core::HostLease lease,
                                                     Deadline deadline) override;

 private:
  PeerClient(boost::asio::any_io_executor executor, std::shared_ptr<etcd::TlsContext> tls)
      : executor_(std::move(executor)), tls_(std::move(tls)) {}
  boost::asio::any_io_executor executor_;
  std::shared_ptr<etcd::TlsContext> tls_;
  std::map<std::string, std::shared_ptr<etcd::Connection>> idle_;  ///< by address
};

}  // namespace bascule::runtime
