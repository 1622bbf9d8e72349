// The way back home, and the watchdog's proof: what must be so before.
#include "hostd/core/readiness.hpp"

#include <functional>

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::kLegB;
using test::steps;
using test::text;
using testing::HasSubstr;
using testing::StartsWith;

/// vm1 runs on b1 since a1 was lost; a1 is back for a while.
CellView away_cell() {
  CellView view = test::cell();
  auto& vm = view.vms["vm1"];
  vm.right.value.host = "b1";
  std::swap(vm.status["a1"], vm.status["b1"]);
  view.hosts["a1"].steady = true;
  return view;
}

TEST(Failback, SaysEverythingThatIsNotReady) {
  const struct {
    const char* red;
    std::function<void(CellView&)> change;
  } table[] = {
      {"", [](CellView&) {}},
      {"legs", [](CellView& v) { v.vms["vm1"].right.value.insync["root"] = {kLegB}; }},
      {"link", [](CellView& v) { v.vms["vm1"].status["b1"].connection = "Connecting"; }},
      {"verify", [](CellView& v) { v.vms["vm1"].last["volume-verify.root"] = {1, false, "4 KiB differ", "op-1"}; }},
      {"capacity", [](CellView& v) { v.hosts["a1"].info.value.memory_mib = 100; }},
      {"host", [](CellView& v) { v.hosts["a1"].maintenance = {{"olga", "disks", 1}, 5, 5}; }},
      {"lease", [](CellView& v) { v.hosts["a1"].steady = false; }},
  };
  for (const auto& row : table) {
    CellView view = away_cell();
    row.change(view);
    std::string red;
    for (const auto& check : failback_readiness(view, view.vms["vm1"], "a1")) {
      if (!check.ready) red += check.what;
    }
    EXPECT_EQ(red, row.red);
    const auto p = plan(view, ask(FailbackVm{"vm1", {}}), "b1");
    if (red.empty())
      EXPECT_EQ(text(p), "ok");
    else
      EXPECT_THAT(text(p), testing::AllOf(StartsWith("refused: VM vm1 is not ready"), HasSubstr(red + ": ")));
  }
}

TEST(Failback, SaysWhenTheVolumesWereCompared) {
  CellView view = away_cell();
  const auto said = [&] { return failback_readiness(view, view.vms["vm1"], "a1").at(2).text; };
  EXPECT_EQ(said(), "never verified: root");
  view.vms["vm1"].last["volume-verify.root"] = {1'795'833'000'000, true, "", "op-1"};
  EXPECT_EQ(said(), "every volume was found equal, the oldest such verify ended 2026-11-28 02:30 UTC");
}

TEST(WatchdogProof, NeedsAHostThatNobodyNeeds) {
  CellView view = test::cell();
  const auto said = [&] { return text(plan(view, ask(ProveWatchdog{"b1"}), "a1")); };
  EXPECT_THAT(said(), StartsWith("conflict: host b1 is not in maintenance"));
  view.hosts["b1"].maintenance = {{"olga", "proof", 1}, 5, 5};
  EXPECT_EQ(said(), "ok");
  EXPECT_EQ(steps(*plan(view, ask(ProveWatchdog{"b1"}), "a1")), "prove-watchdog@b1");
  view.vms["vm1"].status["b1"].domain = DomainState::running;
  EXPECT_THAT(said(), StartsWith("conflict: VM vm1 is on host b1"));
  view.vms["vm1"].status["b1"].domain = DomainState::absent;
  view.operations["op-1"].value.steps = {{StepKind::make_leg, "b1", StepState::pending, "", 0}};
  EXPECT_THAT(said(), StartsWith("conflict: operation op-1 works on host b1"));
  EXPECT_THAT(text(plan(view, ask(ProveWatchdog{"zz"}), "a1")), StartsWith("not-found:"));
}

}  // namespace
}  // namespace bascule::core
