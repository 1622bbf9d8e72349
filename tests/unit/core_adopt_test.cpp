// A VM whose record was lost with all of etcd: who may adopt it, and what its new record is.
#include <functional>

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/adopt.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::kLegA;
using test::kLegB;
using test::steps;
using test::text;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kOld = "00000000000000A0:0000000000000000:0000000000000090:0000000000000080:1:1:0:0:0:0:0";
constexpr const char* kNew = "00000000000000B1:00000000000000A0:0000000000000090:0000000000000080:1:1:0:1:0:0:0";
constexpr const char* kNewest = "00000000000000C0:0000000000000000:00000000000000B0:00000000000000A0:1:1:0:0:0:0:0";
constexpr const char* kOther = "00000000000000D0:00000000000000A0:0000000000000090:0000000000000080:1:1:0:0:0:0:0";

/// vm1 as a restore leaves it: no run-right.
CellView restored_cell() {
  CellView view = test::cell();
  auto& vm = view.vms["vm1"];
  vm = test::stopped_vm();
  vm.right = {};
  vm.restored = {{7, "a1"}, 13, 13};
  return view;
}

/// What both hosts have said and a second operator has approved.
Operation said() {
  Operation op;
  op.kind = OpKind::vm_adopt;
  op.vm = "vm1";
  op.target_host = "a1";
  op.result = {{"approved_by", "otto"},
               {adopt_epoch_key("a1"), "8"},
               {adopt_epoch_key("b1"), "9"},
               {adopt_generation_key("a1", "root"), kOld},
               {adopt_generation_key("b1", "root"), kOld}};
  return op;
}

TEST(Lineage, TellsWhichLegWasWrittenToSinceTheyParted) {
  EXPECT_EQ(lineage(kOld, kOld), Lineage::same);
  EXPECT_EQ(lineage(kNew, kOld), Lineage::ahead);
  EXPECT_EQ(lineage(kOld, kNew), Lineage::behind);
  EXPECT_EQ(lineage(kNewest, kOld), Lineage::ahead);
  EXPECT_EQ(lineage(kOld, kNewest), Lineage::behind);
  EXPECT_EQ(lineage(kNew, kOther), Lineage::parted);
  EXPECT_EQ(lineage("00000000000000A1:0000000000000000:0000000000000090:0000000000000080", kOld), Lineage::same);
  for (const char* bad : {"", "x", "00000000000000A0", "00000000000000A0:0", "A0:0:0:0"}) {
    EXPECT_EQ(lineage(bad, kOld), Lineage::unknown) << bad;
    EXPECT_EQ(lineage(kOld, bad), Lineage::unknown) << bad;
  }
}

TEST(Adopted, RecordListsThatHostAloneAboveEveryEpochThatAnybodyHasSeen) {
  const CellView view = restored_cell();
  const auto right = adopted(said(), view.vms.at("vm1"), "a1");
  ASSERT_TRUE(right) << right.error().what;
  EXPECT_EQ(right->host, "a1");
  EXPECT_EQ(right->epoch, 10);
  EXPECT_EQ(right->insync.at("root"), std::vector{kLegA});
  EXPECT_FALSE(right->migrating_to);
  CellView later = restored_cell();
  later.vms["vm1"].restored.value.epoch = 30;
  EXPECT_EQ(adopted(said(), later.vms.at("vm1"), "b1")->epoch, 31);
}

TEST(Adopted, RecordIsMadeOnlyWhenEverythingWasSaidAndApproved) {
  const std::pair<std::function<void(Operation&, VmView&)>, const char*> wrong[] = {
      {[](Operation& op, VmView&) { op.result.erase("approved_by"); }, "conflict: nobody has approved it"},
      {[](Operation& op, VmView&) { op.result.erase(adopt_epoch_key("b1")); }, "conflict: host b1 has not said"},
      {[](Operation& op, VmView&) { op.result[adopt_epoch_key("b1")] = "many"; }, "conflict: host b1 has not said"},
      {[](Operation& op, VmView&) { op.result.erase(adopt_generation_key("b1", "root")); },
       "conflict: host b1 has not"},
      {[](Operation& op, VmView&) { op.result[adopt_generation_key("b1", "root")] = kNew; },
       "refused: the leg of volume"},
      {[](Operation& op, VmView&) { op.result[adopt_generation_key("b1", "root")] = "?"; },
       "refused: the legs of volume"},
      {[](Operation&, VmView& vm) { vm.right = {test::right(), 1, 1}; }, "conflict: the VM has a run-right"},
      {[](Operation&, VmView& vm) { vm.restored = {}; }, "conflict: the VM was not restored"},
      {[](Operation&, VmView& vm) { vm.layout.value.volumes.clear(); }, "conflict: the VM has no layout"},
  };
  for (const auto& [spoil, what] : wrong) {
    Operation op = said();
    VmView vm = restored_cell().vms.at("vm1");
    spoil(op, vm);
    EXPECT_THAT(text(adopted(op, vm, "a1")), StartsWith(what));
  }
}

