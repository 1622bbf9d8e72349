// What a host looks at before it says anything of a restored VM's legs, and before the record is made.
#include "hostd/core/adopt.hpp"
#include "hostd/steps/step.hpp"
#include "shell_fixture.hpp"

namespace bascule::testkit {
namespace {

constexpr const char* kOlder = "0000000000000090:0000000000000000:0000000000000000:0000000000000000";
constexpr const char* kNewer = "00000000000000B0:00000000000000A0:0000000000000000:0000000000000000";

/// vm1 as a restore leaves it: no record; hostd of a1.
class Adoption : public Shell {
 protected:
  Adoption() {
    kv::Txn gone;
    gone.success.emplace_back(kv::Delete{keys::vm_right(root_, "vm1")});
    EXPECT_TRUE(etcd_.kv.apply_now(gone));
    set(keys::vm_restored(root_, "vm1"), core::Restored{7, "a1"});
    drbd_.says.role = storage::Role::secondary;
    op_.id = "op-1";
    op_.kind = core::OpKind::vm_adopt;
    op_.vm = "vm1";
    op_.source_host = "b1";
    op_.target_host = "a1";
    op_.author = {"olga", "operator", {}};
    op_.result[core::adopt_epoch_key("b1")] = "9";
    op_.result[core::adopt_generation_key("b1", "root")] = drbd_.identifiers;
    time_.pass(Mono(50));
  }
  Result<core::Outcome> run(core::StepKind kind) {
    op_.steps.clear();
    op_.steps.push_back({.kind = kind, .host = "a1"});
    set(keys::op(root_, op_.id), op_);
    time_.pass(Mono(50));
    Result<core::Outcome> out = fail(Errc::timeout, "no end");
    asio::co_spawn(io_, steps::run({node_, op_, 0}),
                   [&](std::exception_ptr, Result<core::Outcome> end) { out = std::move(end); });
    time_.pass(Mono(3000));
    return out;
  }
  std::string said(core::StepKind kind) { return core::test::text(run(kind)); }
  /// Both hosts have said what they have, and a second operator has approved.
  void approved() {
    const auto surveyed = run(core::StepKind::survey_legs);
    ASSERT_TRUE(surveyed) << surveyed.error().what;
    op_.result.insert(surveyed->result.begin(), surveyed->result.end());
    op_.result["approved_by"] = "otto";
  }
  void guest_is_here() {
    auto& guest = hypervisors_.guests["a1"]["vm1"];
    guest.info.name = "vm1";
    guest.info.state = core::DomainState::running;
  }
  core::Operation op_;
};
using core::StepKind;
using testing::HasSubstr;
using testing::StartsWith;

TEST_F(Adoption, BeginsWithTheLinkCutAndWhatTheLegsAre) {
  const auto out = run(StepKind::survey_legs);
  ASSERT_TRUE(out) << out.error().what;
  EXPECT_EQ(drbd_.brought_up.size(), 1U);
  EXPECT_EQ(drbd_.cuts, 1);
  EXPECT_EQ(drbd_.connects + drbd_.promotions, 0);
  EXPECT_EQ(out->result.at(core::adopt_epoch_key("a1")), "0");
  EXPECT_EQ(out->result.at(core::adopt_generation_key("a1", "root")), drbd_.identifiers);
  EXPECT_THAT(out->result.at("leg_a1"), HasSubstr("root: UpToDate"));
  EXPECT_FALSE(out->right);
}

TEST_F(Adoption, TheLastToSaySaysHowTheLegsStand) {
  op_.target_host = "b1";
  auto out = run(StepKind::survey_legs);
  ASSERT_TRUE(out) << out.error().what;
  EXPECT_EQ(out->result.at("compared"), "root: the legs have one generation");
  op_.target_host = "a1";
  out = run(StepKind::survey_legs);
  ASSERT_TRUE(out) << out.error().what;
  EXPECT_FALSE(out->result.contains("compared")) << "the other host has not said it yet";
}

TEST_F(Adoption, MakesTheRecordOnlyAfterTheApprovalAndAboveEveryEpoch) {
  ASSERT_TRUE(notes_.keep(core::noted(notes_.notes(), "vm1", "a1", right({kLegA}), 0).value_or(notes_.notes())));
  approved();
  const auto out = run(StepKind::adopt_right);
  ASSERT_TRUE(out) << out.error().what;
  ASSERT_TRUE(out->right);
  EXPECT_EQ(out->right->host, "a1");
  EXPECT_EQ(out->right->epoch, 10);
  EXPECT_EQ(out->right->insync.at("root"), Legs{kLegA});
  EXPECT_EQ(out->right_revision, 0);
  op_.result.erase("approved_by");
  EXPECT_THAT(said(StepKind::adopt_right), StartsWith("conflict: nobody has approved it"));
}

TEST_F(Adoption, IsRefusedWhereALegHasLostItsDiskOrIsMissing) {
  approved();
  note_failed_leg();
  for (const auto kind : {StepKind::survey_legs, StepKind::confirm_legs, StepKind::adopt_right}) {
    EXPECT_THAT(said(kind), StartsWith("refused: the leg of volume root on a1 has lost its disk"));
  }
  ASSERT_TRUE(notes_.keep(core::leg_failed(notes_.notes(), "vm1", "la", false)));
  pool_.devices.clear();
  EXPECT_THAT(said(StepKind::survey_legs), StartsWith("refused: a leg on a1 is missing"));
}

TEST_F(Adoption, IsRefusedWhileAnybodyUsesTheLegs) {
  approved();
  drbd_.says.role = storage::Role::primary;
  for (const auto kind : {StepKind::survey_legs, StepKind::confirm_legs, StepKind::adopt_right}) {
    EXPECT_THAT(said(kind), StartsWith("conflict: the legs on a1 are in use"));
  }
}

TEST_F(Adoption, IsRefusedWithAGuestOnTheHost) {
  approved();
  guest_is_here();
  for (const auto kind : {StepKind::survey_legs, StepKind::confirm_legs, StepKind::adopt_right}) {
    EXPECT_THAT(said(kind), StartsWith("conflict: a guest of VM vm1 is on a1"));
  }
}

TEST_F(Adoption, IsRefusedFromALegThatIsNotWholeAndTakesTheOtherAsItIs) {
  for (const auto disk : {Disk::inconsistent, Disk::outdated, Disk::diskless}) {
    drbd_.says.volumes[0].disk = disk;
    EXPECT_THAT(said(StepKind::survey_legs), StartsWith("refused: the leg of volume root on a1 is"));
  }
  op_.source_host = "a1";
  op_.target_host = "b1";
  drbd_.says.volumes[0].disk = Disk::inconsistent;
  EXPECT_EQ(said(StepKind::survey_legs), "ok");
  drbd_.says.volumes[0].disk = Disk::diskless;
  EXPECT_THAT(said(StepKind::survey_legs), StartsWith("refused: the leg of volume root on a1 is"));
  drbd_.says.volumes[0].disk = Disk::inconsistent;
  EXPECT_EQ(said(StepKind::snapshot_leg), "ok");
}

TEST_F(Adoption, OfTheOlderLegEndsBeforeAnythingIsKept) {
  op_.source_host = "a1";
  op_.target_host = "b1";
  drbd_.identifiers = kNewer;
  EXPECT_THAT(said(StepKind::survey_legs), StartsWith("refused: the leg of volume root on b1 is older"));
}

TEST_F(Adoption, IsRefusedWhenTheLegsHaveChangedSinceTheyWereShown) {
  approved();
  drbd_.identifiers = kOlder;
  for (const auto kind : {StepKind::confirm_legs, StepKind::adopt_right}) {
    EXPECT_THAT(said(kind), StartsWith("conflict: volume root on a1 has changed"));
  }
}

TEST_F(Adoption, IsRefusedWhenTheLegsAreNotApartAnyMore) {
  approved();
  drbd_.says.connection = Connection::connected;
  for (const auto kind : {StepKind::confirm_legs, StepKind::adopt_right}) {
    EXPECT_THAT(said(kind), StartsWith("conflict: the legs on a1 are not apart"));
  }
}

TEST_F(Adoption, KeepsWhatTheLegsHoldAndOverwritesNothingKeptBefore) {
  EXPECT_EQ(said(StepKind::snapshot_leg), "ok");
  EXPECT_EQ(pool_.devices.size(), 2U);
  EXPECT_THAT(said(StepKind::survey_legs), HasSubstr("is still kept on a1"));
}

}  // namespace
}  // namespace bascule::testkit
