// What a host mends by itself: what it sees against what the record says, one line per cell.
#include "hostd/core/reconcile.hpp"

#include <functional>

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using test::kLegA;
using test::kLegB;
using Kind = Remedy::Kind;

std::string_view word(Kind kind) {
  switch (kind) {
    case Kind::none: return "none";
    case Kind::bring_up: return "bring-up";
    case Kind::attach_again: return "attach-again";
    case Kind::commit_right: return "commit-right";
    case Kind::add_back: return "add-back";
    case Kind::swap_leg: return "swap-leg";
    case Kind::connect: return "connect";
    case Kind::disconnect: return "disconnect";
    case Kind::demote: return "demote";
    case Kind::close_window: return "close-window";
    case Kind::destroy_domain: return "destroy-domain";
    case Kind::fail_io: return "fail-io";
    case Kind::take_down: return "take-down";
    case Kind::ask_again: return "ask-again";
    case Kind::resume_io: return "resume-io";
  }
  return "?";
}

/// The holder's half of the running VM, healthy.
LocalVm holder() {
  LocalVm l;
  l.up = true;
  l.role = "Primary";
  l.connection = "Connected";
  l.domain = DomainState::running;
  l.volumes["root"] = {"UpToDate", "UpToDate", "Established", 0};
  return l;
}
/// The other host's half.
LocalVm other() {
  LocalVm l = holder();
  l.role = "Secondary";
  l.domain = DomainState::absent;
  return l;
}

struct Row {
  const char* name;
  const char* self;
  std::function<void(VmView&, LocalVm&)> change;
  const char* wanted;
  const char* sentence;
};

void check(const std::vector<Row>& table) {
  for (const auto& row : table) {
    VmView vm = test::running_vm();
    LocalVm local = std::string(row.self) == "a1" ? holder() : other();
    row.change(vm, local);
    const Remedy r = reconcile(vm, local, row.self, true);
    EXPECT_EQ(word(r.kind), row.wanted) << row.name;
    EXPECT_EQ(r.sentence, row.sentence) << row.name;
    if (r.kind == Kind::commit_right || r.kind == Kind::add_back || r.kind == Kind::swap_leg)
      EXPECT_EQ(r.revision, vm.right.revision) << row.name;
  }
}

TEST(Reconcile, LeavesAHealthyVmAndWhateverAnOperationHolds) {
  check({
      {"healthy holder", "a1", [](VmView&, LocalVm&) {}, "none", ""},
      {"healthy other", "b1", [](VmView&, LocalVm&) {}, "none", ""},
      {"no leg here", "b2", [](VmView&, LocalVm& l) { l.up = false; }, "none", ""},
      {"an operation is at work", "a1", [](VmView& v, LocalVm& l) { v.operation = {"op-1", 1, 1}, l.up = false; },
       "none", ""},
      {"an operation is at work, a copy too many", "b1",
       [](VmView& v, LocalVm& l) { v.operation = {"op-1", 1, 1}, l.domain = DomainState::running; }, "none", ""},
      {"no record", "a1", [](VmView& v, LocalVm& l) { v.right = {}, l.up = false; }, "none", ""},
      {"no layout", "a1", [](VmView& v, LocalVm& l) { v.layout.revision = 0, l.up = false; }, "none", ""},
  });
}

TEST(Reconcile, LetsTheGuestGoOnBeforeAnythingThatMayTakeLong) {
  const auto lost_disk = [](VmView& v, LocalVm& l) {
    v.right.value.insync["root"] = {kLegB};  // the record is true already
    l.volumes["root"].disk = "Diskless";
    l.suspended = "user";
  };
  check({{"I/O was stopped for the record", "a1", lost_disk, "resume-io",
          "the record is true again: the I/O that was stopped for it goes on"},
         {"it goes on", "a1", [&](VmView& v, LocalVm& l) { lost_disk(v, l), l.suspended = "no"; }, "attach-again",
          "a disk that failed is attached again, to be resynced from the other leg"}});
}

