// The guardian's time: from which moment a renewal and a promise count, and what happens when it is late. The clock is
// moved by hand, also between two lines of the code under test.
#include "hostd/guardian.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>

#include "core_fixture.hpp"
#include "hand_time.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_drbd.hpp"
#include "tests/testkit/fake_vm_host.hpp"

namespace bascule::testkit {
namespace {

namespace keys = runtime::keys;

struct Dog final : runtime::WatchdogPort {
  explicit Dog(HandTime& clock) : time(clock) {}
  Result<runtime::WatchdogInfo> arm(std::uint32_t seconds, bool) override {
    on = true;
    runtime::WatchdogInfo info;
    info.timeout_s = seconds;
    return info;
  }
  Result<> pet() override {
    ++pets;
    last = time.at();
    time.jump(std::exchange(stands_still_in_pet, Mono(0)));
    return {};
  }
  Result<> disarm() override {
    on = false;
    return {};
  }
  bool armed() const override {
    if (stands_still_at > 0 && --stands_still_at == 0) time.jump(Mono(5000));
    return on;
  }
  Result<> expire_now() override {
    expired = true;
    return {};
  }
  Result<> postpone() override { return {}; }
  HandTime& time;
  bool on{}, expired{};
  int pets{};
  Mono last{};
  Mono stands_still_in_pet{};
  mutable int stands_still_at{};  ///< at which of the next questions whether it is armed
};

struct Peers final : runtime::PeerPort {
  explicit Peers(HandTime& clock) : time(clock) {}
  asio::awaitable<Result<>> ask_promise(std::string, std::string, core::HostLease, runtime::Deadline) override {
    asked = time.at();
    time.jump(latency);
    if (gives == 0) co_return fail(Errc::refused, "no");
    --gives;
    co_return Result<>{};
  }
  HandTime& time;
  Mono asked{}, latency{};
  int gives{};
};

struct NoNotes final : NotePort {
  Result<std::optional<std::string>> read() override { return std::optional<std::string>{}; }
  Result<> write(const std::string&) override { return {}; }
  Result<std::vector<LostDisk>> lost_disks() override { return std::vector<LostDisk>{}; }
  Result<> drop_lost_disk(const LostDisk&) override { return {}; }
};

class Guard : public testing::Test {
 protected:
  Guard() {
    config_.timing = *core::timing_profile("fast");
    for (const auto* host : {"a1", "b1"}) {
      auto info = core::test::host(host, core::Site::a).info.value;
      info.api_address = std::string(host) + ":1";
      set(keys::host_info(root_, host), info);
      set(keys::host_lease(root_, host), core::HostLease{"i", 1, "boot"});
    }
    const core::VmView vm = core::test::running_vm();
    set(keys::vm_spec(root_, "vm1"), vm.spec.value);
    set(keys::vm_layout(root_, "vm1"), vm.layout.value);
    set(keys::vm_right(root_, "vm1"), vm.right.value);
    auto& local = node_.local["vm1"];
    local.up = true;
    local.domain = core::DomainState::running;
    node_.domains_known = true;
    asio::co_spawn(io_, cell_.run(), asio::detached);
    time_.pass(Mono(50));
    EXPECT_NE(cell_.view().revision, 0);
    node_.first_read = cell_.view().revision;  // what is written from here on settles what an earlier hostd has sent
    asio::co_spawn(io_, guardian_.run(), asio::detached);
    EXPECT_TRUE(guardian_.arm());
    time_.pass(Mono(1200));
    EXPECT_TRUE(guardian_.renewed());
    EXPECT_GT(dog_.pets, 0);
  }
  template <class T>
  void set(const std::string& key, const T& record) {
    ASSERT_TRUE(etcd_.kv.apply_now(put(key, codec::encode(record))));
  }
  void erase(const std::string& key) {
    kv::Txn txn;
    txn.success.emplace_back(kv::Delete{key});
    ASSERT_TRUE(etcd_.kv.apply_now(txn));
  }
  void list_only_a1() {
    core::Right right = core::test::right();
    right.insync["root"] = {core::test::kLegA};
    set(keys::vm_right(root_, "vm1"), right);
    time_.pass(Mono(50));
  }
  /// etcd goes away now; when the watchdog was last petted, counted from here, once all that counts is over.
  Mono last_pet_after() {
    etcd_.away = true;
    const Mono from = time_.at();
    time_.pass(Mono(3000));
    return dog_.last - from;
  }

