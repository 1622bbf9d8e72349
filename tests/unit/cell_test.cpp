// The transactions of a cell, each beaten by another writer between its decision and its write.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "running_cell.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {
namespace {

namespace keys = runtime::keys;
namespace kv = core::kv;
using core::Errc;

/// The store of one host, whose next transaction something else comes before.
class Beaten final : public runtime::KvStore {
 public:
  explicit Beaten(boost::asio::any_io_executor executor) : kv(executor) {}
  boost::asio::awaitable<core::Result<kv::TxnReply>> txn(kv::Txn txn, runtime::Deadline deadline) override {
    if (before) std::exchange(before, {})();
    co_return co_await kv.txn(std::move(txn), deadline);
  }
  std::unique_ptr<runtime::KvWatch> watch(std::string prefix, kv::Revision from) override {
    return kv.watch(std::move(prefix), from);
  }
  [[nodiscard]] runtime::StoreHealth health() const override { return kv.health(); }

  FakeKv kv;
  std::function<void()> before;
};

core::HostLease lease(std::uint64_t number) { return {"instance", number, "boot-1"}; }

class Transactions : public testing::Test {
 protected:
  Transactions() {
    running_cell(root_, [this](const std::string& key, const auto& record) { set(key, record); });
    boost::asio::co_spawn(io_, cell_.run(), boost::asio::detached);
    EXPECT_TRUE(wait_for(io_, 10s, [this] { return cell_.view().synced; }));
  }
  void set_text(const std::string& key, const std::string& text) {
    auto done = store_.kv.apply_now(put(key, text));
    ASSERT_TRUE(done) << done.error().what;
  }
  template <class T>
  void set(const std::string& key, const T& record) {
    set_text(key, codec::encode(record));
  }
  template <class T>
  std::optional<T> get(const std::string& key) {
    kv::Txn read;
    read.success.emplace_back(kv::get(key));
    const auto reply = store_.kv.apply_now(read);
    const auto& kvs = std::get<kv::RangeReply>(reply->responses.front()).kvs;
    if (kvs.empty()) return {};
    return codec::decode<T>(kvs.front().value).value();
  }
  std::vector<core::AuditRecord> audit() { return run(io_, cell_.audit(1, 500)).value(); }
  std::size_t operations() { return run(io_, runtime::range_all(store_, root_ + "ops/", in(5s))).value().kvs.size(); }
  void settle() {
    const auto at = store_.kv.revision();
    ASSERT_TRUE(wait_for(io_, 5s, [&] { return cell_.view().revision >= at; }));
  }
  void make_silent() {
    wait_for(io_, 5ms, [] { return false; });
    cell_.mark_hosts(core::Mono(1), core::Mono(1));
    ASSERT_TRUE(cell_.view().host("a1")->silent);
  }
  const core::VmView& vm() { return *cell_.view().vm("vm1"); }
  core::Request request(core::Verb verb, const std::string& key = {}) {
    core::Request r;
    r.verb = std::move(verb);
    r.caller = {core::Role::operator_, "olga", {}};
    r.reason = "a reason";
    r.idempotency_key = key;
    return r;
  }
  /// An operation of this host with one step, which stands in the journal.
  core::Work journal(core::StepState state = core::StepState::pending) {
    core::Operation op;
    op.id = "op-1";
    op.kind = core::OpKind::vm_failover;
    op.vm = "vm1";
    op.author = {"b1", "host", {}};
    op.reason = "a1 is lost";
    op.steps.push_back({.kind = core::StepKind::take_right, .host = "b1"});
    op.steps.push_back({.kind = core::StepKind::promote, .host = "b1"});
    op.steps.front().state = state;
    set(keys::op(root_, op.id), op);
    set_text(keys::vm_op(root_, "vm1"), op.id);
    settle();
    return {core::Work::Kind::run, 0};
  }
  core::Outcome taken() {
    core::Outcome out;
    out.ok = true;
    out.right = vm().right.value;
    out.right->host = "b1";
    out.right_revision = vm().right.revision;
    out.lease_of = "a1";
    out.lease_revision = cell_.view().host("a1")->lease.revision;
    return out;
  }
  std::string holder() { return get<core::Right>(keys::vm_right(root_, "vm1"))->host; }