TEST(Reconcile, AQuestionThatCameToNothingIsPutAnewWhereTheAnswerWouldBeYes) {
  const char* sentence =
      "frozen without the other site, and nobody asks hostd any more: the kernel is made to ask again";
  const auto lost = [](VmView&, LocalVm& l) {
    l.suspended = "fencing", l.connection = "Connecting", l.peer_role = "Unknown", l.unasked = true;
    l.volumes["root"] = {"UpToDate", "DUnknown", "Off", 0};
  };
  check({
      {"its helper was killed", "a1", lost, "ask-again", sentence},
      {"StandAlone as well", "a1", [&](VmView& v, LocalVm& l) { lost(v, l), l.connection = "StandAlone"; }, "ask-again",
       sentence},
      {"a helper waits", "a1", [&](VmView& v, LocalVm& l) { lost(v, l), l.unasked = false; }, "none", ""},
      {"beside an operation", "a1", [&](VmView& v, LocalVm& l) { lost(v, l), v.operation = {"op-1", 1, 1}; },
       "ask-again", sentence},
      {"a marked migration ends first", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), v.operation = {"op-1", 1, 1}, v.right.value.migrating_to = "b1"; },
       "none", ""},
      {"stopped by hostd alone", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), l.suspended = "user", v.right.value.insync["root"] = {kLegA}; },
       "resume-io", "the record is true again: the I/O that was stopped for it goes on"},
      {"a disk of its own is gone", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), l.volumes["root"].disk = "Diskless"; }, "none", ""},
      {"a leg has failed before", "a1", [&](VmView& v, LocalVm& l) { lost(v, l), l.failed_before = true; }, "none", ""},
      {"another has the right", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), v.right.value.host = "b1", v.right.value.insync["root"] = {kLegB}; },
       "fail-io", "a frozen copy is here, but the run-right is b1's: its disks are taken away so that it can be ended"},
  });
}

TEST(Reconcile, StoppedIoGoesOnOnlyRightAfterAWriteThatLeavesTheOtherLegsOut) {
  const char* sentence = "the record is true again: the I/O that was stopped for it goes on";
  VmView vm = test::running_vm();
  LocalVm l = holder();
  l.suspended = "user";
  Right alone = vm.right.value;
  alone.insync["root"] = {kLegA};
  const auto row = [&](const Right& wanted, const char* name) {
    const Remedy r = reconcile(vm, l, "a1", true);
    EXPECT_EQ(word(r.kind), "resume-io") << name;
    EXPECT_EQ(r.sentence, sentence) << name;
    EXPECT_EQ(r.right, wanted) << name;
    EXPECT_EQ(r.revision, vm.right.revision) << name;
  };
  row(alone, "both listed");
  vm.right.value = alone;
  row(alone, "the other is out: written all the same, an add-back may be on its way");
  vm.operation = {"op-1", 1, 1};
  l.stopped_for_record = true;
  row(alone, "also while an operation is at work");
  vm.operation = {};
  vm.right.value.insync["root"] = {kLegB};
  l.volumes["root"].disk = "Diskless";
  row(vm.right.value, "the other's is the last: a write that changes nothing");
}

TEST(Reconcile, IoThatWasStoppedForACopyGoesOnInTheSameWay) {
  VmView vm = test::running_vm();
  vm.spec.value.protection = Protection::backup;
  vm.right.value.insync["root"] = {kLegA};
  LocalVm l = holder();
  l.connection = "StandAlone";
  l.suspended = "user";
  const Remedy r = reconcile(vm, l, "a1", true);
  EXPECT_EQ(word(r.kind), "resume-io");
  EXPECT_EQ(r.right, vm.right.value);
  EXPECT_EQ(r.revision, vm.right.revision);
}

TEST(Reconcile, AHolderWhoseLegIsNoBetterTakesNobodyOut) {
  const auto both_bad = [](VmView&, LocalVm& l) {
    l.volumes["root"] = {"Diskless", "Inconsistent", "Established", 0};
    l.attached_again = kAttachAgain;
  };
  check({{"neither is whole", "a1", both_bad, "none", ""}});
}

