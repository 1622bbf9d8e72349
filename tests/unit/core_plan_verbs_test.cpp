// plan(): every verb on a VM that exists, on its volumes, and on images.
#include <functional>

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/plan.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::cell;
using test::client;
using test::spec;
using test::steps;
using test::text;

const std::string kSilent = " does not renew its lease: its hostd is down or cut off. Nothing was changed; try again "
                            "when `hostctl host list` shows it alive";
const std::string kForbidden = "forbidden: your role may not do this; an operator can";
const std::string kNoVm = "not-found: there is no VM 'vm1'";

CellView stopped_cell() {
  CellView view = cell();
  view.vms["vm1"] = test::stopped_vm();
  return view;
}

// ---- what holds for every verb on a VM ----------------------------------------------------

struct VerbCase {
  const char* name;
  Verb verb;
  bool client_too;
  bool on_stopped;  ///< the state in which it is admitted
};
const VerbCase kVerbs[] = {
    {"start", StartVm{"vm1"}, true, true},
    {"shutdown", ShutdownVm{"vm1"}, true, false},
    {"off", PowerOffVm{"vm1"}, true, false},
    {"reset", ResetVm{"vm1"}, true, false},
    {"migrate", MigrateVm{"vm1", "", ""}, false, false},
    {"resize", ResizeVm{"vm1", 1, 0}, false, true},
    {"remove", RemoveVm{"vm1"}, false, true},
    {"grow", GrowVolume{"vm1", "root", 128}, false, false},
    {"verify", VerifyVolume{"vm1", "root"}, false, false},
};

TEST(EveryVerbOnAVm, ChecksTheCallerTheVmTheRevisionAndTheOperationAtWork) {
  for (const auto& c : kVerbs) {
    const CellView view = c.on_stopped ? stopped_cell() : cell();
    const auto said = [&](const std::function<void(CellView&, Request&)>& change) {
      CellView v = view;
      Request r = ask(c.verb);
      change(v, r);
      return text(plan(v, r, "a1"));
    };
    EXPECT_EQ(said([](CellView&, Request&) {}), "ok") << c.name;
    EXPECT_EQ(said([](CellView& v, Request&) { v.vms.clear(); }), kNoVm) << c.name;
    EXPECT_EQ(said([](CellView&, Request& r) { r.caller = client("blue"); }), c.client_too ? "ok" : kForbidden)
        << c.name << " by the VM's client";
    EXPECT_EQ(said([](CellView&, Request& r) { r.caller = client("red"); }), kNoVm)
        << c.name << ": another client's VM does not exist for it";
    EXPECT_EQ(said([](CellView& v, Request& r) { r.caller = client("red"), v.vms["vm1"].operation = {"op-1", 1, 1}; }),
              kNoVm)
        << c.name << ": and no other answer gives it away";
    EXPECT_EQ(said([](CellView&, Request& r) { r.caller.role = Role::auditor; }), kForbidden) << c.name;
    EXPECT_EQ(said([](CellView&, Request& r) { r.caller.role = Role::host; }),
              std::string(c.name) == "migrate" || std::string(c.name) == "verify" ? "ok" : kForbidden)
        << c.name << ": a host moves VMs away for maintenance, and compares legs by the calendar";
    EXPECT_EQ(said([](CellView&, Request& r) { r.if_match = 20; }), "ok") << c.name;
    EXPECT_EQ(said([](CellView&, Request& r) { r.if_match = 21; }),
              "stale: the VM changed since you read it (revision 20 now, 21 then); nothing was changed. Read it again "
              "and decide")
        << c.name;
    EXPECT_EQ(said([](CellView& v, Request&) { v.vms["vm1"].operation = {"op-1", 1, 1}; }),
              "conflict: operation op-1 is at work on this VM; wait for it (hostctl op follow op-1) or cancel it")
        << c.name;
    EXPECT_THAT(
        said([](CellView& v, Request&) { v.hosts["a1"].silent = true; }),
        testing::AnyOf("unavailable: host a1" + kSilent, c.verb.index() == Verb(ResizeVm{}).index() ? "ok" : "-"))
        << c.name << ": the holder is needed";
    const auto p = plan(view, ask(c.verb), "b2");
    EXPECT_EQ(p->operation.vm, "vm1") << c.name;
    EXPECT_EQ(p->operation.project, "blue") << c.name;
    EXPECT_EQ(p->compare_spec, 20) << c.name;
    EXPECT_EQ(p->object, "vm/vm1") << c.name;
    EXPECT_TRUE(p->operation.id.empty()) << c.name;
  }
}