  const std::string root_ = keys::root("c");
  boost::asio::io_context io_;
  Beaten store_{io_.get_executor()};
  runtime::CellStore cell_{io_.get_executor(), store_, "c", "b1", "instance"};
};

TEST_F(Transactions, ARecordIsWrittenOnlyOnTheRevisionItWasDecidedOn) {
  const auto decided = vm().right.revision;
  core::Right ours = vm().right.value, theirs = ours;
  ours.epoch = 8;
  theirs.epoch = 9;
  store_.before = [&] { set(keys::vm_right(root_, "vm1"), theirs); };
  auto done = run(io_, cell_.commit_right("vm1", ours, decided, "why", 1));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::stale);
  EXPECT_EQ(get<core::Right>(keys::vm_right(root_, "vm1"))->epoch, 9);
  EXPECT_TRUE(run(io_, cell_.commit_right("vm1", ours, vm().right.revision, "why", 1)));
}

TEST_F(Transactions, ATakeoverLosesAgainstARenewalOfItsHolder) {
  const auto work = journal();
  const auto outcome = taken();
  store_.before = [&] { set(keys::host_lease(root_, "a1"), lease(2)); };
  EXPECT_FALSE(run(io_, cell_.end_step("op-1", work, outcome, 1)));
  EXPECT_EQ(holder(), "a1");
  settle();
  EXPECT_TRUE(run(io_, cell_.end_step("op-1", work, taken(), 1)));
  EXPECT_EQ(holder(), "b1");
}

TEST_F(Transactions, AStepLosesAgainstAnotherWriteOfTheRecord) {
  const auto work = journal();
  const auto outcome = taken();
  core::Right theirs = vm().right.value;
  theirs.insync["root"] = {core::test::kLegA};
  store_.before = [&] { set(keys::vm_right(root_, "vm1"), theirs); };
  EXPECT_FALSE(run(io_, cell_.end_step("op-1", work, outcome, 1)));
  EXPECT_EQ(holder(), "a1");
}

TEST_F(Transactions, AStepThatHasEndedDoesNotEndAgain) {
  const auto work = journal(core::StepState::done);
  auto done = run(io_, cell_.end_step("op-1", work, taken(), 1));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::conflict);
  EXPECT_EQ(holder(), "a1");
}

TEST_F(Transactions, AFailoverIsRememberedAsAnExerciseByTheWriteThatEndsIt) {
  journal();
  auto failover = get<core::Operation>(keys::op(root_, "op-1")).value();
  failover.target_host = "b1";
  failover.steps.back().kind = core::StepKind::start_domain;
  set(keys::op(root_, "op-1"), failover);
  settle();
  core::Outcome ok;
  ok.ok = true;
  ASSERT_TRUE(run(io_, cell_.end_step("op-1", {core::Work::Kind::run, 0}, taken(), 7)));
  settle();
  EXPECT_TRUE(vm().last.empty()) << "it has not started yet";
  ASSERT_TRUE(run(io_, cell_.end_step("op-1", {core::Work::Kind::run, 1}, ok, 8)));
  settle();
  EXPECT_EQ(vm().last.at("vm-failover"), (core::LastCare{8, true, "b1", "op-1"}));
  EXPECT_EQ(get<core::LastCare>(keys::vm_last(root_, "vm1", "vm-failover")), vm().last.at("vm-failover"));
}

TEST_F(Transactions, AStopThatWasFasterDefeatsAFailover) {
  make_silent();
  auto asked = request(core::FailoverVm{"vm1", false, {}, {}, {}});
  asked.caller = {core::Role::host, "b1", {}};
  core::VmSpec off = vm().spec.value;
  off.power = core::Power::off;
  store_.before = [&] { set(keys::vm_spec(root_, "vm1"), off); };
  auto done = run(io_, cell_.submit(asked, 1));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::stale) << done.error().what;
  EXPECT_EQ(operations(), 0U);
}