TEST(Reconcile, TheOtherHostTakesTheHoldersLostLegOut) {
  const auto lost = [](VmView&, LocalVm& l) { l.volumes["root"].peer_disk = "Diskless"; };
  check({{"the holder works over the link", "b1", lost, "commit-right",
          "the leg on a1 is Diskless: taken out of the in-sync list"},
         {"not for the sake of a leg that is no better", "b1",
          [&](VmView& v, LocalVm& l) { lost(v, l), l.volumes["root"].disk = "Inconsistent"; }, "none", ""},
         {"it is out already", "b1", [&](VmView& v, LocalVm& l) { lost(v, l), v.right.value.insync["root"] = {kLegB}; },
          "none", ""},
         {"the link is lost, nothing is known", "b1",
          [&](VmView& v, LocalVm& l) { lost(v, l), l.connection = "Connecting"; }, "none", ""}});
}

TEST(Reconcile, TheLastLegStaysInTheRecordWhenItConnectsAgain) {
  VmView vm = test::running_vm();
  vm.right.value.insync["root"] = {kLegB};
  LocalVm local = other();
  local.connection = "StandAlone";
  local.rejoin_pending = true;
  const Remedy r = reconcile(vm, local, "b1", true);
  EXPECT_EQ(r.right.insync.at("root"), std::vector<Leg>{kLegB});
  EXPECT_TRUE(r.clears_rejoin);
}

TEST(Reconcile, StopsACopyThatRunsWithoutTheRight) {
  const char* sentence = "a copy runs here, but the run-right is a1's: stopping it";
  check({
      {"running", "b1", [](VmView&, LocalVm& l) { l.domain = DomainState::running; }, "destroy-domain", sentence},
      {"paused", "b1", [](VmView&, LocalVm& l) { l.domain = DomainState::paused; }, "destroy-domain", sentence},
      {"shutting down", "b1", [](VmView&, LocalVm& l) { l.domain = DomainState::shutting_down; }, "destroy-domain",
       sentence},
      {"before anything else", "b1",
       [](VmView&, LocalVm& l) { l.domain = DomainState::running, l.up = false, l.two_primaries = true; },
       "destroy-domain", sentence},
      {"crashed", "b1", [](VmView&, LocalVm& l) { l.domain = DomainState::crashed; }, "none", ""},
      {"not known", "b1", [](VmView&, LocalVm& l) { l.domain = DomainState::unknown; }, "none", ""},
      {"the holder's own", "a1", [](VmView&, LocalVm& l) { l.domain = DomainState::paused; }, "none", ""},
      {"the right moved away", "a1", [](VmView& v, LocalVm&) { v.right.value.host = "b1"; }, "destroy-domain",
       "a copy runs here, but the run-right is b1's: stopping it"},
  });
}

TEST(Reconcile, BringsLegsUpClosesTheWindowAndDemotes) {
  check({
      {"holder down", "a1", [](VmView&, LocalVm& l) { l.up = false, l.domain = DomainState::absent; }, "bring-up",
       "legs are down: attaching them"},
      {"other down", "b1", [](VmView&, LocalVm& l) { l.up = false; }, "bring-up", "legs are down: attaching them"},
      {"other half made", "b1", [](VmView&, LocalVm& l) { l.volumes.clear(); }, "bring-up",
       "not all legs are there: attaching them"},
      {"holder half made", "a1",
       [](VmView&, LocalVm& l) { l.volumes.clear(), l.role = "Secondary", l.domain = DomainState::absent; }, "bring-up",
       "not all legs are there: attaching them"},
      {"holder with a guest, its volumes not seen yet", "a1", [](VmView&, LocalVm& l) { l.volumes.clear(); }, "none",
       ""},
      {"window open, holder", "a1", [](VmView&, LocalVm& l) { l.two_primaries = true; }, "close-window",
       "no migration is at work: closing the window"},
      {"window open, other", "b1", [](VmView&, LocalVm& l) { l.two_primaries = true; }, "close-window",
       "no migration is at work: closing the window"},
      {"primary, no guest", "a1", [](VmView&, LocalVm& l) { l.domain = DomainState::absent; }, "demote",
       "no guest runs here: demoting"},
      {"primary, no guest, not the holder", "b1", [](VmView&, LocalVm& l) { l.role = "Primary"; }, "demote",
       "no guest runs here: demoting"},
      {"primary, libvirt not heard", "a1", [](VmView&, LocalVm& l) { l.domain = DomainState::unknown; }, "none", ""},
      {"primary, crashed", "a1", [](VmView&, LocalVm& l) { l.domain = DomainState::crashed; }, "none", ""},
  });
}