TEST(Adopted, FromLegsThatHaveParted_APersonDecides) {
  Operation op = said();
  op.result[adopt_generation_key("a1", "root")] = kNew;
  op.result[adopt_generation_key("b1", "root")] = kOther;
  const CellView view = restored_cell();
  for (const char* host : {"a1", "b1"}) {
    EXPECT_EQ(text(adopted(op, view.vms.at("vm1"), host)), "ok");
    EXPECT_THAT(not_older(op, view.vms.at("vm1"), host).value(), StartsWith("root: THE LEGS HAVE PARTED"));
  }
}

TEST(Adopted, TheSecondOperatorReadsHowTheLegsStand) {
  Operation op = said();
  VmView vm = restored_cell().vms.at("vm1");
  EXPECT_EQ(not_older(op, vm, "a1").value(), "root: the legs have one generation");
  op.result[adopt_generation_key("a1", "root")] = kNew;
  EXPECT_EQ(not_older(op, vm, "a1").value(), "root: the leg on a1 is newer than the one on b1");
  vm.spec.value.protection = Protection::none;
  EXPECT_EQ(not_older(op, vm, "a1").value(), "it has no other leg");
}

TEST(Adopted, WithOneLegAsksNobodyElse) {
  Operation op = said();
  op.result.erase(adopt_epoch_key("b1"));
  op.result.erase(adopt_generation_key("b1", "root"));
  VmView vm = restored_cell().vms.at("vm1");
  vm.spec.value.protection = Protection::none;
  const auto right = adopted(op, vm, "a1");
  ASSERT_TRUE(right) << right.error().what;
  EXPECT_EQ(right->epoch, 9);
}

TEST(Adopt, AsksBothHostsKeepsBothLegsAndWaitsForASecondOperator) {
  const auto p = plan(restored_cell(), ask(AdoptVm{"vm1", "b1"}), "a1");
  ASSERT_TRUE(p) << p.error().what;
  EXPECT_EQ(
      steps(*p),
      "survey-legs@b1 survey-legs@a1 snapshot-leg@b1 snapshot-leg@a1 await-approval@b1 confirm-legs@a1 adopt-right@b1");
  EXPECT_EQ(p->operation.target_host, "b1");
  EXPECT_FALSE(p->spec);
}

TEST(Adopt, IsRefusedWhereItWouldNotBeSafeOrHasNoSense) {
  const auto refused = [](const std::function<void(CellView&)>& spoil, AdoptVm verb = {"vm1", "a1"}) {
    CellView view = restored_cell();
    spoil(view);
    return text(plan(view, ask(std::move(verb)), "b1"));
  };
  EXPECT_THAT(refused([](CellView& v) { v.hosts["b1"].silent = true; }), StartsWith("unavailable: host b1"));
  EXPECT_THAT(refused([](CellView& v) { v.hosts["a1"].silent = true; }), StartsWith("unavailable: host a1"));
  EXPECT_THAT(refused([](CellView& v) { v.vms["vm1"].right = {test::right(), 1, 1}; }),
              StartsWith("conflict: VM vm1 has a run-right, held by a1"));
  EXPECT_THAT(refused([](CellView& v) { v.vms["vm1"].restored = {}; }),
              StartsWith("conflict: VM vm1 was not restored"));
  EXPECT_THAT(refused([](CellView& v) { v.vms["vm1"].status["b1"].domain = DomainState::running; }),
              StartsWith("conflict: a guest of VM vm1 is on b1"));
  EXPECT_THAT(refused([](CellView&) {}, {"vm1", "a2"}), StartsWith("invalid: host a2 has no leg"));
  EXPECT_THAT(refused([](CellView& v) { v.vms["vm1"].spec.value.protection = Protection::none; }, {"vm1", "b1"}),
              StartsWith("invalid: host b1 has no leg"));
  Request r = ask(AdoptVm{"vm1", "a1"});
  r.caller = test::client("blue");
  EXPECT_THAT(text(plan(restored_cell(), r, "a1")), StartsWith("forbidden"));
}

TEST(Adopt, OfAVmWithOneLegAsksItsHostAlone) {
  CellView view = restored_cell();
  view.vms["vm1"].spec.value.protection = Protection::none;
  const auto p = plan(view, ask(AdoptVm{"vm1", "a1"}), "b1");
  ASSERT_TRUE(p) << p.error().what;
  EXPECT_EQ(steps(*p), "survey-legs@a1 snapshot-leg@a1 await-approval@a1 adopt-right@a1");
}

}  // namespace
}  // namespace bascule::core