TEST_F(Transactions, AVmHasOneOperationAtATime) {
  store_.before = [&] {
    core::Operation theirs;
    theirs.id = "op-0";
    theirs.vm = "vm1";
    set(keys::op(root_, "op-0"), theirs);
    set_text(keys::vm_op(root_, "vm1"), "op-0");
  };
  auto done = run(io_, cell_.submit(request(core::PowerOffVm{"vm1"}), 1));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::conflict) << done.error().what;
  EXPECT_EQ(vm().operation.value, "op-0");
}

TEST_F(Transactions, ARepeatedRequestIsCarriedOutOnce) {
  const auto first = run(io_, cell_.submit(request(core::PowerOffVm{"vm1"}, "key"), 1));
  ASSERT_TRUE(first) << first.error().what;
  const auto again = run(io_, cell_.submit(request(core::PowerOffVm{"vm1"}, "key"), 1));
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_TRUE(again->replayed);
  EXPECT_EQ(again->operation, first->operation);
  const auto other = run(io_, cell_.submit(request(core::ResetVm{"vm1"}, "key"), 1));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::conflict);
  EXPECT_EQ(operations(), 1U);
}

TEST_F(Transactions, TwoRequestsWithOneKeyAtOnceAreOne) {
  std::string key;
  ASSERT_TRUE(run(io_, cell_.submit(request(core::SetArmed{false}, "key"), 1)));
  const auto kept = run(io_, runtime::range_all(store_, root_ + "idem/", in(5s))).value().kvs.front();
  kv::Txn gone;
  gone.success.emplace_back(kv::Delete{kept.key});
  ASSERT_TRUE(store_.kv.apply_now(gone));
  settle();
  const auto before = operations();
  int reads = 0;
  // After the question whether the key is known, and before the write.
  store_.before = [&] {
    ++reads;
    store_.before = [&] { set_text(kept.key, kept.value); };
  };
  EXPECT_FALSE(run(io_, cell_.submit(request(core::SetArmed{true}, "key"), 1)));
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(operations(), before);
}

TEST_F(Transactions, EveryChangeLeavesItsRecordInOneChain) {
  const auto asked = run(io_, cell_.submit(request(core::PowerOffVm{"vm1"}), 5));
  ASSERT_TRUE(asked);
  ASSERT_TRUE(run(io_, cell_.commit_right("vm1", vm().right.value, vm().right.revision, "the record is true", 6)));
  journal();
  core::Outcome failed;
  failed.error = "no";
  ASSERT_TRUE(run(io_, cell_.end_step("op-1", {core::Work::Kind::run, 0}, failed, 7)));
  ASSERT_TRUE(run(io_, cell_.end_step("op-1", {core::Work::Kind::undo, 0}, {.ok = true}, 8)));
  const auto records = audit();
  std::vector<std::string> said;
  std::string previous(64, '0');
  for (const auto& r : records) {
    said.push_back(r.what + " by " + r.who.name + ": " + r.why);
    EXPECT_EQ(r.previous, previous);
    EXPECT_EQ(r.hash, codec::audit_hash(r));
    previous = r.hash;
  }
  EXPECT_EQ(said, (std::vector<std::string>{"vm-power-off requested by olga: a reason",
                                            "right changed by b1: the record is true",
                                            "vm-failover ended by b1: a1 is lost"}));
}

