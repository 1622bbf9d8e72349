#include "tests/contract/etcd_shared_cluster.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "hostd/runtime/etcd/etcd_store.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

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

namespace {
void open_real(boost::asio::io_context& io, std::unique_ptr<runtime::KvStore>& store) {
  if (!EtcdCluster::available()) GTEST_SKIP() << "etcd or openssl is not installed";
  auto made = runtime::etcd::make_etcd_store(io.get_executor(), shared_cluster().options());
  ASSERT_TRUE(made) << made.error().what;
  const bool usable = wait_for(io, 10s, [&] { return (*made)->health().usable(); });
  ASSERT_TRUE(usable) << "the cluster does not answer";
  store = *std::move(made);
}
}  // namespace

std::unique_ptr<runtime::KvStore> open_store(boost::asio::io_context& io, bool real) {
  std::unique_ptr<runtime::KvStore> store;
  if (real)
    open_real(io, store);
  else
    store = std::make_unique<FakeKv>(io.get_executor());
  return store;
}

}  // namespace bascule::testkit
