// Two hosts on one store, each with a loop that writes down how the VM fares.
#include "hostd/history_loop.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>

#include "core_fixture.hpp"
#include "hand_time.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "tests/contract/etcd_testing.hpp"

namespace bascule::testkit {
namespace {

namespace keys = runtime::keys;
using testing::IsEmpty;
using testing::SizeIs;

constexpr core::WallMs kStart = 1'795'909'500'000;  // 2026-11-28 23:45 UTC
constexpr core::WallMs kMinute = 60'000;

class TwoHosts : public testing::Test {
 protected:
  struct Host {
    Host(asio::io_context& io, std::unique_ptr<FakeKv> handle, const std::string& id)
        : kv(std::move(handle)),
          cell(io.get_executor(), *kv, "lab", id, id + "-1"),
          store(*kv, "lab"),
          loop(cell, store) {
      asio::co_spawn(io, cell.run(), asio::detached);
      asio::co_spawn(io, loop.run(), asio::detached);
      asio::co_spawn(io, loop.tidy(), asio::detached);
    }
    std::unique_ptr<FakeKv> kv;
    runtime::CellStore cell;
    runtime::HistoryStore store;
    HistoryLoop loop;
    bool lives{true};
  };
  TwoHosts() {
    time_.wall = kStart;
    time_.wall_goes = true;
    for (const auto* host : {"a1", "b1"}) {
      set(keys::host_info(root_, host),
          core::test::host(host, *host == 'a' ? core::Site::a : core::Site::b).info.value);
    }
    make_vm();
    a_ = std::make_unique<Host>(io_, kv_.another(), "a1");
    b_ = std::make_unique<Host>(io_, kv_.another(), "b1");
    seconds(1);
  }
  void set_text(const std::string& key, const std::string& text) {
    const auto done = kv_.apply_now(put(key, text));
    ASSERT_TRUE(done) << done.error().what;
  }
  template <class T>
  void set(const std::string& key, const T& record) {
    set_text(key, codec::encode(record));
  }
  void make_vm() {
    const core::VmView vm = core::test::running_vm();
    set(keys::vm_spec(root_, "vm1"), vm.spec.value);
    set(keys::vm_layout(root_, "vm1"), vm.layout.value);
    set(keys::vm_right(root_, "vm1"), vm.right.value);
    for (const auto& [host, status] : vm.status) set(keys::vm_status(root_, "vm1", host), status);
  }
  void remove_vm() {
    kv::Txn txn;
    for (const auto& item : keys_of(keys::vm_prefix(root_, "vm1"))) txn.success.emplace_back(kv::Delete{item.key});
    ASSERT_TRUE(kv_.apply_now(txn));
  }
  std::vector<kv::KeyValue> keys_of(const std::string& prefix) {
    kv::Txn read;
    read.success.emplace_back(kv::all_under(prefix));
    return std::get<kv::RangeReply>(kv_.apply_now(read)->responses.front()).kvs;
  }
  std::vector<core::HistoryDay> records() {
    std::vector<core::HistoryDay> out;
    for (const auto& item : keys_of("/bascule-history/lab/"))
      out.push_back(codec::decode<core::HistoryDay>(item.value).value());
    return out;
  }
  core::HistoryDay sum() {
    core::HistoryDay s;
    for (const auto& d : records()) {
      s.up_ms += d.up_ms;
      s.down_ms += d.down_ms;
      s.unknown_ms += d.unknown_ms;
      s.by = d.by;
      for (const auto& o : d.outages) s.outages.push_back(o);
    }
    return s;
  }
  void seconds(int n) {
    for (int i = 0; i < n; ++i) {
      ++number_;
      for (auto* h : {a_.get(), b_.get()}) {
        if (h->lives)
          set(keys::host_lease(root_, h->cell.self()), core::HostLease{h->cell.self() + "-1", number_, "boot"});
      }
      for (auto* h : {a_.get(), b_.get()}) h->cell.mark_hosts(core::Mono(5000), core::Mono(9000));
      time_.pass(core::Mono(1000));
    }
  }

