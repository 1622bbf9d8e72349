// Cold copies, one-legged VMs, and the repair of a split brain.
#include <functional>

#include "core_ha_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/calendar.hpp"
#include "hostd/core/engine.hpp"
#include "hostd/core/explain.hpp"
#include "hostd/core/reconcile.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::Cell;
using test::kLegA;
using test::kLegB;
using test::steps;
using test::text;
using testing::HasSubstr;
using testing::StartsWith;

constexpr WallMs kMinute = 60'000;
constexpr WallMs kDay = 24 * 60 * kMinute;

/// vm1 as a VM with a cold copy, which the record never lists.
CellView backup_cell() {
  CellView view = test::cell();
  auto& vm = view.vms["vm1"];
  vm.spec.value.protection = Protection::backup;
  vm.spec.value.copy_at = {"02:30"};
  vm.right.value.insync["root"] = {kLegA};
  for (auto& [host, status] : vm.status) status.connection = "StandAlone";
  return view;
}

TEST(Levels, AreLaidOutByTheStepsOfACreation) {
  const auto created = [](Protection level) {
    CellView view = test::cell();
    view.vms.clear();
    VmSpec spec = test::spec();
    spec.protection = level;
    const auto p = plan(view, ask(PutVm{spec}), "a1");
    return p ? steps(*p) : text(p);
  };
  EXPECT_EQ(created(Protection::none), "make-leg@a1 grant@a1 seed-leg@a1 admit-start@a1 promote@a1 start-domain@a1");
  EXPECT_EQ(created(Protection::backup),
            "make-leg@a1 make-leg@b1 connect@a1 connect@b1 skip-first-sync@a1 grant@a1 cut-link@a1 admit-start@a1 "
            "promote@a1 start-domain@a1");
  EXPECT_EQ(created(Protection::mirror), created(Protection::ha));
  EXPECT_THAT(created(Protection::ha), HasSubstr("join-peer@a1"));
}

TEST(Levels, HaveACalendarOnlyWithAColdCopy) {
  CellView view = test::cell();
  view.vms.clear();
  VmSpec spec = test::spec();
  spec.copy_at = {"02:30"};
  EXPECT_EQ(text(plan(view, ask(PutVm{spec}), "a1")), "invalid: copy_at: only with protection 'backup'");
  spec.protection = Protection::backup;
  spec.copy_at = {"half past two"};
  EXPECT_EQ(text(plan(view, ask(PutVm{spec}), "a1")),
            "invalid: copy_at: times of the day in UTC such as 02:30 are needed");
  spec.copy_at.clear();
  const auto p = plan(view, ask(PutVm{spec}), "a1");
  ASSERT_EQ(text(p), "ok");
  EXPECT_EQ(p->spec->copy_at, std::vector<std::string>{kCopyAt});
}

TEST(Levels, ChangeFreelyWhereThereAreTwoLegs) {
  const auto changed = [](Protection from, Protection to) {
    CellView view = test::cell();
    view.vms["vm1"].spec.value.protection = from;
    VmSpec spec = view.vms["vm1"].spec.value;
    spec.protection = to;
    return text(plan(view, ask(PutVm{spec}), "a1"));
  };
  EXPECT_EQ(changed(Protection::ha, Protection::backup), "ok");
  EXPECT_EQ(changed(Protection::backup, Protection::mirror), "ok");
  EXPECT_THAT(changed(Protection::ha, Protection::none), StartsWith("invalid: protection:"));
  EXPECT_THAT(changed(Protection::none, Protection::ha), StartsWith("invalid: protection:"));
}

TEST(Copy, IsLinkedOnlyWhileItIsRefreshed) {
  CellView view = backup_cell();
  const auto p = plan(view, ask(CopyVm{"vm1"}), "a1");
  ASSERT_EQ(text(p), "ok");
  EXPECT_EQ(steps(*p), "snapshot-leg@b1 connect@a1 connect@b1 await-sync@a1 cut-link@a1");
  view.vms["vm1"].spec.value.protection = Protection::ha;
  EXPECT_THAT(text(plan(view, ask(CopyVm{"vm1"}), "a1")), StartsWith("conflict: VM vm1 has protection 'ha'"));
  view = backup_cell();
  view.hosts["b1"].silent = true;
  EXPECT_THAT(text(plan(view, ask(CopyVm{"vm1"}), "a1")), StartsWith("unavailable: host b1"));

  // Outside an operation: the holder closes the link and nobody opens it or adds the copy to the record.
  LocalVm local;
  local.up = true;
  local.role = "Primary";
  local.domain = DomainState::running;
  local.volumes["root"] = {"UpToDate", "UpToDate", "Established", 0};
  const VmView vm = backup_cell().vms["vm1"];
  local.connection = "Connected";
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::disconnect);
  local.connection = "StandAlone";
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::none);
  local.role = "Secondary";
  local.domain = DomainState::absent;
  EXPECT_EQ(reconcile(vm, local, "b1", true).kind, Remedy::Kind::none);
  local.connection = "Connecting";
  EXPECT_EQ(reconcile(vm, local, "b1", true).kind, Remedy::Kind::disconnect) << "the holder has closed its side";
  local.connection = "StandAlone";
  local.up = false;
  EXPECT_EQ(reconcile(vm, local, "b1", true).kind, Remedy::Kind::bring_up);
}