TEST(Reconcile, ConnectsButAnAttachedLegLeavesTheListsFirst) {
  check({
      {"holder, alone", "a1", [](VmView&, LocalVm& l) { l.connection = "StandAlone"; }, "connect",
       "connecting to the other site"},
      {"holder after a boot", "a1",
       [](VmView&, LocalVm& l) {
         l.connection = "StandAlone", l.rejoin_pending = true, l.role = "Secondary", l.domain = DomainState::absent;
       },
       "connect", "connecting to the other site"},
      {"other, alone, nothing owed", "b1", [](VmView&, LocalVm& l) { l.connection = "StandAlone"; }, "connect",
       "connecting to the other site"},
      {"other, attached again", "b1", [](VmView&, LocalVm& l) { l.connection = "StandAlone", l.rejoin_pending = true; },
       "commit-right", "legs attached again: leaving the in-sync lists before connecting"},
      {"other, attached again, already out", "b1",
       [](VmView& v, LocalVm& l) {
         l.connection = "StandAlone", l.rejoin_pending = true, v.right.value.insync["root"] = {kLegA};
       },
       "commit-right", "legs attached again: leaving the in-sync lists before connecting"},
      {"other, attached again, the only good leg", "b1",
       [](VmView& v, LocalVm& l) {
         l.connection = "StandAlone", l.rejoin_pending = true, v.right.value.insync["root"] = {kLegB};
       },
       "commit-right", "legs attached again: leaving the in-sync lists before connecting"},
      {"connecting", "a1", [](VmView&, LocalVm& l) { l.connection = "Connecting"; }, "none", ""},
  });
}

TEST(Reconcile, RejoinWritesARecordWithoutThisHostAndOwesNothingAfterwards) {
  VmView vm = test::running_vm();
  LocalVm local = other();
  local.connection = "StandAlone";
  local.rejoin_pending = true;
  const Remedy r = reconcile(vm, local, "b1", true);
  EXPECT_TRUE(r.clears_rejoin);
  EXPECT_EQ(r.revision, 30);
  Right wanted = test::right();
  wanted.insync["root"] = {kLegA};
  EXPECT_EQ(r.right, wanted);
  vm.right.value = wanted;
  const Remedy again = reconcile(vm, local, "b1", true);
  EXPECT_EQ(again.right, wanted) << "always written, so that a delayed add loses its compare";
  EXPECT_EQ(reconcile(vm, local, "b1", false).kind, Kind::none) << "no holder: it may be the one to go on from";
}