TEST_F(Transactions, AnOperationThatAFailoverEndsHasItsEndInTheChain) {
  journal();
  auto start = get<core::Operation>(keys::op(root_, "op-1")).value();
  start.kind = core::OpKind::vm_start;
  start.author = {"olga", "operator", {}};
  start.reason = "a reason";
  set(keys::op(root_, "op-1"), start);
  settle();
  make_silent();
  auto asked = request(core::FailoverVm{"vm1", false, {}, "op-1", {}});
  asked.caller = {core::Role::host, "b1", {}};
  asked.reason = "a1 is lost";
  const auto done = run(io_, cell_.submit(asked, 9));
  ASSERT_TRUE(done) << done.error().what;
  const auto records = audit();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].what + " by " + records[0].who.name, "vm-start ended by olga");
  EXPECT_EQ(records[0].operation, "op-1");
  EXPECT_THAT(records[0].result, testing::StartsWith("undone: ended by failover"));
  EXPECT_EQ(records[1].what, "vm-failover requested");
}

TEST_F(Transactions, ARecordThatIsNotUtf8StandsInTheChainAsItIsRead) {
  ASSERT_TRUE(run(io_, cell_.commit_right("vm1", vm().right.value, vm().right.revision, "a tool said \xff\xfe", 6)));
  const auto records = audit();
  ASSERT_EQ(records.size(), 1U);
  EXPECT_THAT(records[0].why, testing::StartsWith("a tool said "));
  EXPECT_EQ(records[0].hash, codec::audit_hash(records[0]));
}

TEST_F(Transactions, FailoverIsDisarmedAsTheSecondOperatorHasAgreedAndNotBefore) {
  auto r = request(core::SetArmed{false});
  r.four_eyes.verbs = {"ha-disarm"};
  const auto asked = run(io_, cell_.submit(r, 1));
  ASSERT_TRUE(asked);
  EXPECT_EQ(cell_.view().disarmed.revision, 0);
  const auto& id = asked->operation;
  EXPECT_FALSE(run(io_, cell_.steer(id, core::Steer::approve, {"olga", "operator", {}}, "why not", 2)));
  ASSERT_TRUE(run(io_, cell_.steer(id, core::Steer::approve, {"paul", "operator", {}}, "looked at it", 2)));
  EXPECT_EQ(cell_.view().disarmed.revision, 0);
  ASSERT_TRUE(run(io_, cell_.end_step(id, {core::Work::Kind::run, 0}, {.ok = true}, 3)));
  EXPECT_EQ(cell_.view().disarmed.value.author, "olga");
  EXPECT_EQ(cell_.view().operations.at(id).value.state, core::OpState::done);
  std::string said;
  for (const auto& record : audit()) said += record.what + " " + record.object + " by " + record.who.name + "; ";
  EXPECT_EQ(said, "ha-disarm requested cell by olga; ha-disarm approved cell by paul; ha-disarm ended cell by olga; ");
}

TEST_F(Transactions, TwoWritersOfTheChainGetOnePlaceEach) {
  core::AuditHead head;
  head.sequence = 1;
  head.hash = std::string(64, '7');
  store_.before = [&] {
    core::AuditRecord theirs;
    theirs.sequence = 1;
    theirs.hash = head.hash;
    set(keys::audit(root_, 1), theirs);
    set(keys::audit_head(root_), head);
  };
  ASSERT_TRUE(run(io_, cell_.submit(request(core::PowerOffVm{"vm1"}), 1)));
  const auto records = audit();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].hash, head.hash);
  EXPECT_EQ(records[1].previous, head.hash);
}

TEST_F(Transactions, AHostThatIsToBeSwitchedOffDoesNotRenew) {
  core::FenceIntent intent;
  intent.by = "a1";
  intent.boot = "boot-1";
  store_.before = [&] { set(keys::host_fence(root_, "b1"), intent); };
  EXPECT_FALSE(run(io_, cell_.renew_lease(lease(2), false, in(5s))));
  settle();
  EXPECT_FALSE(run(io_, cell_.renew_lease(lease(2), false, in(5s)))) << "and not when it knows, either";
  EXPECT_EQ(get<core::HostLease>(keys::host_lease(root_, "b1"))->number, 1U);
  EXPECT_TRUE(run(io_, cell_.renew_lease({"instance", 3, "boot-2"}, false, in(5s)))) << "it has booted since";
  EXPECT_FALSE(get<core::FenceIntent>(keys::host_fence(root_, "b1")));
}