  const std::string root_ = keys::root("c");
  HandTime time_{io_};  // outlives the coroutines, which io_ ends
  asio::io_context io_;
  Etcd etcd_{io_.get_executor(), time_};
  Config config_;
  runtime::CellStore cell_{io_.get_executor(), etcd_, "c", "a1", "instance"};
  FakeHypervisors hypervisors_{io_.get_executor()};
  FakeVmHost vms_{hypervisors_, "c", "a1"};
  FakeDrbdWorld world_;
  FakeDrbd drbd_{world_, "a1"};
  FakePool pool_{1000};
  ImageStore images_{"/nonexistent", 1};
  NoteStore notes_{std::make_unique<NoNotes>()};
  Node node_{config_, cell_, vms_, drbd_, pool_, images_, notes_};
  Dog dog_{time_};
  Peers peers_{time_};
  Guardian guardian_{node_, dog_, peers_, "instance", "boot"};
};

constexpr Mono kLate{20};  // the steps of this clock

TEST_F(Guard, ARenewalCountsFromItsSending) {
  etcd_.latency = Mono(300);
  time_.pass(Mono(1500));
  EXPECT_LE(last_pet_after(), config_.timing.renew_timeout - etcd_.latency + kLate);
  EXPECT_FALSE(guardian_.renewed());
}

TEST_F(Guard, APromiseCountsFromTheQuestionAndOnlyWhenGiven) {
  peers_.gives = 1;
  peers_.latency = Mono(600);
  const Mono from = time_.at();
  last_pet_after();
  EXPECT_GT(dog_.last, from + config_.timing.renew_timeout) << "it is good for something";
  EXPECT_LE(dog_.last, from + 2 * config_.timing.renew_timeout);
  EXPECT_FALSE(dog_.expired);
}

TEST_F(Guard, APromiseThatIsRefusedIsNone) { EXPECT_LE(last_pet_after(), config_.timing.renew_timeout + kLate); }

TEST_F(Guard, AGuestNobodyCanTakeOverNeedsNone) {
  list_only_a1();
  EXPECT_GT(last_pet_after(), 2 * config_.timing.renew_timeout);
}

TEST_F(Guard, AWriteThatMayStillAddThePeerNeedsItsPromise) {
  list_only_a1();
  node_.adding["vm1"] = cell_.view().vm("vm1")->right.revision;
  EXPECT_LE(last_pet_after(), config_.timing.renew_timeout + kLate);
}

TEST_F(Guard, AWriteThatComparesAnOlderRecordAddsNobody) {
  list_only_a1();
  node_.adding["vm1"] = cell_.view().vm("vm1")->right.revision - 1;
  EXPECT_GT(last_pet_after(), 2 * config_.timing.renew_timeout);
}

TEST_F(Guard, AWriteOfTheHostdBeforeMayAddThePeer) {
  list_only_a1();
  node_.first_read = cell_.view().revision;
  EXPECT_LE(last_pet_after(), config_.timing.renew_timeout + kLate);
}

TEST_F(Guard, ADomainThatIsNoVmOfTheCellCountsForNothing) {
  node_.domains["vm1"] = core::DomainState::running;
  node_.strangers.insert("vm1");
  EXPECT_GT(last_pet_after(), 2 * config_.timing.renew_timeout);
}

TEST_F(Guard, AGuestCountsFromTheMomentItsStartIsAskedFor) {
  node_.local["vm1"].domain = core::DomainState::absent;
  node_.beginning->insert("vm1");
  EXPECT_LE(last_pet_after(), config_.timing.renew_timeout + kLate);
}

TEST_F(Guard, AGuestThatLibvirtNamesCountsBeforeItsVmIsLookedAt) {
  node_.local.clear();
  node_.domains["vm1"] = core::DomainState::running;
  EXPECT_LE(last_pet_after(), config_.timing.renew_timeout + kLate);
}

TEST_F(Guard, WhatLibvirtRanBeforeItFellSilentItStillRuns) {
  node_.local["vm1"].domain = core::DomainState::unknown;
  EXPECT_LE(last_pet_after(), config_.timing.renew_timeout + kLate);
}

TEST_F(Guard, AProofThatHasRunOutIsNotPettedOn) {
  const int before = dog_.pets;
  etcd_.away = true;
  dog_.stands_still_at = 3;  // armed? it asks, takes its input, decides, and stands still
  while (dog_.stands_still_at > 0) time_.pass(Mono(10));
  EXPECT_EQ(dog_.pets, before);
  EXPECT_FALSE(dog_.expired);
}

TEST_F(Guard, AHostThatStoodStillBeforeThePetResetsItself) {
  dog_.stands_still_in_pet = Mono(5000);
  time_.pass(Mono(600));
  EXPECT_TRUE(dog_.expired);
}

TEST_F(Guard, AHostThatWasAwayItselfTimesTheOthersAnew) {
  etcd_.away = true;
  time_.pass(core::own_gap(config_.timing) + Mono(1000));
  EXPECT_GT(cell_.absences().at("b1"), core::own_gap(config_.timing));
  etcd_.away = false;
  time_.pass(Mono(100));
  EXPECT_LE(cell_.absences().at("b1"), Mono(100));
}

TEST_F(Guard, AHostThatSaysThatItGuardsDoes) {
  set(keys::disarmed(root_), core::Disarmed{"olga", "network work", 1});
  time_.pass(Mono(1500));
  erase(keys::disarmed(root_));
  // The lease that says so is committed, its answer is not heard.
  etcd_.kv.lose_answers(1000);
  const Mono from = time_.at();
  time_.pass(Mono(5000));
  EXPECT_LE(dog_.last - from, config_.timing.renew + config_.timing.renew_timeout + kLate);
}

TEST_F(Guard, WhoPromisesTimesThatHostAnew) {
  EXPECT_FALSE(guardian_.promise("x1", {}));
  time_.pass(Mono(3000));
  EXPECT_GT(cell_.absences().at("b1"), Mono(3000));
  ASSERT_TRUE(guardian_.promise("b1", {}));
  EXPECT_EQ(cell_.absences().at("b1"), Mono(0));
}

TEST_F(Guard, NobodyPromisesWhoTakesOver) {
  node_.taking_over["b1"] = 1;
  EXPECT_FALSE(guardian_.promise("b1", {}));
  node_.taking_over.clear();
  node_.takeover_open["b1"] = cell_.view().audit.revision;
  EXPECT_FALSE(guardian_.promise("b1", {})) << "the request may be accepted yet";
  set(keys::audit_head(root_), core::AuditHead{});
  time_.pass(Mono(50));
  EXPECT_TRUE(guardian_.promise("b1", {})) << "it compares an end of the chain that is none any more";
  core::Operation op;
  op.id = "op-1";
  op.kind = core::OpKind::vm_failover;
  op.source_host = "b1";
  set(keys::op(root_, op.id), op);
  time_.pass(Mono(50));
  EXPECT_FALSE(guardian_.promise("b1", {}));
  op.state = core::OpState::done;
  set(keys::op(root_, op.id), op);
  time_.pass(Mono(50));
  EXPECT_TRUE(guardian_.promise("b1", {}));
  core::FenceIntent intent;
  intent.by = "a1";
  set(keys::host_fence(root_, "b1"), intent);
  time_.pass(Mono(50));
  EXPECT_FALSE(guardian_.promise("b1", {}));
}

}  // namespace
}  // namespace bascule::testkit