TEST(Reconcile, TheHolderTakesOutALegThatDrbdSaysIsNotGood) {
  check({
      {"peer resyncs", "a1",
       [](VmView&, LocalVm& l) { l.volumes["root"] = {"UpToDate", "Inconsistent", "SyncSource", 100}; }, "commit-right",
       "leg on b1 is Inconsistent: taken out of the in-sync list"},
      {"peer lost its disk", "a1",
       [](VmView&, LocalVm& l) { l.volumes["root"] = {"UpToDate", "Diskless", "Established", 0}; }, "commit-right",
       "leg on b1 is Diskless: taken out of the in-sync list"},
      {"peer resyncs, out already", "a1",
       [](VmView& v, LocalVm& l) {
         l.volumes["root"] = {"UpToDate", "Inconsistent", "SyncSource", 100}, v.right.value.insync["root"] = {kLegA};
       },
       "none", ""},
      {"peer not known", "a1", [](VmView&, LocalVm& l) { l.volumes["root"].peer_disk = "DUnknown"; }, "none", ""},
      {"link down", "a1",
       [](VmView&, LocalVm& l) { l.connection = "Connecting", l.volumes["root"] = {"UpToDate", "Outdated", "Off", 0}; },
       "none", ""},
      {"own disk lost", "a1",
       [](VmView&, LocalVm& l) { l.volumes["root"] = {"Diskless", "UpToDate", "Established", 0}; }, "commit-right",
       "own leg is Diskless: taken out of the in-sync list"},
      {"own disk lost and the peer's too", "a1",
       [](VmView& v, LocalVm& l) {
         l.volumes["root"] = {"Diskless", "Inconsistent", "Established", 0}, v.right.value.insync["root"] = {kLegA};
       },
       "none", ""},
      {"only the holder does", "b1",
       [](VmView&, LocalVm& l) { l.volumes["root"] = {"UpToDate", "Inconsistent", "SyncSource", 100}; }, "none", ""},
      {"DRBD has not been heard", "a1", [](VmView&, LocalVm& l) { l.volumes.clear(); }, "none", ""},
  });
}

TEST(Reconcile, TakingOutALegChangesThatListAlone) {
  VmView vm = test::running_vm();
  LocalVm local = holder();
  local.volumes["root"] = {"UpToDate", "Inconsistent", "SyncTarget", 1};
  Right wanted = test::right();
  wanted.insync["root"] = {kLegA};
  EXPECT_EQ(reconcile(vm, local, "a1", true).right, wanted);
  EXPECT_FALSE(reconcile(vm, local, "a1", true).clears_rejoin);
  local.volumes["root"] = {"Failed", "UpToDate", "Established", 0};
  wanted.insync["root"] = {kLegB};
  EXPECT_EQ(reconcile(vm, local, "a1", true).right, wanted);
}

TEST(Reconcile, TheHolderAddsALegBackOnlyWhenEverythingSaysInSync) {
  const auto alone = [](VmView& v) { v.right.value.insync["root"] = {kLegA}; };
  const char* again = "volume root is in sync on both sites again";
  check({
      {"all good", "a1", [&](VmView& v, LocalVm&) { alone(v); }, "add-back", again},
      {"own leg missing, all good", "a1", [](VmView& v, LocalVm&) { v.right.value.insync["root"] = {kLegB}; },
       "add-back", again},
      {"not connected", "a1", [&](VmView& v, LocalVm& l) { alone(v), l.connection = "Connecting"; }, "none", ""},
      {"not established", "a1", [&](VmView& v, LocalVm& l) { alone(v), l.volumes["root"].replication = "VerifyS"; },
       "none", ""},
      {"own not up to date", "a1", [&](VmView& v, LocalVm& l) { alone(v), l.volumes["root"].disk = "Consistent"; },
       "none", ""},
      {"peer not up to date", "a1", [&](VmView& v, LocalVm& l) { alone(v), l.volumes["root"].peer_disk = "Outdated"; },
       "none", ""},
      {"blocks out of sync", "a1", [&](VmView& v, LocalVm& l) { alone(v), l.volumes["root"].out_of_sync_kib = 4; },
       "none", ""},
      {"not the holder", "b1", [&](VmView& v, LocalVm&) { alone(v); }, "none", ""},
  });
}

