// R5, R6: what a host remembers on its own disk, and what it then refuses.
#include "hostd/core/notes.hpp"

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

Right at_epoch(std::int64_t epoch) {
  Right r = test::right();
  r.epoch = epoch;
  return r;
}
Notes seen(std::int64_t epoch, Revision revision) { return *noted(Notes{}, "vm1", "a1", at_epoch(epoch), revision); }

TEST(Distrust, ARecordOlderThanTheNote) {
  const Notes notes = seen(5, 100);
  EXPECT_FALSE(distrust(notes, "vm1", at_epoch(5), 100)) << "the very record";
  EXPECT_FALSE(distrust(notes, "vm1", at_epoch(5), 101)) << "changed within the epoch";
  EXPECT_FALSE(distrust(notes, "vm1", at_epoch(6), 110)) << "newer";
  EXPECT_TRUE(distrust(notes, "vm1", at_epoch(5), 99)) << "the same epoch at a lower revision: etcd went back";
  EXPECT_TRUE(distrust(notes, "vm1", at_epoch(4), 200))
      << "a higher revision with an older epoch: restored from a copy";
  EXPECT_TRUE(distrust(notes, "vm1", Right{}, 0)) << "the record is missing";
  EXPECT_FALSE(distrust(notes, "vm2", at_epoch(1), 1)) << "never seen: nothing to compare with";
}

TEST(Notes, NeverGoBack) {
  const Notes notes = seen(5, 100);
  EXPECT_FALSE(noted(notes, "vm1", "a1", at_epoch(5), 100)) << "nothing new";
  EXPECT_FALSE(noted(notes, "vm1", "a1", at_epoch(6), 99)) << "a late event";
  const auto next = noted(notes, "vm1", "a1", at_epoch(4), 120);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->vms.at("vm1").epoch, 5);
  EXPECT_EQ(next->vms.at("vm1").revision, 120);
  EXPECT_TRUE(distrust(*next, "vm1", at_epoch(4), 120)) << "an epoch that fell stays suspect";
}

TEST(Notes, AreForgottenWithTheVmAlone) {
  const Notes notes = seen(5, 100);
  const auto none = forgotten(notes, "vm1");
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->vms.empty());
  EXPECT_FALSE(forgotten(*none, "vm1"));
}

TEST(AFailedLeg, IsNeverPromotedUntilItIsInSyncAgain) {
  const Notes notes = seen(5, 100);
  EXPECT_FALSE(failed_legs(notes, "vm1", test::layout(), "a1"));
  const auto failed = leg_failed(notes, "vm1", "la", true);
  ASSERT_TRUE(failed);
  EXPECT_THAT(failed_legs(*failed, "vm1", test::layout(), "a1").value_or(""), testing::HasSubstr("volume root on a1"));
  EXPECT_FALSE(failed_legs(*failed, "vm1", test::layout(), "b1")) << "the other leg is another";
  EXPECT_FALSE(leg_failed(*failed, "vm1", "la", true)) << "noted already";
  EXPECT_TRUE(failed_leg(*failed, "vm1", "la")) << "brought up without its disk";
  EXPECT_FALSE(failed_leg(*failed, "vm1", "lb"));
  EXPECT_FALSE(failed_leg(*failed, "vm2", "la"));
  const auto whole = leg_failed(*failed, "vm1", "la", false);
  ASSERT_TRUE(whole);
  EXPECT_FALSE(failed_legs(*whole, "vm1", test::layout(), "a1"));
  // A leg of a new making has a new id: the old note says nothing of it.
  Layout anew = test::layout();
  anew.volumes[0].legs[0].id = "la2";
  EXPECT_FALSE(failed_legs(*failed, "vm1", anew, "a1"));
}

// The kernel's helper knows a volume by its number alone, and wrote it down while no hostd looked.
TEST(ALostDisk, IsHeldAgainstTheLegBeforeAndAfterItsNameIsKnown) {
  const auto lost = disk_lost(seen(5, 100), "vm1", 0);
  ASSERT_TRUE(lost);
  EXPECT_FALSE(disk_lost(*lost, "vm1", 0)) << "noted already";
  EXPECT_THAT(failed_legs(*lost, "vm1", test::layout(), "a1").value_or(""), testing::HasSubstr("volume root on a1"));
  EXPECT_TRUE(leg_noted(*lost, "vm1", test::layout(), 0, "a1"));
  EXPECT_FALSE(leg_noted(*lost, "vm1", test::layout(), 1, "a1")) << "another volume";
  EXPECT_FALSE(leg_noted(*lost, "vm2", test::layout(), 0, "a1")) << "another VM";
  const auto named = legs_named(*lost, "vm1", test::layout(), "a1");
  ASSERT_TRUE(named);
  EXPECT_THAT(named->vms.at("vm1").failed, testing::ElementsAre("la"));
  EXPECT_THAT(named->vms.at("vm1").lost, testing::IsEmpty());
  EXPECT_TRUE(failed_legs(*named, "vm1", test::layout(), "a1"));
  EXPECT_EQ(named->vms.at("vm1").epoch, 5) << "nothing else is touched";
  EXPECT_FALSE(legs_named(*named, "vm1", test::layout(), "a1")) << "nothing new";
  EXPECT_FALSE(legs_named(*lost, "vm1", Layout{}, "a1")) << "no layout yet: it stays";
}

