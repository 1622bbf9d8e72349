// One real cluster for all tests of a program: starting one takes over a second.
#pragma once

#include "tests/contract/etcd_cluster.hpp"

namespace bascule::testkit {

EtcdCluster& shared_cluster();

}  // namespace bascule::testkit
