// One real cluster for all tests of a program: starting one takes over a second.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>

#include "hostd/runtime/etcd/kv_store.hpp"
#include "tests/contract/etcd_cluster.hpp"

namespace bascule::testkit {

EtcdCluster& shared_cluster();

/// A store on it, or on the fake, that answers. nullptr after a skip or a failure of the test.
std::unique_ptr<runtime::KvStore> open_store(boost::asio::io_context& io, bool real);

}  // namespace bascule::testkit