// ---- start and stop ------------------------------------------------------------------------

TEST(StartVmPlan, ClaimsOnTheHolderWhereverThatIs) {
  CellView view = stopped_cell();
  const auto p = plan(view, ask(StartVm{"vm1"}), "b2");
  EXPECT_EQ(p->operation.kind, OpKind::vm_start);
  EXPECT_EQ(steps(*p), "admit-start@a1 promote@a1 start-domain@a1");
  EXPECT_FALSE(p->spec);
  EXPECT_EQ(p->operation.spec->power, Power::on);
  view.vms["vm1"].right.value.host = "b1";
  EXPECT_EQ(steps(*plan(view, ask(StartVm{"vm1"}), "a1")), "admit-start@b1 promote@b1 start-domain@b1");
}

TEST(StartVmPlan, OfARunningVmChangesNothingOrOnlyTheWish) {
  EXPECT_TRUE(plan(cell(), ask(StartVm{"vm1"}), "a1")->unchanged);
  CellView view = cell();
  view.vms["vm1"].spec.value.power = Power::off;
  const auto p = plan(view, ask(StartVm{"vm1"}), "a1");
  EXPECT_FALSE(p->unchanged);
  EXPECT_EQ(steps(*p), "");
  EXPECT_EQ(p->spec->power, Power::on);
}

TEST(StartVmPlan, WithAFailedDiskIsAnOperatorsWordAlone) {
  const StartVm verb{"vm1", true};
  EXPECT_EQ(plan(stopped_cell(), ask(verb), "a1")->operation.result.at("with_failed_disk"), "yes");
  EXPECT_FALSE(plan(stopped_cell(), ask(StartVm{"vm1"}), "a1")->operation.result.contains("with_failed_disk"));
  auto request = ask(verb);
  request.caller = client("blue");
  EXPECT_THAT(text(plan(stopped_cell(), request, "a1")), testing::StartsWith("forbidden: only an operator"));
}

TEST(StartVmPlan, WithAFailedDiskLetsAGuestGoOnThatWaitsForOne) {
  CellView view = cell();
  EXPECT_THAT(text(plan(view, ask(StartVm{"vm1", true}), "a1")),
              testing::StartsWith("conflict: its guest does not wait for a disk"));
  view.vms["vm1"].status["a1"].suspended = "no-data,fencing";
  EXPECT_EQ(steps(*plan(view, ask(StartVm{"vm1", true}), "a1")), "admit-start@a1");
  view.hosts["a1"].info.value.memory_mib = 100;
  EXPECT_EQ(steps(*plan(view, ask(StartVm{"vm1", true}), "a1")), "admit-start@a1") << "it has its memory already";
  EXPECT_TRUE(plan(view, ask(StartVm{"vm1"}), "a1")->unchanged) << "not asked for";
}

TEST(StartVmPlan, IsRefusedWithoutRecordLegsOrMemory) {
  CellView view = stopped_cell();
  view.vms["vm1"].right = {};
  EXPECT_EQ(text(plan(view, ask(StartVm{"vm1"}), "a1")),
            "conflict: the VM has no run-right: its creation did not end, or it was restored from a backup and nobody "
            "has adopted it; nothing was changed");
  view = stopped_cell();
  view.vms["vm1"].right.value.migrating_to = "b1";
  EXPECT_THAT(text(plan(view, ask(StartVm{"vm1"}), "a1")),
              testing::StartsWith("conflict: a migration to b1 is marked"));
  view = stopped_cell();
  view.vms["vm1"].right.value.insync["root"] = {test::kLegB};
  EXPECT_THAT(text(plan(view, ask(StartVm{"vm1"}), "a1")),
              testing::StartsWith("refused: the record does not list a leg"));
  view = stopped_cell();
  view.hosts["a1"].info.value.memory_mib = 100;
  EXPECT_EQ(text(plan(view, ask(StartVm{"vm1"}), "a1")),
            "exhausted: host a1 has 100 MiB of memory free, the VM needs 256");
}

