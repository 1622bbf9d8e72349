// The transactions of a cell, each beaten by another writer between its decision and its write.
#include "transactions_fixture.hpp"

namespace bascule::testkit {
namespace {

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

TEST_F(Transactions, AWriteThatIsNotReadBackIsOfUnknownOutcome) {
  store_.deaf = true;
  const auto done = run(io_, cell_.submit(request(core::PowerOffVm{"vm1"}), 1));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::outcome_unknown) << "the operation stands in the journal";
  EXPECT_EQ(operations(), 1U);
  store_.deaf = false;
  settle();
}

TEST_F(Transactions, AHostsSilenceIsToldToWhoHasHeardOfAllRevisions) {
  settle();
  const auto heard = cell_.view().revision;
  const auto later = [&] {
    return std::ranges::count_if(cell_.events(), [&](const auto& e) { return e.revision > heard && e.object == "a1"; });
  };
  make_silent();
  EXPECT_EQ(later(), 0);
  set(keys::host_lease(root_, "b1"), lease(2));
  settle();
  EXPECT_EQ(later(), 1);
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

TEST_F(Transactions, AWatchThatDoesNotTellWhatThisHostHasWrittenIsNotBelieved) {
  store_.mute = true;
  ASSERT_TRUE(run(io_, cell_.renew_lease(lease(2), false, in(5s))));
  EXPECT_TRUE(wait_for(io_, 10s, [this] { return !cell_.view().synced; }));
  EXPECT_TRUE(wait_for(io_, 10s, [this] { return cell_.view().synced; }));
  EXPECT_EQ(cell_.view().revision, store_.kv.revision()) << "listed again";
}

}  // namespace
}  // namespace bascule::testkit
