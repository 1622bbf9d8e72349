// What the answer to the kernel and the steps ask before they act: the record, the notes, this host's own lease.
#include "hostd/steps/step.hpp"

#include "shell_fixture.hpp"

namespace bascule::testkit {
namespace {

TEST_F(Shell, AGuestStartsWhileThisHostsLeaseIsRenewed) {
  node_.local["vm1"] = holder();
  renewed_ = false;
  EXPECT_FALSE(step(core::StepKind::start_domain));
  EXPECT_THAT(vms_.calls, testing::Not(testing::Contains("start vm1")));
  renewed_ = true;
  static_cast<void>(step(core::StepKind::start_domain));
  EXPECT_THAT(vms_.calls, testing::Contains("start vm1"));
}

TEST_F(Shell, TheKernelIsAnsweredAfterTheRecordSaysSo) {
  drbd_.says = alone();
  node_.local["vm1"] = holder();
  EXPECT_EQ(asked(), runtime::FenceAnswer::excluded);
  EXPECT_EQ(listed(), Legs{kLegA});
}

TEST_F(Shell, AQuestionThatNobodyAsksAnyMoreChangesNothing) {
  drbd_.says = alone();
  node_.local["vm1"] = holder();
  drbd_.while_asked = [this] { helpers_ = 0; };
  EXPECT_EQ(asked(), runtime::FenceAnswer::not_won);
  EXPECT_EQ(listed(), (Legs{kLegA, kLegB}));
}

TEST_F(Shell, AHostWhoseLegFailedIsNotAnswered) {
  note_failed_leg();
  drbd_.says = alone();
  node_.local["vm1"] = holder();
  EXPECT_EQ(asked(), runtime::FenceAnswer::not_won);
  EXPECT_EQ(listed(), (Legs{kLegA, kLegB}));
}

class Takeover : public Shell {
 protected:
  Takeover() {
    record(right({kLegA, kLegB}, "b1"));
    drbd_.says = alone();
    drbd_.says.role = storage::Role::secondary;
    drbd_.says.connection = Connection::stand_alone;
    node_.local["vm1"] = other();
    absent_ = config_.timing.takeover + config_.timing.verifications * config_.timing.renew;
    time_.pass(Mono(50));
  }
};

TEST_F(Takeover, EndsACopyThatWaitsHere) {
  const auto out = step(core::StepKind::take_right);
  ASSERT_TRUE(out) << out.error().what;
  EXPECT_EQ(out->right->host, "a1");
  EXPECT_THAT(vms_.calls, testing::Contains("force_off vm1"));
}

TEST_F(Takeover, CutsTheLinkFirst) {
  drbd_.says.connection = Connection::connecting;
  EXPECT_TRUE(step(core::StepKind::take_right));
  EXPECT_EQ(drbd_.cuts, 1);
}

TEST_F(Takeover, IsNotForAHostWhoseLegFailed) {
  note_failed_leg();
  EXPECT_FALSE(step(core::StepKind::take_right));
}

class FailedDisk : public Shell {
 protected:
  FailedDisk() {
    drbd_.says = alone();
    drbd_.says.volumes[0].disk = Disk::diskless;
    drbd_.attached_as = Disk::up_to_date;
    node_.local["vm1"] = holder();
    note_failed_leg();
    record(right({kLegA}));
    time_.pass(Mono(50));
  }
  std::string end_of(bool undo, std::map<std::string, std::string> result = {}) {
    core::Operation op;
    op.id = "op-1";
    op.vm = "vm1";
    op.author = {"olga", "operator", {}};
    op.result = std::move(result);
    op.steps.push_back({.kind = core::StepKind::admit_start, .host = "a1"});
    std::string said = "no end";
    auto task = undo ? steps::undo({node_, op, 0}) : steps::use_failed_disks({node_, op, 0});
    asio::co_spawn(io_, std::move(task), [&](std::exception_ptr, Result<core::Outcome> end) {
      said = end ? "ok" : std::string(core::to_string(end.error().code));
      if (end) last_ = *end;
    });
    time_.pass(Mono(3000));
    return said;
  }
  std::string used() { return end_of(false); }
  bool noted() const { return core::failed_leg(notes_.notes(), "vm1", "la"); }
  core::Outcome last_;
};

TEST_F(FailedDisk, IsAttachedWithItsNoteTakenBackWhereItIsTheOnlyLeg) {
  paper_.lost = {{"vm1", 0}};
  EXPECT_EQ(used(), "ok");
  ASSERT_EQ(drbd_.brought_up.size(), 1U);
  EXPECT_FALSE(drbd_.brought_up[0].volumes[0].without_disk);
  EXPECT_FALSE(noted());
  EXPECT_TRUE(paper_.lost.empty());
  EXPECT_EQ(last_.result.at("failed_legs"), "la");
  EXPECT_EQ(used(), "ok") << "again";
  EXPECT_EQ(drbd_.brought_up.size(), 1U) << "nothing is noted any more";
}

TEST_F(FailedDisk, IsAttachedAfterTheRecordSaysSo) {
  const auto before = cell_.view().vm("vm1")->right.revision;
  core::Revision then = 0;
  drbd_.while_attached = [&] { then = cell_.view().vm("vm1")->right.revision; };
  EXPECT_EQ(used(), "ok");
  EXPECT_GT(then, before);
}

TEST_F(FailedDisk, IsNotUsedBesideAnotherLegOfTheRecord) {
  for (const auto& legs : {Legs{kLegA, kLegB}, Legs{kLegB}}) {
    record(right(legs));
    time_.pass(Mono(50));
    EXPECT_EQ(used(), "conflict");
  }
  EXPECT_TRUE(drbd_.brought_up.empty());
  EXPECT_TRUE(noted());
}

TEST_F(FailedDisk, IsNotUsedWhileTheGuestWorksOnTheOtherLeg) {
  drbd_.says = whole();
  drbd_.says.volumes[0].disk = Disk::diskless;
  EXPECT_EQ(used(), "conflict");
  EXPECT_TRUE(noted());
  drbd_.says.volumes[0].peer_disk = Disk::inconsistent;
  EXPECT_EQ(used(), "ok");
}

TEST_F(FailedDisk, MeetsTheOtherLegAsSecondary) {
  drbd_.says = whole();
  drbd_.says.role = storage::Role::secondary;
  drbd_.says.volumes[0].disk = Disk::diskless;
  drbd_.attached_as = Disk::inconsistent;
  EXPECT_EQ(used(), "refused") << "the other one is newer and overwrites it";
  EXPECT_TRUE(noted());
  drbd_.says.volumes[0].disk = Disk::diskless;
  drbd_.attached_as = Disk::up_to_date;
  EXPECT_EQ(used(), "ok");
  EXPECT_FALSE(noted());
}

TEST_F(FailedDisk, ThatFailsAgainAtOnceStaysNoted) {
  drbd_.while_attached = [this] { drbd_.says.volumes[0].disk = Disk::diskless; };
  EXPECT_EQ(used(), "refused");
  EXPECT_TRUE(noted());
}

TEST_F(FailedDisk, EndsWellOnlyWhenTheGuestGoesOn) {
  drbd_.says.suspended_no_data = true;
  EXPECT_EQ(used(), "refused");
  EXPECT_TRUE(noted());
}

TEST_F(FailedDisk, IsNotUsedOnARecordOfThePast) {
  auto newer = right({kLegA});
  newer.epoch += 5;
  ASSERT_TRUE(
      notes_.keep(core::noted(notes_.notes(), "vm1", "a1", newer, node_.cell.view().vm("vm1")->right.revision + 100)));
  EXPECT_EQ(used(), "refused");
  EXPECT_TRUE(noted());
}

TEST_F(FailedDisk, CountsAsFailedAgainWhenTheStartIsUndone) {
  EXPECT_EQ(used(), "ok");
  const auto result = last_.result;
  EXPECT_EQ(end_of(true, {}), "ok");
  EXPECT_FALSE(noted()) << "nothing was taken back";
  EXPECT_EQ(end_of(true, result), "ok");
  EXPECT_TRUE(noted());
}

TEST_F(FailedDisk, IsNotTakenBackFromAGuestThatRunsOnIt) {
  EXPECT_EQ(used(), "ok");
  auto& guest = hypervisors_.guests["a1"]["vm1"];
  guest.info.name = "vm1";
  guest.info.state = core::DomainState::running;
  EXPECT_EQ(end_of(true, last_.result), "ok");
  EXPECT_FALSE(noted());
}

class StartOfARunningVm : public Shell {
 protected:
  StartOfARunningVm() {
    op_.id = "op-1";
    op_.vm = "vm1";
    op_.kind = core::OpKind::vm_start;
    op_.source_host = "a1";
    op_.steps = {{.kind = core::StepKind::promote, .host = "a1"}, {.kind = core::StepKind::start_domain, .host = "a1"}};
    guest_.info.name = "vm1";
    guest_.info.state = core::DomainState::running;
    node_.local["vm1"] = holder();
    note_failed_leg();
  }
  std::string end_of(std::size_t index, bool undo = false) {
    std::string said = "no end";
    const steps::Context context{node_, op_, index};
    asio::co_spawn(io_, undo ? steps::undo(context) : steps::run(context),
                   [&](std::exception_ptr, Result<core::Outcome> end) {
                     said = end ? "ok" : std::string(core::to_string(end.error().code));
                     if (end) op_.result.merge(end->result);
                   });
    time_.pass(Mono(3000));
    return said;
  }
  core::Operation op_;
  FakeHypervisors::Guest& guest_{hypervisors_.guests["a1"]["vm1"]};
};

TEST_F(StartOfARunningVm, ChangesNothingThoughItsDiskHasFailed) {
  EXPECT_EQ(end_of(0), "ok");
  EXPECT_EQ(end_of(1), "ok");
  EXPECT_EQ(drbd_.promotions, 0);
  EXPECT_EQ(record().epoch, core::test::right().epoch);
  EXPECT_THAT(vms_.calls, testing::Not(testing::Contains("start vm1")));
}

TEST_F(StartOfARunningVm, ArmsTheWatchdogAllTheSame) {
  int armed = 0;
  node_.arm = [&] {
    ++armed;
    return Result<>{};
  };
  EXPECT_EQ(end_of(0), "ok");
  EXPECT_EQ(armed, 1);
}

TEST_F(StartOfARunningVm, StartsNothingWhenTheGuestEndsMeanwhile) {
  EXPECT_EQ(end_of(0), "ok");
  hypervisors_.guests["a1"].clear();
  EXPECT_EQ(end_of(1), "conflict");
  EXPECT_THAT(vms_.calls, testing::Not(testing::Contains("start vm1")));
  EXPECT_EQ(end_of(0, true), "ok");
}

TEST_F(StartOfARunningVm, IsRefusedOnAFailedDiskWhenNoGuestIsThere) {
  hypervisors_.guests["a1"].clear();
  EXPECT_EQ(end_of(0), "refused");
  EXPECT_EQ(drbd_.promotions, 0);
}

class Marked : public Shell {
 protected:
  /// Nothing more is read or written: a watch that ends cannot go on, and there is no list to begin anew from.
  void lose_etcd() {
    etcd_.kv.be_unavailable(true);
    for (const auto* more : {"1", "2"}) ASSERT_TRUE(etcd_.kv.apply_now(put("elsewhere", more)));
    etcd_.kv.compact(etcd_.kv.revision());
    etcd_.kv.break_watches();
    time_.pass(Mono(500));
    ASSERT_FALSE(cell_.view().synced);
  }
  void mark(const std::string& target) {
    auto marked = right({kLegA, kLegB});
    marked.migrating_to = target;
    record(marked);
    node_.local["vm1"] = holder();
    time_.pass(Mono(50));
  }
};

TEST_F(Marked, NoGuestStartsBesideAMigration) {
  mark("b1");
  EXPECT_FALSE(step(core::StepKind::start_domain));
  EXPECT_THAT(vms_.calls, testing::Not(testing::Contains("start vm1")));
}

TEST_F(Marked, NobodyIsPromotedInAWindowThatIsNotMarked) {
  record(right({kLegA, kLegB}, "b1"));
  node_.local["vm1"] = other();
  drbd_.says.role = storage::Role::secondary;
  time_.pass(Mono(50));
  const auto out = step(core::StepKind::promote_target, "b1");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, Errc::conflict);
  EXPECT_EQ(drbd_.promotions, 0);
  auto marked = right({kLegA, kLegB}, "b1");
  marked.migrating_to = "a1";
  record(marked);
  time_.pass(Mono(50));
  EXPECT_TRUE(step(core::StepKind::promote_target, "b1"));
  EXPECT_EQ(drbd_.promotions, 1);
}

TEST_F(Marked, ACopyThatWaitsForItsMemoryIsNotLetRun) {
  auto& guest = hypervisors_.guests["a1"]["vm1"];
  guest.info.name = "vm1";
  guest.info.state = core::DomainState::paused;
  guest.info.reason = core::DomainReason::migrating;
  EXPECT_FALSE(step(core::StepKind::resume_target, "b1"));
  EXPECT_THAT(vms_.calls, testing::Not(testing::Contains("resume vm1")));
  guest.info.reason = core::DomainReason::other;
  static_cast<void>(step(core::StepKind::resume_target, "b1"));
  EXPECT_THAT(vms_.calls, testing::Contains("resume vm1"));
}

TEST_F(Marked, AWindowThatTheKernelDoesNotCloseYetIsTriedAgain) {
  drbd_.keeps_window = true;
  const auto out = step(core::StepKind::close_window, "b1");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, Errc::unavailable) << "a definite no would ask for a person";
  drbd_.keeps_window = false;
  EXPECT_TRUE(step(core::StepKind::close_window, "b1"));
}

