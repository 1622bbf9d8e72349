// The arbiter store on etcd >= 3.4, through its JSON gateway over mTLS.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/kv.hpp"
#include "hostd/runtime/etcd/connection.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::runtime::etcd {

struct EtcdOptions {
  std::vector<std::string> endpoints;  ///< https://host:port, every member
  TlsFiles tls;
  /// From this host's own disk (R6); 0 = not known yet. Members of another cluster, or older than
  /// this, are not used.
  std::uint64_t cluster_id{0};
  core::kv::Revision revision{0};
  std::chrono::milliseconds connect_timeout{1000};  ///< connect, TLS and first check of one member, together
  std::chrono::milliseconds probe_every{2000};      ///< each member; also keeps a connection to it open
  std::chrono::milliseconds probe_timeout{1500};
};

/// Does not wait for etcd. Everything runs on `executor`, one thread. Error: invalid, what is wrong
/// in the options.
core::Result<std::unique_ptr<KvStore>> make_etcd_store(boost::asio::any_io_executor executor, EtcdOptions options);

}  // namespace bascule::runtime::etcd