  const std::string root_ = keys::root("lab");
  HandTime time_{io_};  // outlives the coroutines, which io_ ends
  asio::io_context io_;
  FakeKv kv_{io_.get_executor()};
  std::unique_ptr<Host> a_, b_;
  std::uint64_t number_{};
};

TEST_F(TwoHosts, TheHolderWritesAtACalmPaceAndEveryMomentOnce) {
  seconds(30);
  const auto first = keys_of("/bascule-history/lab/");
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_EQ(sum().by, "a1");
  seconds(9 * 60);
  ASSERT_THAT(keys_of("/bascule-history/lab/"), SizeIs(1));
  EXPECT_LE(keys_of("/bascule-history/lab/")[0].version, 3);
  const auto d = records().front();
  EXPECT_EQ(d.up_ms, d.until_ms - d.since_ms);
  EXPECT_GT(d.up_ms, 5 * kMinute);
  EXPECT_LE(d.until_ms, kStart + 10 * kMinute);
}

TEST_F(TwoHosts, AChangeOfStateIsWrittenAtOnce) {
  seconds(30);
  auto gone = core::test::running_vm().status["a1"];
  gone.domain = core::DomainState::absent;
  set(keys::vm_status(root_, "vm1", "a1"), gone);
  seconds(6);
  EXPECT_GT(sum().down_ms, 0);
  EXPECT_THAT(sum().outages, SizeIs(1));
}

TEST_F(TwoHosts, OfALostHolderTheOtherOneWritesWhatItSawToo) {
  seconds(30);  // a1 has written once
  seconds(120);
  a_->lives = false;
  a_->kv->be_unavailable(true);
  const auto died = kStart + 151'000;
  seconds(20);
  EXPECT_EQ(sum().by, "b1");
  EXPECT_NEAR(static_cast<double>(sum().up_ms), 150'000, 2500) << "b1 saw it run while a1 was the writer";
  EXPECT_GT(sum().unknown_ms, 4'000);
  core::Right taken = core::test::right();
  taken.host = "b1";
  taken.epoch = 4;
  taken.insync["root"] = {core::test::kLegB};
  set(keys::vm_right(root_, "vm1"), taken);
  seconds(4);
  auto runs = core::test::running_vm().status["a1"];
  set(keys::vm_status(root_, "vm1", "b1"), runs);
  seconds(10);
  const auto s = sum();
  EXPECT_EQ(s.unknown_ms, 0);
  ASSERT_THAT(s.outages, SizeIs(1));
  EXPECT_NEAR(static_cast<double>(s.outages[0].from_ms), static_cast<double>(died), 2500);
  EXPECT_NEAR(static_cast<double>(s.down_ms), 24'000, 3000);
}

TEST_F(TwoHosts, BothGoOverMidnight) {
  seconds(21 * 60);
  const auto all = records();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].day, "2026-11-28");
  EXPECT_EQ(all[0].until_ms, all[1].since_ms);
  EXPECT_EQ(sum().up_ms, all[1].until_ms - all[0].since_ms);
}

TEST_F(TwoHosts, WhatIsLeftOfAVmGoesWithIt) {
  seconds(30);
  ASSERT_THAT(records(), SizeIs(1));
  remove_vm();
  seconds(12);
  EXPECT_THAT(records(), IsEmpty());
}

TEST_F(TwoHosts, AVmThatIsMadeAgainSharesNothingWithTheOldOne) {
  seconds(30);
  const std::string old = keys_of("/bascule-history/lab/")[0].key;
  remove_vm();
  make_vm();
  seconds(30);
  const auto now = keys_of("/bascule-history/lab/");
  const auto incarnation = b_->cell.view().vm("vm1")->spec.created;
  std::size_t mine = 0;
  for (const auto& item : now) {
    if (item.key.starts_with(keys::history("/bascule-history/lab/", "vm1", incarnation))) ++mine;
  }
  EXPECT_EQ(mine, 1U);
  EXPECT_THAT(now, SizeIs(1)) << "what was left of the old one is gone";
  EXPECT_THAT(run(io_, b_->store.days("vm1", incarnation, "2026-11-28", "2026-11-28")).value(), SizeIs(1));
  EXPECT_NE(old, now.back().key);
}

TEST_F(TwoHosts, OldRecordsAreDeletedByTheirNumberAndRecordsOfStrangersByTheWalk) {
  seconds(30);
  const auto incarnation = b_->cell.view().vm("vm1")->spec.created;
  for (int i = 10; i < 30; ++i) {
    core::HistoryDay d;
    d.day = "2026-10-" + std::to_string(i);
    set(keys::history_day("/bascule-history/lab/", "vm1", incarnation, d.day), d);
    set(keys::history_day("/bascule-history/lab/", "gone", 3, d.day), d);
  }
  EXPECT_EQ(run(io_, a_->store.trim("vm1", incarnation, 6)).value(), 15U);
  EXPECT_EQ(run(io_, a_->store.began("vm1", incarnation)).value(), "2026-10-25");
  set_text("/bascule-history/lab/foreign", "{}");
  set_text("/bascule-history/lab/foreign/too", "{}");
  std::string cursor;
  for (int i = 0; i < 10; ++i) {
    cursor = run(io_, a_->store.sweep(cursor, a_->cell.view())).value();
    if (cursor.empty()) break;
  }
  const auto own = run(io_, a_->store.sweep(a_->store.cursor("vm1"), a_->cell.view())).value();
  EXPECT_FALSE(own.starts_with(a_->store.cursor("vm1"))) << "there is nothing behind the VM that there is";
  EXPECT_EQ(cursor, "");
  EXPECT_THAT(keys_of("/bascule-history/lab/gone/"), IsEmpty());
  EXPECT_THAT(keys_of("/bascule-history/lab/vm1/"), SizeIs(6));
}

TEST_F(TwoHosts, ARecordThatCannotBeReadIsWrittenOver) {
  seconds(1);
  const auto incarnation = b_->cell.view().vm("vm1")->spec.created;
  set_text(keys::history_day("/bascule-history/lab/", "vm1", incarnation, "2026-11-28"), "{");
  seconds(30);
  EXPECT_GT(sum().up_ms, 0);
}

}  // namespace
}  // namespace bascule::testkit