TEST_F(Marked, TheWindowOpensUnderTheMarkAlone) {
  EXPECT_FALSE(step(core::StepKind::open_window));
  EXPECT_EQ(drbd_.windows, 0);
  mark("b1");
  EXPECT_TRUE(step(core::StepKind::open_window));
  EXPECT_EQ(drbd_.windows, 1);
}

TEST_F(Marked, TheWindowIsClosedBeforeTheMarkIsTakenAwayByAWin) {
  mark("b1");
  drbd_.says = alone();
  drbd_.while_closed = [this] { EXPECT_TRUE(record().migrating_to); };
  EXPECT_EQ(asked(), runtime::FenceAnswer::excluded);
  EXPECT_EQ(drbd_.closings, 1);
  EXPECT_FALSE(record().migrating_to);
}

TEST_F(Marked, ThePromotionOfATargetThatHasLostItsLinkIsToldNoAlsoWithoutEtcd) {
  auto marked = right({kLegA, kLegB}, "b1");
  marked.migrating_to = "a1";
  record(marked);
  drbd_.says = alone();
  node_.local["vm1"] = other();
  drbd_.says.role = storage::Role::secondary;
  time_.pass(Mono(50));
  lose_etcd();
  EXPECT_EQ(asked(), runtime::FenceAnswer::not_won);
}