TEST(StopVmPlan, WritesTheWishAtOnceAndKeepsWhatToRestore) {
  const struct {
    Verb verb;
    OpKind kind;
    const char* wanted;
  } table[] = {
      {ShutdownVm{"vm1"}, OpKind::vm_shutdown, "shutdown@a1 demote@a1"},
      {PowerOffVm{"vm1"}, OpKind::vm_power_off, "destroy@a1 demote@a1"},
  };
  for (const auto& row : table) {
    const auto p = plan(cell(), ask(row.verb), "a1");
    EXPECT_EQ(p->operation.kind, row.kind);
    EXPECT_EQ(steps(*p), row.wanted);
    EXPECT_EQ(p->spec->power, Power::off);
    EXPECT_EQ(p->operation.restore, spec());
    EXPECT_TRUE(plan(stopped_cell(), ask(row.verb), "a1")->unchanged);
  }
}

TEST(StopVmPlan, StillActsWhenOnlyOneOfWishAndGuestIsOff) {
  CellView view = cell();
  view.vms["vm1"].spec.value.power = Power::off;  // still running
  EXPECT_EQ(steps(*plan(view, ask(PowerOffVm{"vm1"}), "a1")), "destroy@a1 demote@a1");
  view = stopped_cell();
  view.vms["vm1"].spec.value.power = Power::on;  // the guest powered itself off
  EXPECT_EQ(steps(*plan(view, ask(ShutdownVm{"vm1"}), "a1")), "shutdown@a1 demote@a1");
}

TEST(ResetVmPlan, NeedsARunningVm) {
  EXPECT_EQ(steps(*plan(cell(), ask(ResetVm{"vm1"}), "a1")), "reset@a1");
  EXPECT_EQ(text(plan(stopped_cell(), ask(ResetVm{"vm1"}), "a1")), "conflict: the VM is not running; start it instead");
}

// ---- migration, resize, removal --------------------------------------------------------------

TEST(MigrateVmPlan, IsTheSagaInItsOrder) {
  const auto p = plan(cell(), ask(MigrateVm{"vm1", "", ""}), "a2");
  ASSERT_TRUE(p) << text(p);
  EXPECT_EQ(steps(*p), "admit-migration@a1 mark-migration@a1 prepare-target@b1 open-window@a1 promote-target@b1 "
                       "live-migrate@a1 resume-target@b1 demote-source@a1 close-window@b1 confirm@b1");
  EXPECT_EQ(p->operation.source_host, "a1");
  EXPECT_EQ(p->operation.target_host, "b1");
  EXPECT_EQ(p->operation.object, "standard") << "the definition's policy";
  EXPECT_FALSE(p->spec);
  EXPECT_EQ(plan(cell(), ask(MigrateVm{"vm1", "b1", "must-finish"}), "a1")->operation.object, "must-finish");
}

TEST(MigrateVmPlan, IsRefusedByTheRules) {
  EXPECT_EQ(text(plan(cell(), ask(MigrateVm{"vm1", "", "fast"}), "a1")),
            "invalid: policy: gentle, standard or must-finish");
  EXPECT_EQ(text(plan(cell(), ask(MigrateVm{"vm1", "a1", ""}), "a1")), "invalid: the VM already runs on a1");
  EXPECT_EQ(text(plan(cell(), ask(MigrateVm{"vm1", "b2", ""}), "a1")), "invalid: host b2 has no leg of this VM");
  EXPECT_EQ(text(plan(stopped_cell(), ask(MigrateVm{"vm1", "", ""}), "a1")),
            "conflict: the VM is not running (absent on a1); only a running VM is migrated live");
}