// The disk failed after the resync of the other leg had ended, and before the record could say so.
TEST(Reconcile, AHolderWithoutADiskChangesTheRecordOverToTheLegItWorksOn) {
  const auto lost = [](VmView& v, LocalVm& l) {
    l.volumes["root"] = {"Diskless", "UpToDate", "Established", 0}, v.right.value.insync["root"] = {kLegA};
  };
  const char* over =
      "the own leg of volume root is gone and the one on b1 has all of it: the record changes over to it";
  check({
      {"its leg is the only one listed", "a1", lost, "swap-leg", over},
      {"the resync has not ended", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), l.volumes["root"].peer_disk = "Inconsistent"; }, "none", ""},
      {"it is still being compared", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), l.volumes["root"].replication = "VerifyT"; }, "none", ""},
      {"the link is down", "a1", [&](VmView& v, LocalVm& l) { lost(v, l), l.connection = "Connecting"; }, "none", ""},
      {"no primary: nothing says what it worked on", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), l.role = "Secondary"; }, "none", ""},
      {"its disk is not gone for good", "a1",
       [&](VmView& v, LocalVm& l) { lost(v, l), l.volumes["root"].disk = "Failed"; }, "none", ""},
      {"another holds the right", "b1", lost, "attach-again",
       "a disk that failed is attached again, to be resynced from the other leg"},
      {"an operation is at work", "a1", [&](VmView& v, LocalVm& l) { lost(v, l), v.operation = {"op-1", 1, 1}; },
       "none", ""},
  });
}

TEST(Reconcile, WhatAVerifyFoundTakesThePeersLegOut) {
  const auto differ = [](VmView&, LocalVm& l) { l.volumes["root"].out_of_sync_kib = 4; };
  check({
      {"found", "a1", differ, "commit-right",
       "4 KiB of volume root differ from the leg on b1: it is taken out of the in-sync list"},
      {"still comparing", "a1", [&](VmView& v, LocalVm& l) { differ(v, l), l.volumes["root"].replication = "VerifyS"; },
       "none", ""},
      {"it is out", "a1", [&](VmView& v, LocalVm& l) { differ(v, l), v.right.value.insync["root"] = {kLegA}; }, "none",
       ""},
      {"its own leg is the one that is out", "a1",
       [&](VmView& v, LocalVm& l) { differ(v, l), v.right.value.insync["root"] = {kLegB}; }, "none", ""},
      {"the other host leaves it to the holder", "b1", differ, "none", ""},
      {"an operation is at work", "a1", [&](VmView& v, LocalVm& l) { differ(v, l), v.operation = {"op-1", 1, 1}; },
       "none", ""},
  });
}

TEST(Reconcile, LooksAtEveryVolume) {
  VmView vm = test::running_vm();
  vm.layout.value.volumes.push_back({"data", 101, 64, {{"a1", "da"}, {"b1", "db"}}});
  vm.right.value.insync["data"] = {{"a1", "da"}};
  LocalVm local = holder();
  local.volumes["data"] = {"UpToDate", "UpToDate", "Established", 0};
  const Remedy r = reconcile(vm, local, "a1", true);
  EXPECT_EQ(r.kind, Kind::add_back);
  EXPECT_EQ(r.volume, "data");
}

TEST(AFailedDisk, IsAttachedAgainOnlyBesideAGoodConnectedLegAndNotForEver) {
  VmView vm = test::running_vm();
  vm.right.value.insync["root"] = {kLegB};  // R4 has taken the own leg out
  LocalVm l = holder();
  l.volumes["root"] = {"Diskless", "UpToDate", "Established", 0};
  EXPECT_EQ(word(reconcile(vm, l, "a1", true).kind), "attach-again");
  l.volumes["root"].peer_disk = "Inconsistent";
  EXPECT_EQ(word(reconcile(vm, l, "a1", true).kind), "none");
  l.volumes["root"].peer_disk = "UpToDate";
  l.connection = "Connecting";
  EXPECT_NE(word(reconcile(vm, l, "a1", true).kind), "attach-again");
  l.connection = "Connected";
  l.attached_again = kAttachAgain;
  EXPECT_EQ(word(reconcile(vm, l, "a1", true).kind), "none");
  // Listed still: first the record (R4), then the disk.
  vm.right.value.insync["root"] = {kLegA, kLegB};
  l.attached_again = 0;
  EXPECT_EQ(word(reconcile(vm, l, "a1", true).kind), "commit-right");
}

}  // namespace
}  // namespace bascule::core
