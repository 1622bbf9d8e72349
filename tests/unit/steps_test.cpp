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

class Marked : public Shell {
 protected:
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

TEST_F(Marked, TheWindowOpensUnderTheMarkAlone) {
  EXPECT_FALSE(step(core::StepKind::open_window));
  EXPECT_EQ(drbd_.windows, 0);
  mark("b1");
  EXPECT_TRUE(step(core::StepKind::open_window));
  EXPECT_EQ(drbd_.windows, 1);
}

}  // namespace
}  // namespace bascule::testkit