TEST(ALostDisk, OfAVolumeThatIsNoMoreIsForgotten) {
  const auto lost = disk_lost(seen(5, 100), "vm1", 7);
  const auto named = legs_named(*lost, "vm1", test::layout(), "a1");
  ASSERT_TRUE(named);
  EXPECT_FALSE(failed_legs(*named, "vm1", test::layout(), "a1"));
  EXPECT_THAT(named->vms.at("vm1").lost, testing::IsEmpty());
}

using Others = std::optional<std::vector<std::string>>;

Right alone(std::int64_t epoch) {
  Right r = at_epoch(epoch);
  r.insync["root"] = {test::kLegA};
  return r;
}
Others others(const std::optional<Notes>& notes) { return notes ? notes->vms.at("vm1").others : Others{}; }

/// Who could take the guest over, for a hostd that starts while etcd is away.
TEST(Notes, KeepWhoIsInSyncWithAGuestOfThisHost) {
  EXPECT_EQ(others(noted(Notes{}, "vm1", "a1", at_epoch(5), 100)), Others({"b1"}));
  EXPECT_EQ(others(noted(Notes{}, "vm1", "a1", alone(5), 100)), Others(std::vector<std::string>{}));
  EXPECT_EQ(others(noted(Notes{}, "vm1", "b1", at_epoch(5), 100)), Others{}) << "another host's";
  Right half = alone(5);  // one volume is in sync, the other not yet
  half.insync["data"] = {{"a1", "da"}, {"b1", "db"}};
  EXPECT_EQ(others(noted(Notes{}, "vm1", "a1", half, 100)), Others({"b1"}));
  EXPECT_EQ(others(noted(seen(5, 100), "vm1", "a1", alone(5), 101)), Others(std::vector<std::string>{}));
  EXPECT_EQ(others(noted(seen(5, 100), "vm1", "b1", at_epoch(6), 101)), Others{}) << "given away";
}

TEST(Notes, AWriteThatMayAddAHostIsNotedBeforeItIsSentAndEndsWithANewerRecord) {
  const Notes before = *noted(Notes{}, "vm1", "a1", alone(5), 100);
  const Notes sent = noted_adding(before, "vm1", "a1", alone(5), 100, "b1");
  EXPECT_EQ(others(sent), Others({"b1"}));
  EXPECT_EQ(others(noted_adding(sent, "vm1", "a1", alone(5), 100, "b1")), Others({"b1"}));
  EXPECT_FALSE(noted(sent, "vm1", "a1", alone(5), 100)) << "the record it was sent on: it may yet arrive";
  EXPECT_EQ(others(noted(sent, "vm1", "a1", alone(5), 101)), Others(std::vector<std::string>{}));
  EXPECT_EQ(others(noted(sent, "vm1", "a1", at_epoch(5), 101)), Others({"b1"})) << "it has arrived";
  // Sent on a record that was not noted yet: the record before the one it was sent on does not end it.
  const Notes early = noted_adding(seen(5, 90), "vm1", "a1", alone(5), 100, "b1");
  EXPECT_EQ(early.vms.at("vm1").revision, 100);
  EXPECT_FALSE(noted(early, "vm1", "a1", alone(5), 100));
}

TEST(Notes, OfAnOlderHostdSayNothingOfOthersUntilTheRecordDoes) {
  Notes old = seen(5, 100);
  old.vms.at("vm1").others.reset();
  EXPECT_FALSE(noted(old, "vm1", "a1", alone(5), 100)) << "a write of that hostd may be on its way";
  EXPECT_EQ(others(noted(old, "vm1", "a1", at_epoch(5), 100)), Others({"b1"})) << "nobody is left to be added";
  EXPECT_EQ(others(noted_adding(old, "vm1", "a1", alone(5), 100, "b1")), Others{});
}

TEST(Notes, KeepTheAddressesOfTheOthers) {
  const auto known = noted_addresses(Notes{}, {{"b1", "b1:1"}});
  ASSERT_TRUE(known);
  EXPECT_EQ(known->addresses.at("b1"), "b1:1");
  EXPECT_FALSE(noted_addresses(*known, {{"b1", "b1:1"}}));
  EXPECT_TRUE(noted_addresses(*known, {{"b1", "b1:2"}}));
}

TEST(Notes, InANewClusterForgetItsIdAndRevisionsAndNothingElse) {
  Notes notes = seen(5, 100);
  notes.cluster_id = 77;
  notes.highest = 900;
  notes.addresses = {{"b1", "b1:1"}};
  notes.vms["vm1"].failed = {"la"};
  notes.vms["vm1"].lost = {1};
  notes.vms["vm2"].epoch = 2;
  Notes wanted = notes;
  wanted.cluster_id = 0;
  wanted.highest = 0;
  wanted.vms["vm1"].revision = 0;
  EXPECT_EQ(in_new_cluster(notes), wanted);
}

TEST(Notes, OfALostClusterTrustOnlyAnAdoptionAboveTheirEpoch) {
  const Notes notes = in_new_cluster(seen(5, 100'000));
  EXPECT_TRUE(distrust(notes, "vm1", at_epoch(4), 30)) << "older than what this host has seen";
  EXPECT_TRUE(distrust(notes, "vm1", at_epoch(5), 200'000)) << "put back from a copy: a leg may have left it since";
  EXPECT_FALSE(distrust(notes, "vm1", at_epoch(6), 30)) << "the new cluster counts its revisions anew";
  const auto next = noted(notes, "vm1", "a1", at_epoch(6), 30);
  ASSERT_TRUE(next);
  EXPECT_TRUE(distrust(*next, "vm1", at_epoch(6), 29)) << "from then on as ever";
}

}  // namespace
}  // namespace bascule::core