TEST(ResizeVmPlan, ChangesOnlyWhatIsGivenAndOnlyWhileOff) {
  const auto p = plan(stopped_cell(), ask(ResizeVm{"vm1", 4, 0}), "a1");
  EXPECT_EQ(p->spec->cpus, 4U);
  EXPECT_EQ(p->spec->memory_mib, 256U);
  EXPECT_EQ(plan(stopped_cell(), ask(ResizeVm{"vm1", 0, 512}), "a1")->spec->memory_mib, 512U);
  EXPECT_TRUE(plan(stopped_cell(), ask(ResizeVm{"vm1", 0, 0}), "a1")->unchanged);
  EXPECT_EQ(text(plan(stopped_cell(), ask(ResizeVm{"vm1", 999, 0}), "a1")), "invalid: cpus: 1 to 255");
  EXPECT_EQ(text(plan(cell(), ask(ResizeVm{"vm1", 4, 0}), "a1")),
            "conflict: cpus, memory, networks and restart_on_panic change only while the VM is off; stop it first");
}

TEST(RemoveVmPlan, DropsTheRecordFirstThenBothLegs) {
  CellView view = stopped_cell();
  const auto p = plan(view, ask(RemoveVm{"vm1"}), "a1");
  EXPECT_EQ(p->operation.kind, OpKind::vm_remove);
  EXPECT_EQ(steps(*p), "drop-right@a1 remove-leg@a1 remove-leg@b1");
  EXPECT_FALSE(p->spec);
  view.vms["vm1"].right.value.host = "b1";
  EXPECT_EQ(steps(*plan(view, ask(RemoveVm{"vm1"}), "a1")), "drop-right@b1 remove-leg@a1 remove-leg@b1");
  view.vms["vm1"].right = {};
  EXPECT_EQ(steps(*plan(view, ask(RemoveVm{"vm1"}), "a1")), "drop-right@a1 remove-leg@a1 remove-leg@b1");
  view.vms["vm1"].spec.value.power = Power::on;
  const auto q = plan(view, ask(RemoveVm{"vm1"}), "a1");
  EXPECT_EQ(q->spec->power, Power::off) << "nobody starts it from now on";
  EXPECT_EQ(q->operation.restore->power, Power::on);
}

TEST(RemoveVmPlan, NeedsTheGuestGoneEverywhereAndBothHosts) {
  CellView view = stopped_cell();
  view.vms["vm1"].status["b1"].domain = DomainState::paused;
  EXPECT_EQ(text(plan(view, ask(RemoveVm{"vm1"}), "a1")),
            "conflict: the VM still runs on b1; stop it first. Removal erases its volumes");
  view = stopped_cell();
  view.hosts["b1"].silent = true;
  EXPECT_EQ(text(plan(view, ask(RemoveVm{"vm1"}), "a1")), "unavailable: host b1" + kSilent);
}

// ---- volumes ---------------------------------------------------------------------------------

TEST(GrowVolumePlan, GrowsBothBackingDevicesFirst) {
  const auto p = plan(cell(), ask(GrowVolume{"vm1", "root", 128}), "a1");
  EXPECT_EQ(steps(*p), "grow-leg@a1 grow-leg@b1 resize-drbd@a1 resize-guest-disk@a1 record-size@a1 record-size@b1");
  EXPECT_EQ(p->operation.object, "root");
  EXPECT_EQ(p->operation.size_mib, 128U);
  EXPECT_TRUE(plan(cell(), ask(GrowVolume{"vm1", "root", 64}), "a1")->unchanged);
}

TEST(GrowVolumePlan, IsRefusedWithTheReason) {
  const struct {
    std::function<void(CellView&)> change;
    GrowVolume verb;
    std::string wanted;
  } table[] = {
      {[](CellView&) {}, {"vm1", "data", 128}, "not-found: VM vm1 has no volume 'data'"},
      {[](CellView&) {}, {"vm1", "root", 63}, "invalid: size_mib: the volume has 64 MiB and cannot shrink"},
      {[](CellView&) {}, {"vm1", "root", 16777217}, "invalid: size_mib: at most 16777216"},
      {[](CellView&) {}, {"vm1", "root", 1064}, "ok"},
      {[](CellView&) {},
       {"vm1", "root", 1065},
       "exhausted: the pool of host a1 has 1000 MiB free, 1001 more are needed"},
      {[](CellView& v) { v.hosts["b1"].info.value.pool_free_mib = 10; },
       {"vm1", "root", 75},
       "exhausted: the pool of host b1 has 10 MiB free, 11 more are needed"},
      {[](CellView& v) { v.hosts["b1"].silent = true; }, {"vm1", "root", 128}, "unavailable: host b1" + kSilent},
      {[](CellView& v) { v.vms["vm1"].right.value.insync["root"] = {test::kLegA}; },
       {"vm1", "root", 128},
       "conflict: the volume is not in sync between the sites; wait for the resync to end"},
  };
  for (const auto& row : table) {
    CellView view = cell();
    row.change(view);
    EXPECT_EQ(text(plan(view, ask(row.verb), "a1")), row.wanted) << "row " << &row - table;
  }
}

