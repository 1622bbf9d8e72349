// Between a remedy that core names and its effect: what hostd asks anew, notes and waits for.
#include "hostd/worker.hpp"

#include "hostd/core/explain.hpp"
#include "shell_fixture.hpp"

namespace bascule::testkit {
namespace {

TEST_F(Shell, ALegIsListedAgainWhileThisHostsLeaseIsRenewed) {
  renewed_ = false;
  mend(right({kLegA}), holder());
  EXPECT_EQ(listed(), Legs{kLegA}) << "from then on this host's silence could be counted, and it is silent";
  renewed_ = true;
  time_.pass(Mono(20'000));
  EXPECT_EQ(listed(), (Legs{kLegA, kLegB}));
}

TEST_F(Shell, ALegIsListedAgainOnlyWhenDrbdSaysSoNow) {
  drbd_.says.volumes[0].peer_disk = Disk::inconsistent;
  mend(right({kLegA}), holder());
  EXPECT_EQ(listed(), Legs{kLegA});
}

// R1 has shut the other leg out between the answer of DRBD and the write.
TEST_F(Shell, ALegIsListedAgainOnlyOnTheRecordThatWasReadBeforeDrbdWasAsked) {
  drbd_.while_asked = [this] {
    auto won = right({kLegA});
    ++won.epoch;
    record(won);
    node_.local["vm1"].connection = "Connecting";
  };
  mend(right({kLegA}), holder());
  EXPECT_EQ(listed(), Legs{kLegA});
}

TEST_F(Shell, ThePrimarysRecordChangesOverToTheLegItWorksOn) {
  swap_is_due();
  EXPECT_EQ(listed(), Legs{kLegB});
}

TEST_F(Shell, ItDoesNotWhenDrbdSaysOtherwiseNow) {
  drbd_.says.volumes[0].peer_disk = Disk::inconsistent;
  swap_is_due();
  EXPECT_EQ(listed(), Legs{kLegA}) << "the resync has begun anew";
}

TEST_F(Shell, ItDoesNotForASecondary) {
  drbd_.says.role = storage::Role::secondary;
  swap_is_due();
  EXPECT_EQ(listed(), Legs{kLegA});
}

TEST_F(Shell, ItDoesNotOnARecordThatHasChangedSince) {
  drbd_.while_asked = [this] {
    auto changed = right({kLegA});
    ++changed.epoch;
    record(changed);
    node_.local["vm1"].connection = "Connecting";
  };
  swap_is_due();
  EXPECT_EQ(listed(), Legs{kLegA});
}

TEST_F(Shell, ItDoesNotWhileTheLeaseIsSilent) {
  renewed_ = false;
  swap_is_due();
  EXPECT_EQ(listed(), Legs{kLegA});
}

TEST_F(Shell, TheWriteThatMayAddAHostIsNotedBeforeItIsSent) {
  record(right({kLegA}));
  int writes = 0;
  etcd_.sent = [&](const kv::Txn& txn) {
    if (!writes_right(txn)) return;
    ++writes;
    EXPECT_THAT(notes_.notes().vms.at("vm1").others.value(), testing::Contains("b1"));
  };
  mend(right({kLegA}), holder());
  EXPECT_GT(writes, 0);
}

TEST_F(Shell, ANoteThatCannotBeKeptKeepsTheWriteBack) {
  paper_.full = true;
  mend(right({kLegA}), holder());
  EXPECT_EQ(listed(), Legs{kLegA});
}

TEST_F(Shell, AWriteOfUnknownOutcomeStillCounts) {
  etcd_.sent = [&](const kv::Txn& txn) {
    if (!writes_right(txn)) return;
    EXPECT_TRUE(node_.adding.contains("vm1")) << "while it is on its way";
    renewed_ = false;  // none is sent after it
    etcd_.kv.hold_writes(1000);
  };
  mend(right({kLegA}), holder(), Mono(30'000));
  EXPECT_FALSE(renewed_);
  ASSERT_TRUE(node_.adding.contains("vm1")) << "it may arrive yet";
  auto moved = *cell_.view().vm("vm1");
  EXPECT_TRUE(node_.being_added("vm1", moved));
  ++moved.right.revision;
  EXPECT_FALSE(node_.being_added("vm1", moved)) << "it compares a record that stands no more";
}

TEST_F(Shell, ALegThatFailedIsBroughtUpWithoutItsDisk) {
  note_failed_leg();
  auto down = other();
  down.up = false;
  mend(right({kLegA, kLegB}, "b1"), down);
  ASSERT_FALSE(drbd_.brought_up.empty());
  EXPECT_TRUE(drbd_.brought_up.front().volumes[0].without_disk);
  EXPECT_TRUE(node_.local["vm1"].rejoin_pending);
}

TEST_F(Shell, ALegThatIsAttachedAgainIsMarkedAsOldAndNoLongerNoted) {
  note_failed_leg();
  paper_.lost = {{"vm1", 0}};
  drbd_.while_marked = [this] {
    EXPECT_TRUE(drbd_.brought_up.empty()) << "marked before it is attached";
    EXPECT_TRUE(core::failed_leg(notes_.notes(), "vm1", "la")) << "noted for as long as it is not marked";
  };
  drbd_.while_attached = [this] {
    EXPECT_FALSE(core::failed_leg(notes_.notes(), "vm1", "la")) << "what fails from here on is noted anew";
    EXPECT_TRUE(paper_.lost.empty());
  };
  auto lost = other();
  lost.volumes["root"] = {"Diskless", "UpToDate", "Established", 0};
  drbd_.says.volumes[0].disk = Disk::diskless;
  mend(right({kLegB}, "b1"), lost);
  ASSERT_FALSE(drbd_.brought_up.empty());
  EXPECT_FALSE(drbd_.marked.empty());
}

TEST_F(Shell, ADiskThatFailsWhileAnotherIsMarkedIsNotAttachedWithIt) {
  auto layout = core::test::running_vm().layout.value;
  layout.volumes.push_back(layout.volumes[0]);
  layout.volumes[1].name = "data";
  layout.volumes[1].minor += 1;
  layout.volumes[1].legs = {{"a1", "la2"}, {"b1", "lb2"}};
  set(keys::vm_layout(root_, "vm1"), layout);
  pool_.devices[*storage::device_name({"vm1", "data", "la2"}, pool_.config())] = 65;
  drbd_.says.volumes[1] = drbd_.says.volumes[0];
  drbd_.says.volumes[0].disk = Disk::diskless;
  drbd_.while_marked = [this] { node_.local["vm1"].volumes["data"].disk = "Diskless"; };
  auto lost = other();
  lost.volumes["root"] = {"Diskless", "UpToDate", "Established", 0};
  lost.volumes["data"] = {"UpToDate", "UpToDate", "Established", 0};
  auto held = right({kLegB}, "b1");
  held.insync["data"] = {{"a1", "la2"}, {"b1", "lb2"}};
  mend(held, lost, Mono(100));
  ASSERT_FALSE(drbd_.brought_up.empty());
  EXPECT_FALSE(drbd_.brought_up.front().volumes[0].without_disk);
  EXPECT_TRUE(drbd_.brought_up.front().volumes[1].without_disk) << "nobody has marked it";
}

TEST_F(Shell, ALegThatCannotBeMarkedAsOldIsNotAttached) {
  note_failed_leg();
  drbd_.marks = false;
  auto lost = other();
  lost.volumes["root"] = {"Diskless", "UpToDate", "Established", 0};
  drbd_.says.volumes[0].disk = Disk::diskless;
  mend(right({kLegB}, "b1"), lost, Mono(20'000));
  EXPECT_TRUE(drbd_.brought_up.empty());
  EXPECT_TRUE(core::failed_leg(notes_.notes(), "vm1", "la"));
}

TEST_F(Shell, ALegThatComesBackConnectsAfterItHasLeftTheRecord) {
  auto back = other();
  back.connection = "StandAlone";
  back.rejoin_pending = true;
  etcd_.kv.hold_writes(1000);
  mend(right({kLegA, kLegB}, "b1"), back, Mono(60'000));
  EXPECT_EQ(drbd_.connects, 0) << "its write has no end yet";
  etcd_.kv.hold_writes(0);
  time_.pass(Mono(40'000));
  EXPECT_EQ(listed(), Legs{kLegB});
  EXPECT_GT(drbd_.connects, 0);
}

TEST_F(Shell, TheGuestStandsStillWhileTheRecordListsALegThatDoesNotFollow) {
  auto shrinking = holder();
  shrinking.volumes["root"].peer_disk = "Outdated";
  record(right({kLegA, kLegB}));
  time_.pass(Mono(50));
  etcd_.away = true;
  mend(right({kLegA, kLegB}), shrinking, config_.timing.renew_timeout - Mono(200));
  EXPECT_FALSE(drbd_.stopped) << "a short outage of etcd stops nobody";
  time_.pass(Mono(1000));
  EXPECT_TRUE(drbd_.stopped);
}

TEST_F(Shell, ALegIsForgivenOnceDrbdSaysThatNothingIsMissing) {
  note_failed_leg();
  paper_.lost = {{"vm1", 0}};  // by the kernel's helper, since hostd was started
  drbd_.says.volumes[0].out_of_sync_kib = 4;
  mend(right({kLegB, kLegA}, "b1"), other());
  EXPECT_TRUE(core::failed_leg(notes_.notes(), "vm1", "la"));
  EXPECT_FALSE(paper_.lost.empty());
  drbd_.says = whole();
  see(other());
  time_.pass(Mono(1000));
  EXPECT_FALSE(core::failed_leg(notes_.notes(), "vm1", "la"));
  EXPECT_TRUE(paper_.lost.empty());
}

TEST_F(Shell, AHelperThatWritesAfterItsDiskCameBackIsForgivenToo) {
  drbd_.while_attached = [this] {
    paper_.lost = {{"vm1", 0}};
    node_.local["vm1"] = other();
  };
  drbd_.says.volumes[0].disk = Disk::diskless;
  drbd_.attached_as = Disk::up_to_date;
  auto lost = other();
  lost.volumes["root"] = {"Diskless", "UpToDate", "Established", 0};
  mend(right({kLegB}, "b1"), lost);
  EXPECT_TRUE(paper_.lost.empty()) << "the next start would leave out a leg that is whole";
  EXPECT_FALSE(core::failed_leg(notes_.notes(), "vm1", "la"));
}

TEST_F(Shell, ALegIsForgivenWhileAnotherVolumeIsStillResynced) {
  auto layout = core::test::running_vm().layout.value;
  layout.volumes.push_back(layout.volumes[0]);
  layout.volumes[1].name = "data";
  layout.volumes[1].minor += 1;
  layout.volumes[1].legs = {{"a1", "la2"}, {"b1", "lb2"}};
  set(keys::vm_layout(root_, "vm1"), layout);
  note_failed_leg();
  ASSERT_TRUE(notes_.keep(core::leg_failed(notes_.notes(), "vm1", "la2", true)));
  paper_.lost = {{"vm1", 0}, {"vm1", 1}};
  drbd_.says.volumes[1] = drbd_.says.volumes[0];
  drbd_.says.volumes[1].disk = Disk::inconsistent;
  drbd_.says.volumes[1].replication = Replication::sync_target;
  auto local = other();
  local.volumes["data"] = {"Inconsistent", "UpToDate", "SyncTarget", 400};
  auto held = right({kLegB}, "b1");
  held.insync["data"] = {{"b1", "lb2"}};
  mend(held, local);
  EXPECT_FALSE(core::failed_leg(notes_.notes(), "vm1", "la")) << "the record may list it alone before data is whole";
  EXPECT_TRUE(core::failed_leg(notes_.notes(), "vm1", "la2"));
  ASSERT_EQ(paper_.lost.size(), 1U);
  EXPECT_EQ(paper_.lost[0].volume, 1);
}

TEST_F(Shell, AFailureInTheMidstOfForgivingIsNotForgiven) {
  note_failed_leg();
  drbd_.while_asked = [this] { drbd_.says.volumes[0].disk = Disk::diskless; };
  mend(right({kLegB}, "b1"), other());
  EXPECT_TRUE(core::failed_leg(notes_.notes(), "vm1", "la"));
}

TEST_F(Shell, APrimaryThatIsFoundWithoutADiskHasLostIt) {
  drbd_.marks = false;  // it does not answer yet
  drbd_.says.volumes[0].disk = Disk::diskless;
  auto unseen = holder();
  unseen.volumes.clear();
  mend(right({kLegA, kLegB}), unseen);
  EXPECT_TRUE(core::failed_leg(notes_.notes(), "vm1", "la"));
}

TEST_F(Shell, WhatDrbdTellsWhileItIsAskedIsNewerThanItsAnswer) {
  drbd_.marks = false;  // its disk does not answer
  drbd_.while_asked = [this] { node_.local["vm1"].volumes["root"] = {"Diskless", "UpToDate", "Established", 0}; };
  auto unseen = holder();
  unseen.volumes.clear();
  mend(right({kLegA, kLegB}), unseen);
  EXPECT_EQ(node_.local["vm1"].volumes["root"].disk, "Diskless");
  EXPECT_TRUE(core::failed_leg(notes_.notes(), "vm1", "la"));
}

TEST_F(Shell, HowFarALegIsBehindIsLookedAtFromTimeToTime) {
  auto behind = holder();
  behind.volumes["root"] = {"UpToDate", "Inconsistent", "SyncSource", 400};
  auto& says = drbd_.says.volumes[0];
  says.peer_disk = Disk::inconsistent;
  says.replication = Replication::sync_source;
  says.out_of_sync_kib = 300;
  mend(right({kLegA}), behind, Mono(80'000));
  EXPECT_EQ(node_.local["vm1"].volumes["root"].out_of_sync_kib, 300U);
  EXPECT_EQ(cell_.view().vm("vm1")->status.at("a1").volumes.at("root").out_of_sync_kib, 300U);
  // The resync ends between the answer and its arrival.
  drbd_.while_asked = [this] { node_.local["vm1"].volumes["root"] = {"UpToDate", "UpToDate", "Established", 0}; };
  says.out_of_sync_kib = 200;
  time_.pass(Mono(80'000));
  EXPECT_EQ(node_.local["vm1"].volumes["root"].out_of_sync_kib, 0U);
}

TEST_F(Shell, AGuestThatWasJustStartedIsNotTakenForGone) {
  auto untold = holder();
  untold.domain = core::DomainState::absent;
  node_.started_at["vm1"] = runtime::Clock::now();
  mend(right({kLegA, kLegB}), untold);
  EXPECT_EQ(drbd_.demotions, 0);
  time_.pass(Mono(3000));
  EXPECT_GT(drbd_.demotions, 0) << "libvirt has had time to tell of it";
}

TEST_F(Shell, AWindowThatCouldNotBeLookedForIsLookedForAgain) {
  drbd_.mute = true;
  mend(right({kLegA, kLegB}), holder());
  const int looks = drbd_.window_looks;
  drbd_.mute = false;
  time_.pass(Mono(60'000));
  EXPECT_EQ(drbd_.window_looks, looks + 1) << "again, and not for ever";
}

TEST_F(Shell, WhatIsFreeInThePoolIsLookedAtFromTimeToTime) {
  mend(right({kLegA, kLegB}), holder(), Mono(20'000));
  pool_.devices["another VM of the machine"] = 100;
  time_.pass(Mono(80'000));
  EXPECT_EQ(cell_.view().host("a1")->info.value.pool_free_mib, 1000U - 65 - 100);
}

TEST_F(Shell, AGuestThatSwitchedItselfOffStaysOffAcrossARestartOfHostd) {
  core::VmStatus told;
  told.waits = std::string(core::kOwnAct) + "; it is started by hand";
  set(keys::vm_status(root_, "vm1", "a1"), told);
  auto gone = holder();
  gone.domain = core::DomainState::unknown;  // libvirt is not reached yet
  mend(right({kLegA, kLegB}), gone);
  EXPECT_EQ(node_.local["vm1"].reason, core::DomainReason::guest_shutdown);
  EXPECT_EQ(cell_.view().vm("vm1")->status.at("a1").domain, core::DomainState::unknown) << "told since";
  EXPECT_TRUE(core::own_act(cell_.view().vm("vm1")->status.at("a1"))) << "for the next hostd";
  // Another host has taken it over, and what it does with it is news.
  record(right({kLegA, kLegB}, "b1"));
  time_.pass(Mono(1000));
  EXPECT_EQ(node_.local["vm1"].reason, core::DomainReason::other);
  EXPECT_FALSE(core::own_act(cell_.view().vm("vm1")->status.at("a1")));
}

TEST_F(Shell, WhatARecordSaysOfAGuestThatIsAnothersByNowIsOfThePast) {
  core::VmStatus told;
  told.waits = core::kOwnAct;
  set(keys::vm_status(root_, "vm1", "a1"), told);
  mend(right({kLegA, kLegB}, "b1"), other());
  EXPECT_EQ(node_.local["vm1"].reason, core::DomainReason::other);
}

TEST_F(Shell, NothingIsBegunInACellOfANewerFormat) {
  core::Operation op;
  op.id = "op-1";
  op.kind = core::OpKind::vm_reset;
  op.vm = "vm1";
  op.steps.push_back({.kind = core::StepKind::reset, .host = "a1"});
  set(keys::op(root_, op.id), op);
  ASSERT_TRUE(etcd_.kv.apply_now(put(keys::vm_op(root_, "vm1"), op.id)));
  ASSERT_TRUE(etcd_.kv.apply_now(put(keys::format(root_), "999")));
  time_.pass(Mono(50));
  ASSERT_FALSE(cell_.refusal().empty());
  asio::co_spawn(io_, worker_.run(), asio::detached);
  time_.pass(Mono(5000));
  EXPECT_THAT(vms_.calls, testing::Not(testing::Contains("reset vm1")));
  ASSERT_TRUE(etcd_.kv.apply_now(put(keys::format(root_), "1")));
  time_.pass(Mono(8000));
  EXPECT_THAT(vms_.calls, testing::Contains("reset vm1"));
}

}  // namespace
}  // namespace bascule::testkit
