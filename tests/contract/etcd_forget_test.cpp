// Old operations leave the store with the keys that go with them, whoever asks first; on the fake and on etcd.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <memory>

#include "hostd/codec/codec.hpp"
#include "hostd/core/prune.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "tests/contract/etcd_shared_cluster.hpp"
#include "tests/contract/etcd_testing.hpp"

namespace bascule::testkit {
namespace {

namespace keys = runtime::keys;
namespace kv = core::kv;
using core::Errc;

constexpr std::size_t kSurplus = 3;
constexpr core::WallMs kLongAgo = 1;
constexpr core::WallMs kNow = 2 * core::kOperationsKeptMs;

std::string id(std::size_t n) { return fmt::format("op-{:05}", n); }
std::string digest(std::size_t n) { return fmt::format("digest-{:05}", n); }

class Forget : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    store_ = open_store(io_, GetParam());
    if (!store_) return;
    fill();
    cell_ = std::make_unique<runtime::CellStore>(io_.get_executor(), *store_, "forget", "a1", "instance");
    boost::asio::co_spawn(io_, cell_->run(), boost::asio::detached);
    ASSERT_TRUE(wait_for(io_, 10s, [this] { return cell_->view().operations.size() == kAll; }));
  }
  /// Ended operations with their keys, in order, and one audit record.
  void fill() {
    kv::Txn txn = put(keys::audit(root_, 1), "a link of the chain");
    for (std::size_t n = 0; n < kAll; ++n) {
      core::Operation op;
      op.id = id(n);
      op.project = "blue";
      op.state = core::OpState::done;
      op.finished_ms = kLongAgo;
      op.idempotency = digest(n);
      op.writer.host = "a1";
      txn.success.emplace_back(kv::Put{keys::op(root_, op.id), codec::encode(op)});
      txn.success.emplace_back(kv::Put{keys::idempotency(root_, op.idempotency), "request " + op.id});
      if (txn.success.size() + 2 <= kv::kMaxOpsPerTxn && n + 1 < kAll) continue;
      const auto done = run(io_, store_->txn(std::exchange(txn, {}), in(5s)));
      ASSERT_TRUE(done) << done.error().what;
    }
  }
  std::size_t count(const std::string& prefix) {
    auto all = run(io_, runtime::range_all(*store_, root_ + prefix, in(5s)));
    EXPECT_TRUE(all) << all.error().what;
    return all ? all->kvs.size() : 0;
  }

  static constexpr std::size_t kAll = core::kOperationsKept + kSurplus;
  const std::string root_ = keys::root("forget");
  boost::asio::io_context io_;
  std::unique_ptr<runtime::KvStore> store_;
  std::unique_ptr<runtime::CellStore> cell_;
};
INSTANTIATE_TEST_SUITE_P(Stores, Forget, testing::Bool(), [](const auto& p) { return p.param ? "etcd" : "fake"; });

TEST_P(Forget, TheOldestGoWithTheirKeysAndOneOfTwoAtOnceDoesIt) {
  using namespace boost::asio::experimental::awaitable_operators;
  EXPECT_TRUE(cell_->take_ended());
  EXPECT_FALSE(cell_->take_ended());
  const auto events = cell_->events().size();
  const auto [one, other] = run(io_, cell_->forget_old(kNow) && cell_->forget_old(kNow));
  ASSERT_NE(one.has_value(), other.has_value());
  EXPECT_EQ((one ? one : other).value(), kSurplus);
  EXPECT_EQ((one ? other : one).error().code, Errc::stale);
  ASSERT_TRUE(wait_for(io_, 5s, [this] { return cell_->view().operations.size() == core::kOperationsKept; }));
  EXPECT_EQ(cell_->view().operations.begin()->first, id(kSurplus));
  EXPECT_EQ(cell_->events().at(events).type, "operation.removed");
  EXPECT_EQ(cell_->events().at(events).project, "blue");
  EXPECT_EQ(count("ops/"), core::kOperationsKept);
  EXPECT_EQ(count("idem/"), core::kOperationsKept);
  EXPECT_EQ(count("idem/" + digest(kSurplus - 1)), 0U);
  EXPECT_EQ(count("audit/"), 1U);
  EXPECT_EQ(run(io_, cell_->forget_old(kNow)).value(), 0U);
}

}  // namespace
}  // namespace bascule::testkit