TEST(Copy, OfAVmThatWasReplicatedLeavesTheRecordBeforeTheLinkIsCut) {
  CellView view = backup_cell();
  auto& vm = view.vms["vm1"];
  vm.right.value.insync["root"] = {kLegA, kLegB};
  LocalVm local;
  local.up = true;
  local.role = "Primary";
  local.domain = DomainState::running;
  local.connection = "Connected";
  local.volumes["root"] = {"UpToDate", "UpToDate", "Established", 0};
  const auto r = reconcile(vm, local, "a1", true);
  ASSERT_EQ(r.kind, Remedy::Kind::commit_right);
  EXPECT_EQ(r.right.insync.at("root"), std::vector<Leg>{kLegA});
  vm.right.value = r.right;
  EXPECT_EQ(reconcile(vm, local, "b1", true).kind, Remedy::Kind::destroy_domain) << "a copy without the right";
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::disconnect);
  local.volumes["root"].disk = "Diskless";
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::none) << "it works over the link";
  local.volumes["root"].disk = "UpToDate";
  local.connection = "StandAlone";
  local.suspended = "user";
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::resume_io);
}

TEST(OneLeg, NobodyLooksForTheOther) {
  VmView vm = test::running_vm();
  vm.spec.value.protection = Protection::none;
  vm.right.value.insync["root"] = {kLegA};
  LocalVm local;
  local.domain = DomainState::absent;
  EXPECT_EQ(reconcile(vm, local, "b1", true).kind, Remedy::Kind::none) << "there is no leg to bring up";
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::bring_up);
  local.up = true;
  local.connection = "StandAlone";
  local.volumes["root"] = {"UpToDate", "DUnknown", "Off", 0};
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::none) << "nothing to connect to";
}

/// The beginning of what hostd on a1 does for vm1 by itself.
std::string acts(CellView view, WallMs now) {
  HaFacts facts;
  facts.renewed = true;
  facts.up_for = Mono(3'600'000);
  facts.wall = now;
  LocalVm local;
  local.up = true;
  local.role = "Primary";
  local.connection = "StandAlone";
  local.domain = DomainState::running;
  local.volumes["root"] = {"UpToDate", "Outdated", "Off", 0};
  const auto round = ha_round(view, {{"vm1", local}}, facts, Timing{}, "a1");
  if (round.actions.empty()) return "nothing";
  return std::holds_alternative<CopyVm>(round.actions.front().verb) ? "copy" : "something else";
}

TEST(Copy, IsMadeByTheHolderWhenItIsDue) {
  CellView view = backup_cell();
  const WallMs day = 20'000 * kDay;
  EXPECT_EQ(acts(view, day), "copy") << "there is none yet";
  view.vms["vm1"].last["vm-copy"] = {day, true, "", "op-1"};
  EXPECT_EQ(acts(view, day + 149 * kMinute), "nothing");
  EXPECT_EQ(acts(view, day + 150 * kMinute), "copy");
  view.hosts["b1"].silent = true;
  EXPECT_EQ(acts(view, day + 150 * kMinute), "nothing") << "the other host is away";
  view.hosts["b1"].silent = false;
  view.vms["vm1"].spec.value.nominal_host = "b1";
  EXPECT_EQ(acts(view, day + 150 * kMinute), "nothing") << "away from home";
  view = test::cell();
  view.vms["vm1"].right.value.insync["root"] = {kLegA};
  EXPECT_EQ(acts(view, day), "nothing") << "a mirrored VM has no calendar";
}

struct Sacrifice {
  const char* name;
  std::function<void(Cell&, FailoverVm&)> change;
  const char* verdict;
};

