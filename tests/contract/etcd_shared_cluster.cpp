#include "tests/contract/etcd_shared_cluster.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace bascule::testkit {
namespace {

std::unique_ptr<EtcdCluster> cluster;

/// Ends the members before the program ends, whatever the tests did to them.
class EndCluster final : public testing::Environment {
 public:
  void TearDown() override { cluster.reset(); }
};
const testing::Environment* const ending = testing::AddGlobalTestEnvironment(new EndCluster);

}  // namespace

EtcdCluster& shared_cluster() {
  if (!cluster) cluster = std::make_unique<EtcdCluster>();
  return *cluster;
}

}  // namespace bascule::testkit
