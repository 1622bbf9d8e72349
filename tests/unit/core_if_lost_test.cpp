// The forecast: what would happen to a host's VMs if it were lost now.
#include "hostd/core/if_lost.hpp"

#include <functional>

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"

namespace bascule::core {
namespace {

using test::kLegA;
using testing::ElementsAre;
using testing::HasSubstr;

IfLost only(const CellView& view) {
  const auto all = if_lost(view, "a1");
  return all.size() == 1 ? all.front() : IfLost{};
}

TEST(IfLost, SaysForEachReasonWhatBecomesOfTheVm) {
  const struct {
    const char* outcome;
    const char* text;
    std::function<void(CellView&)> change;
  } table[] = {
      {"restarts", "starts on b1 by itself", [](CellView&) {}},
      {"off", "off, as asked", [](CellView& v) { v.vms["vm1"].spec.value.power = Power::off; }},
      {"stays", "one leg", [](CellView& v) { v.vms["vm1"].spec.value.protection = Protection::none; }},
      {"waits", "cold copy on b1", [](CellView& v) { v.vms["vm1"].spec.value.protection = Protection::backup; }},
      {"waits", "'mirror'", [](CellView& v) { v.vms["vm1"].spec.value.protection = Protection::mirror; }},
      {"stays", "NOT in sync", [](CellView& v) { v.vms["vm1"].right.value.insync["root"] = {kLegA}; }},
      {"stays", "b1, where its other leg is, is silent", [](CellView& v) { v.hosts["b1"].silent = true; }},
      {"stays", "would have 100 MiB", [](CellView& v) { v.hosts["b1"].info.value.memory_mib = 100; }},
      {"waits", "disarmed by olga", [](CellView& v) { v.disarmed = {{"olga", "network", 1}, 5, 5}; }},
      {"waits", "not taken up its guard", [](CellView& v) { v.hosts["a1"].lease.value.guarding = false; }},
      {"waits", "b1 is in maintenance", [](CellView& v) { v.hosts["b1"].maintenance = {{"olga", "disks", 1}, 5, 5}; }},
      {"waits", "operation op-1 (vm-remove) holds it",
       [](CellView& v) {
         Operation op;
         op.kind = OpKind::vm_remove;
         v.operations["op-1"] = {op, 5, 5};
         v.vms["vm1"].operation = {"op-1", 5, 5};
       }},
      {"restarts", "by itself",
       [](CellView& v) {
         Operation op;
         op.kind = OpKind::vm_migrate;
         v.operations["op-1"] = {op, 5, 5};
         v.vms["vm1"].operation = {"op-1", 5, 5};
       }},
  };
  for (const auto& row : table) {
    CellView view = test::cell();
    row.change(view);
    const auto seen = only(view);
    EXPECT_EQ(to_string(seen.outcome), row.outcome) << row.text;
    EXPECT_THAT(seen.text, HasSubstr(row.text));
    EXPECT_EQ(seen.vm, "vm1");
    const bool nowhere = seen.outcome == IfLost::Outcome::stays || seen.outcome == IfLost::Outcome::off;
    EXPECT_EQ(seen.target, nowhere ? "" : "b1") << row.text;
  }
}

TEST(IfLost, TheFirstByPriorityTakeTheMemory) {
  CellView view = test::cell();
  view.hosts["b1"].info.value.memory_mib = 600;  // two of three fit
  for (const auto& [name, priority] : {std::pair{"low", 1U}, {"high", 900U}}) {
    auto vm = view.vms["vm1"];
    vm.spec.value.name = name;
    vm.spec.value.priority = priority;
    view.vms[name] = vm;
  }
  std::vector<std::string> seen;
  for (const auto& f : if_lost(view, "a1")) seen.push_back(f.vm + ' ' + std::string(to_string(f.outcome)));
  EXPECT_THAT(seen, ElementsAre("high restarts", "vm1 restarts", "low stays"));
  // One that is on its way there has its memory there already.
  view.vms["low"].right.value.migrating_to = "b1";
  EXPECT_EQ(if_lost(view, "a1").back().outcome, IfLost::Outcome::restarts);
  EXPECT_EQ(if_lost(view, "a1").at(1).outcome, IfLost::Outcome::stays);
  EXPECT_TRUE(if_lost(view, "b1").empty());
}

}  // namespace
}  // namespace bascule::core