TEST(VerifyVolumePlan, NeedsBothSitesInSync) {
  EXPECT_EQ(steps(*plan(cell(), ask(VerifyVolume{"vm1", "root"}), "b1")), "verify@a1");
  EXPECT_EQ(text(plan(cell(), ask(VerifyVolume{"vm1", "data"}), "a1")), "not-found: VM vm1 has no volume 'data'");
  CellView view = cell();
  view.vms["vm1"].right.value.insync["root"] = {test::kLegA};
  EXPECT_EQ(text(plan(view, ask(VerifyVolume{"vm1", "root"}), "a1")),
            "conflict: the volume is not in sync between the sites; there is nothing to compare yet");
  view.hosts["b1"].silent = true;
  EXPECT_EQ(text(plan(view, ask(VerifyVolume{"vm1", "root"}), "a1")), "unavailable: host b1" + kSilent);
}

// ---- images ----------------------------------------------------------------------------------

const Image kImage{"guest", 1 << 20, "aa", "a1"};

CellView with_image() {
  CellView view = cell();
  view.images["guest"] = {kImage, 5, 5};
  return view;
}

TEST(ImportImagePlan, WritesTheRecordOnceAndNeverChangesIt) {
  const auto p = plan(cell(), ask(ImportImage{kImage}), "a1");
  ASSERT_TRUE(p) << text(p);
  EXPECT_EQ(p->image, kImage);
  EXPECT_EQ(p->object, "image/guest");
  EXPECT_TRUE(p->operation.steps.empty()) << "done at once";
  EXPECT_TRUE(p->operation.vm.empty());
  EXPECT_TRUE(plan(with_image(), ask(ImportImage{kImage}), "a1")->unchanged);
  Image other = kImage;
  other.sha256 = "bb";
  EXPECT_EQ(text(plan(with_image(), ask(ImportImage{other}), "a1")),
            "conflict: an image 'guest' with other content exists; images do not change. Choose another name or remove "
            "it first");
  other.name = "a/b";
  EXPECT_EQ(text(plan(cell(), ask(ImportImage{other}), "a1")),
            "invalid: name: a name is 1 to 40 lower-case letters, digits and inner hyphens");
  Request r = ask(ImportImage{kImage});
  r.caller = client("blue");
  EXPECT_EQ(text(plan(cell(), r, "a1")), kForbidden);
}

TEST(RemoveImagePlan, IsDoneByTheHostThatKeepsItWhenNobodyReadsIt) {
  const auto p = plan(with_image(), ask(RemoveImage{"guest"}), "b1");
  EXPECT_EQ(steps(*p), "remove-image@a1");
  EXPECT_EQ(p->operation.object, "guest");
  EXPECT_EQ(text(plan(cell(), ask(RemoveImage{"guest"}), "a1")), "not-found: there is no image 'guest'");
  CellView view = with_image();
  view.operations["op-9"].value.kind = OpKind::vm_create;
  EXPECT_EQ(text(plan(view, ask(RemoveImage{"guest"}), "a1")),
            "conflict: operation op-9 creates a VM and may be reading images; wait for it");
  view.operations["op-9"].value.state = OpState::done;
  EXPECT_EQ(text(plan(view, ask(RemoveImage{"guest"}), "a1")), "ok");
  view.hosts["a1"].silent = true;
  EXPECT_EQ(text(plan(view, ask(RemoveImage{"guest"}), "a1")), "unavailable: host a1" + kSilent);
  Request r = ask(RemoveImage{"guest"});
  r.caller = client("blue");
  EXPECT_EQ(text(plan(with_image(), r, "a1")), kForbidden);
}

}  // namespace
}  // namespace bascule::core