TEST_F(Marked, AFrozenGuestsKernelIsToldNothingByARecordThatMayBeOld) {
  record(right({kLegA, kLegB}, "b1"));
  drbd_.says = alone();
  node_.local["vm1"] = holder();
  time_.pass(Mono(50));
  lose_etcd();
  EXPECT_FALSE(asked());
}

TEST_F(Marked, NothingIsWonWhileTheWindowCannotBeClosed) {
  mark("b1");
  drbd_.says = alone();
  drbd_.keeps_window = true;
  EXPECT_FALSE(asked());
  EXPECT_TRUE(record().migrating_to);
}

TEST_F(Marked, NoLossIsDecidedWhileAStepOpensTheWindow) {
  mark("b1");
  drbd_.says = alone();
  node_.opening.insert("vm1");
  EXPECT_FALSE(asked());
  EXPECT_TRUE(record().migrating_to);
}

TEST_F(Marked, TheWindowOpensAfterAWinOfOpenOutcomeHasEnded) {
  mark("b1");
  int writes = 0;
  etcd_.sent = [&](const kv::Txn& txn) {
    if (writes_right(txn)) ++writes;
  };
  node_.first_read = 1;
  EXPECT_TRUE(step(core::StepKind::open_window));
  EXPECT_EQ(writes, 0) << "none is open";
  node_.winning.insert("vm1");
  EXPECT_TRUE(step(core::StepKind::open_window));
  EXPECT_EQ(writes, 1);
  EXPECT_FALSE(node_.winning.contains("vm1"));
  node_.first_read = 0;
  EXPECT_TRUE(step(core::StepKind::open_window));
  EXPECT_EQ(writes, 2) << "an earlier hostd's, of which nothing is known";
  EXPECT_TRUE(record().migrating_to);
  EXPECT_FALSE(node_.opening.contains("vm1"));
}

}  // namespace
}  // namespace bascule::testkit