TEST(Sacrifice, IsAPersonsWordByName) {
  const Sacrifice table[] = {
      {"not named", [](Cell&, FailoverVm& v) { v.sacrifice.clear(); },
       "refused: the record does not list the legs on b1 as in sync"},
      {"the wrong one named", [](Cell&, FailoverVm& v) { v.sacrifice = "b1"; }, "invalid: sacrifice:"},
      {"nothing to give up", [](Cell& c, FailoverVm&) { c.vm().right.value.insync["root"] = {kLegA, kLegB}; },
       "conflict: the record lists the legs on b1 as in sync"},
      {"not known to be off", [](Cell&, FailoverVm& v) { v.host_is_off = false; },
       "refused: host a1 does not stop a VM"},
      {"one leg only", [](Cell& c, FailoverVm&) { c.vm().spec.value.protection = Protection::none; },
       "refused: VM vm1 has protection 'none'"},
      {"named", [](Cell&, FailoverVm&) {}, "ok"},
  };
  for (const auto& row : table) {
    Cell c;
    c.vm().right.value.insync["root"] = {kLegA};
    FailoverVm verb;
    verb.vm = "vm1";
    verb.host_is_off = true;
    verb.sacrifice = "a1";
    row.change(c, verb);
    const auto p = plan(c.view, ask(verb), "b1");
    EXPECT_THAT(text(p), StartsWith(row.verdict)) << row.name;
    if (!p) continue;
    EXPECT_EQ(steps(*p), "take-right@b1 promote@b1 start-domain@b1 connect@b1");
    EXPECT_EQ(p->operation.result.at("sacrificed"), "a1");
  }
}

TEST(Sacrifice, IsNeverTakenOnSilenceAlone) {
  Cell c;
  c.vm().right.value.insync["root"] = {kLegA};
  c.local().volumes["root"].disk = "Outdated";
  const auto may = [&](Signed by_hand) {
    return text(may_take_over(c.view, c.vm(), c.local(), c.facts, Timing{}, "b1", by_hand));
  };
  EXPECT_THAT(may({}), StartsWith("refused: the record does not list"));
  EXPECT_THAT(may({.sacrifice = true}), StartsWith("refused: host a1 does not stop a VM that no other host"));
  EXPECT_EQ(may({.host_is_off = true, .sacrifice = true}), "ok");
  c.facts.absent["a1"] = Mono(0);
  EXPECT_THAT(may({.host_is_off = true, .sacrifice = true}), StartsWith("conflict: host a1 was stated to be off"));
  c.facts.absent["a1"] = test::kTakeover;
  test::fenced(c, true);
  EXPECT_EQ(may({.sacrifice = true}), "ok") << "its power switch has confirmed it";
  c.local().volumes["root"].disk = "Inconsistent";
  EXPECT_THAT(may({.host_is_off = true, .sacrifice = true}), StartsWith("refused: the disk of volume root"));
  const auto taken = take_sacrificing(c.vm().right.value, c.vm().layout.value, "b1");
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->host, "b1");
  EXPECT_EQ(taken->epoch, 4);
  EXPECT_EQ(taken->insync.at("root"), std::vector<Leg>{kLegB});
  EXPECT_FALSE(take_sacrificing(c.vm().right.value, c.vm().layout.value, "a1"));
  EXPECT_FALSE(take_sacrificing(c.vm().right.value, c.vm().layout.value, "b2"));
}

/// vm1 after a split brain: the record names a1 alone.
CellView split_cell() {
  CellView view = test::cell();
  auto& vm = view.vms["vm1"];
  vm.right.value.insync["root"] = {kLegA};
  for (auto& [host, status] : vm.status) status.connection = "StandAlone";
  return view;
}

TEST(Repair, ShowsAndKeepsBothLegsAndWaitsForASecondPerson) {
  CellView view = split_cell();
  const auto p = plan(view, ask(RepairVm{"vm1"}), "b1");
  ASSERT_EQ(text(p), "ok");
  EXPECT_EQ(steps(*p), "compare-legs@a1 compare-legs@b1 snapshot-leg@a1 snapshot-leg@b1 await-approval@a1 "
                       "discard-leg@b1 connect@a1 await-sync@a1");
  EXPECT_EQ(p->operation.target_host, "b1");
}