TEST_F(Transactions, NobodyIsSwitchedOffWhoLivesOrHasAskedForThisHostFirst) {
  make_silent();
  store_.before = [&] { set(keys::host_lease(root_, "a1"), lease(2)); };
  EXPECT_FALSE(run(io_, cell_.intend_fence("a1", "silent", 1)));
  EXPECT_FALSE(get<core::FenceIntent>(keys::host_fence(root_, "a1")));
  make_silent();
  core::FenceIntent theirs;
  theirs.by = "a1";
  store_.before = [&] { set(keys::host_fence(root_, "b1"), theirs); };
  EXPECT_FALSE(run(io_, cell_.intend_fence("a1", "silent", 1)));
  EXPECT_FALSE(get<core::FenceIntent>(keys::host_fence(root_, "a1")));
}

/// A cell into which a backup file is written back.
class Restoring : public Transactions {
 protected:
  Restoring() {
    for (const auto& key : {keys::vm_spec(root_, "vm1"), keys::vm_layout(root_, "vm1"), keys::vm_right(root_, "vm1"),
                            keys::vm_status(root_, "vm1", "a1"), keys::vm_status(root_, "vm1", "b1")}) {
      kv::Txn gone;
      gone.success.emplace_back(kv::Delete{key});
      EXPECT_TRUE(store_.kv.apply_now(gone));
    }
    settle();
    step_.file = step_.head.hash = std::string(64, 'f');
    step_.head.sequence = 9;
    step_.vms = 1;
    step_.spec = core::test::spec();
    step_.spec.power = core::Power::off;
    step_.layout = core::test::layout();
    step_.restored = {3, "a1"};
  }
  core::Result<core::RestorePlan> restore(core::RestoreStep::Kind kind) {
    step_.kind = kind;
    auto step = step_;
    return run(io_, cell_.restore(std::move(step), {"olga", "operator", {}}, "etcd was lost", 1));
  }
  using Kind = core::RestoreStep::Kind;
  core::RestoreStep step_;
};

TEST_F(Restoring, WritesDefinitionAndLayoutAndNothingThatPermitsAnything) {
  for (const auto kind : {Kind::begin, Kind::vm, Kind::end}) ASSERT_TRUE(restore(kind));
  EXPECT_EQ(get<core::VmSpec>(keys::vm_spec(root_, "vm1")), step_.spec);
  EXPECT_EQ(get<core::Layout>(keys::vm_layout(root_, "vm1")), step_.layout);
  EXPECT_EQ(get<core::Restored>(keys::vm_restored(root_, "vm1")), step_.restored);
  EXPECT_FALSE(get<core::Right>(keys::vm_right(root_, "vm1")));
  EXPECT_EQ(operations(), 0U);
  const auto chain = audit();
  ASSERT_EQ(chain.size(), 3U);
  EXPECT_THAT(chain[0].result, testing::HasSubstr("9:" + step_.head.hash));
  EXPECT_EQ(chain[1].object, "vm/vm1");
}

TEST_F(Restoring, LosesAgainstWhoeverIsFasterInTheCellThatWasEmpty) {
  store_.before = [&] { set(keys::audit_head(root_), core::AuditHead{1, std::string(64, '0')}); };
  const auto done = restore(Kind::begin);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::conflict);
  EXPECT_FALSE(get<core::Restore>(keys::restore(root_)));
}

TEST_F(Restoring, WritesNothingInADryRunOrASecondTime) {
  step_.dry_run = true;
  for (const auto kind : {Kind::begin, Kind::vm}) ASSERT_TRUE(restore(kind));
  EXPECT_FALSE(get<core::Restore>(keys::restore(root_)));
  step_.dry_run = false;
  for (const auto kind : {Kind::begin, Kind::vm, Kind::begin, Kind::vm, Kind::end, Kind::end})
    ASSERT_TRUE(restore(kind));
  EXPECT_EQ(audit().size(), 3U);
}

}  // namespace
}  // namespace bascule::testkit
