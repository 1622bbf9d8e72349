// The records of how VMs fared, as the store keeps them; on the fake and on etcd.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/history.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "tests/contract/etcd_shared_cluster.hpp"
#include "tests/contract/etcd_testing.hpp"

namespace bascule::testkit {
namespace {

namespace keys = runtime::keys;
namespace kv = core::kv;
using core::Errc;
using testing::SizeIs;

class HistoryRecords : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    kv_ = open_store(io_, GetParam());
    if (!kv_) return;
    store_ = std::make_unique<runtime::HistoryStore>(*kv_, "history");
    made_ = make("web");
  }
  /// The revision at which its definition was made.
  core::Revision make(const std::string& vm) {
    const auto done = run(io_, kv_->txn(put(keys::vm_spec(root_, vm), "{}"), in(5s)));
    EXPECT_TRUE(done) << done.error().what;
    return done->revision;
  }
  static core::Versioned<core::HistoryDay> day(const std::string& name, std::int64_t up, core::Revision revision) {
    core::HistoryDay d;
    d.day = name;
    d.up_ms = up;
    return {d, 0, revision};
  }
  runtime::HistoryDays days(const std::string& from, const std::string& to) {
    auto read = run(io_, store_->days("web", made_, from, to));
    EXPECT_TRUE(read) << read.error().what;
    return read ? *read : runtime::HistoryDays{};
  }

  const std::string root_ = keys::root("history");
  boost::asio::io_context io_;
  std::unique_ptr<runtime::KvStore> kv_;
  std::unique_ptr<runtime::HistoryStore> store_;
  core::Revision made_{};
};

TEST_P(HistoryRecords, AreWrittenByCompareReadInOrderAndTrimmed) {
  ASSERT_TRUE(run(io_, store_->write("web", made_, {day("2026-11-27", 1, 0), day("2026-11-28", 2, 0)})));
  const auto both = days("2026-11-27", "2026-11-28");
  ASSERT_THAT(both, SizeIs(2));
  EXPECT_EQ(both[1].value.up_ms, 2);
  EXPECT_THAT(days("2026-11-28", "2026-11-28"), SizeIs(1));
  EXPECT_EQ(run(io_, store_->write("web", made_, {day("2026-11-28", 3, 0)})).error().code, Errc::stale);
  ASSERT_TRUE(run(io_, store_->write("web", made_, {day("2026-11-28", 3, both[1].revision)})));
  EXPECT_EQ(run(io_, store_->began("web", made_)).value(), "2026-11-27");
  EXPECT_EQ(run(io_, store_->trim("web", made_, 2)).value(), 0U);
  EXPECT_EQ(run(io_, store_->trim("web", made_, 1)).value(), 1U);
  EXPECT_EQ(run(io_, store_->began("web", made_)).value(), "2026-11-28");
  EXPECT_EQ(run(io_, store_->began("none", 7)).value(), "");
}

TEST_P(HistoryRecords, OfAVmThatIsGoneAreNotWrittenAndSweptAway) {
  made_ = make("db");
  ASSERT_TRUE(run(io_, store_->write("db", made_, {day("2026-11-28", 1, 0)})));
  kv::Txn gone;
  gone.success.emplace_back(kv::Delete{keys::vm_spec(root_, "db")});
  const auto done = run(io_, kv_->txn(gone, in(5s)));
  ASSERT_TRUE(done);
  EXPECT_EQ(run(io_, store_->write("db", made_, {day("2026-11-29", 1, 0)})).error().code, Errc::stale);
  core::CellView view;
  view.synced = true;
  view.revision = done->revision;
  ASSERT_TRUE(run(io_, store_->sweep(store_->cursor("db"), view)));
  EXPECT_EQ(run(io_, store_->began("db", made_)).value(), "");
}

INSTANTIATE_TEST_SUITE_P(On, HistoryRecords, testing::Bool(),
                         [](const auto& tested) { return std::string(tested.param ? "etcd" : "the_fake"); });

}  // namespace
}  // namespace bascule::testkit