TEST(Repair, IsRefusedWhereALegMustNotBeGivenUp) {
  const struct {
    std::function<void(CellView&)> change;
    const char* verdict;
  } table[] = {
      {[](CellView& v) { v.vms["vm1"].right.value.insync["root"] = {kLegA, kLegB}; }, "refused: the record lists"},
      {[](CellView& v) { v.vms["vm1"].right.value.insync["root"] = {kLegB}; }, "refused: the record does not list"},
      {[](CellView& v) { v.vms["vm1"].status["b1"].connection = "Connected"; }, "conflict: the legs of VM vm1 are"},
      {[](CellView& v) { v.vms["vm1"].spec.value.protection = Protection::none; }, "conflict: VM vm1 has one leg"},
      {[](CellView& v) { v.hosts["b1"].silent = true; }, "unavailable: host b1"},
  };
  for (const auto& row : table) {
    CellView view = split_cell();
    row.change(view);
    EXPECT_THAT(text(plan(view, ask(RepairVm{"vm1"}), "a1")), StartsWith(row.verdict));
  }
}

TEST(Approval, IsAnotherPersonsAndOnlyWhereItIsWaitedFor) {
  const auto p = plan(split_cell(), ask(RepairVm{"vm1"}), "a1");
  ASSERT_TRUE(p);
  Operation op = p->operation;
  op.author = {"olga", "operator", ""};
  EXPECT_THAT(text(with_approval(op, {"paul", "operator", ""})), StartsWith("conflict: the operation does not wait"));
  for (std::size_t i = 0; i < 4; ++i) op.steps[i].state = StepState::done;
  EXPECT_THAT(text(with_approval(op, {"olga", "operator", ""})), StartsWith("forbidden:"));
  const auto approved = with_approval(op, {"paul", "operator", ""});
  ASSERT_TRUE(approved);
  EXPECT_EQ(approved->result.at("approved_by"), "paul");
  EXPECT_EQ(*with_approval(*approved, {"paul", "operator", ""}), *approved) << "said twice";
  EXPECT_THAT(text(with_approval(*approved, {"rosa", "operator", ""})), StartsWith("conflict: paul has approved"));
}

TEST(Care, IsRememberedWhenItHasAVerdict) {
  Operation op;
  op.id = "op-1";
  op.vm = "vm1";
  op.object = "root";
  op.kind = OpKind::volume_verify;
  op.state = OpState::undone;
  op.finished_ms = 9;
  EXPECT_EQ(care_of(op), "volume-verify.root");
  EXPECT_FALSE(finish_effects(op).care) << "the link dropped: nothing is known";
  op.result["verdict"] = "different";
  op.error = "8 KiB differ";
  EXPECT_EQ(*finish_effects(op).care, (LastCare{9, false, "8 KiB differ", "op-1"}));
  op.state = OpState::done;
  op.result["verdict"] = "equal";
  EXPECT_TRUE(finish_effects(op).care->good);
  op.kind = OpKind::vm_copy;
  EXPECT_EQ(care_of(op), "vm-copy");
  EXPECT_TRUE(finish_effects(op).care->good);
  op.kind = OpKind::vm_start;
  EXPECT_FALSE(finish_effects(op).care);
}

TEST(Why, SaysWhatALevelMeansWhenTheHostIsGone) {
  CellView view = backup_cell();
  view.hosts["a1"].silent = true;
  EXPECT_THAT(why(view, "vm1"), HasSubstr("`hostctl vm failover vm1 --host-is-off --sacrifice a1`"));
  view.vms["vm1"].spec.value.protection = Protection::none;
  EXPECT_THAT(why(view, "vm1"), HasSubstr("its only leg is there"));
  view = test::cell();
  view.vms["vm1"].right.value.insync["root"] = {kLegB};
  EXPECT_THAT(why(view, "vm1"), HasSubstr("its own leg on a1 is NOT in sync"));
}

// To DRBD a leg that a verify found different is UpToDate all the same.
TEST(Verify, ALegThatWasFoundDifferentIsNotTakenForTheOneWithAllOfIt) {
  VmView vm = test::running_vm();
  vm.right.value.insync["root"] = {kLegA};
  LocalVm local;
  local.up = true;
  local.role = "Primary";
  local.connection = "Connected";
  local.domain = DomainState::running;
  local.volumes["root"] = {"Diskless", "UpToDate", "Established", 0};
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::swap_leg);
  vm.last["volume-verify.root"].good = true;
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::swap_leg);
  vm.last["volume-verify.root"].good = false;
  EXPECT_EQ(reconcile(vm, local, "a1", true).kind, Remedy::Kind::none);
}

}  // namespace
}  // namespace bascule::core
