// When a VM was last really carried to the other site, and when that is due again.
#include "hostd/core/drills.hpp"

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/engine.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::text;

/// An operation on vm1 as its plan makes it, with every step done.
Operation ended(const CellView& view, Verb verb) {
  const auto p = plan(view, ask(std::move(verb)), "a1");
  EXPECT_EQ(text(p), "ok");
  Operation op = p->operation;
  op.id = "op-1";
  op.finished_ms = 9;
  op.state = OpState::done;
  for (auto& step : op.steps) {
    step.state = StepState::done;
    if (step.kind == StepKind::confirm) op.result[kRanOn] = op.target_host;
  }
  return op;
}

/// vm1 was taken over by b1; a1, its nominal host, is back.
CellView away() {
  CellView view = test::cell();
  auto& vm = view.vms["vm1"];
  vm.right.value.host = "b1";
  std::swap(vm.status["a1"], vm.status["b1"]);
  view.hosts["a1"].lease.revision = 1;
  view.hosts["a1"].steady = true;
  return view;
}

TEST(Drills, AreWhatEndedWithTheGuestAtWorkOnTheOtherHost) {
  CellView view = test::cell();
  const Operation moved = ended(view, MigrateVm{"vm1", "b1", {}});
  EXPECT_EQ(care_of(moved), "vm-migrate");
  EXPECT_EQ(exercise_of(moved), (LastCare{9, true, "b1", "op-1"}));
  EXPECT_EQ(finish_effects(moved).care, exercise_of(moved)) << "in the transaction that ends the operation";

  const Operation back = ended(away(), FailbackVm{"vm1", {}});
  EXPECT_EQ(care_of(back), "vm-failback");
  EXPECT_EQ(exercise_of(back), (LastCare{9, true, "a1", "op-1"}));

  view.hosts["a1"].silent = true;
  FailoverVm failover;
  failover.vm = "vm1";
  const Operation taken = ended(view, failover);
  EXPECT_EQ(care_of(taken), "vm-failover");
  EXPECT_EQ(exercise_of(taken), (LastCare{9, true, "b1", "op-1"}));
}

TEST(Drills, AreNotWhatFailedOrMovedNoGuest) {
  Operation op = ended(test::cell(), MigrateVm{"vm1", "b1", {}});
  for (const auto state : {OpState::undone, OpState::needs_operator, OpState::undoing, OpState::running}) {
    op.state = state;
    EXPECT_FALSE(finish_effects(op).care) << to_string(state);
  }
  op.state = OpState::done;
  op.result.erase(kRanOn);
  EXPECT_FALSE(exercise_of(op)) << "its guest ended on the way";
  CellView view = away();
  view.vms["vm1"].spec.value.power = Power::off;
  view.vms["vm1"].status["b1"].domain = DomainState::absent;
  EXPECT_FALSE(finish_effects(ended(view, FailbackVm{"vm1", {}})).care) << "it went home while it was off";
  op = ended(view, StartVm{"vm1", {}});
  EXPECT_FALSE(exercise_of(op)) << "started where it was";
}

TEST(Drills, AreDueSoManyDaysAfterTheNewestExercise) {
  VmView vm = test::running_vm();
  const WallMs day = 20'000 * kDayMs;
  vm.last["vm-migrate"] = {day, true, "b1", "op-1"};
  vm.last["vm-failover"] = {day - 1, true, "a1", "op-0"};
  vm.last["vm-copy"] = {day + 5, true, "", "op-2"};
  vm.last["volume-verify.root"] = {day + 6, true, "", "op-3"};
  const Drill::Exercise newest{OpKind::vm_migrate, "b1", day, "op-1"};
  EXPECT_EQ(drill(vm, day + 1), (Drill{newest, {}, false})) << "known, but nobody asks for one";
  vm.spec.value.drill_every_days = 90;
  EXPECT_EQ(drill(vm, day + 90 * kDayMs - 1), (Drill{newest, day + 90 * kDayMs, false}));
  EXPECT_EQ(drill(vm, day + 90 * kDayMs), (Drill{newest, day + 90 * kDayMs, true}));
  vm.last["vm-failback"] = {day + 89 * kDayMs, true, "a1", "op-4"};
  EXPECT_EQ(drill(vm, day + 90 * kDayMs).last->what, OpKind::vm_failback);
  EXPECT_FALSE(drill(vm, day + 90 * kDayMs).overdue);
}

TEST(Drills, AreOverdueWhereNoneWasEverMade) {
  VmView vm = test::running_vm();
  EXPECT_EQ(drill(vm, 0), Drill{});
  vm.spec.value.drill_every_days = 365;
  EXPECT_EQ(drill(vm, 0), (Drill{{}, {}, true}));
}

TEST(Drills, AreAskedForWithinLimitsAndWhereThereIsAnotherHost) {
  CellView view = test::cell();
  VmSpec spec = test::spec();
  spec.drill_every_days = 3650;
  const auto p = plan(view, ask(PutVm{spec}), "a1");
  ASSERT_EQ(text(p), "ok") << "while it runs";
  EXPECT_TRUE(p->operation.steps.empty());
  EXPECT_EQ(p->spec->drill_every_days, 3650U);
  spec.drill_every_days = 3651;
  EXPECT_EQ(text(plan(view, ask(PutVm{spec}), "a1")), "invalid: drill_every_days: 0 to 3650");
  spec.drill_every_days = 90;
  spec.protection = Protection::none;
  EXPECT_EQ(text(plan(view, ask(PutVm{spec}), "a1")),
            "invalid: drill_every_days: not with protection 'none', there is no other host to run it on");
}

}  // namespace
}  // namespace bascule::core
