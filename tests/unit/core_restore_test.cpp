// A backup file goes into an empty cell only, and nothing that it says lets a VM run.
#include <functional>

#include "core_ha_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/explain.hpp"
#include "hostd/core/reconcile.hpp"
#include "hostd/core/restore.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::text;
using testing::HasSubstr;
using testing::StartsWith;

using Kind = RestoreStep::Kind;

RestoreStep step(Kind kind) {
  RestoreStep s;
  s.kind = kind;
  s.file = std::string(64, 'f');
  s.head = {7, std::string(64, 'a')};
  s.vms = 1;
  s.hosts = {"a1", "b1"};
  s.spec = test::spec();
  s.spec.power = Power::off;
  s.layout = test::layout();
  s.restored = {3, "a1"};
  return s;
}

CellView empty_cell() {
  CellView view = test::cell();
  view.vms.clear();
  return view;
}

/// What the transaction of an accepted step leaves behind.
void write(CellView& view, const RestoreStep& s) {
  auto plan = plan_restore(view, s);
  ASSERT_TRUE(plan) << plan.error().what;
  if (plan->unchanged) return;
  const auto at = ++view.revision;
  view.restore = {plan->next, at, at};
  view.audit.revision = at;
  ++view.audit.value.sequence;
  if (s.kind != Kind::vm) return;
  auto& vm = view.vms[s.spec.name];
  vm.spec = {s.spec, at, at};
  vm.layout = {s.layout, at, at};
  vm.restored = {s.restored, at, at};
}

/// The cell right after everything of the file is in it.
CellView restored_cell() {
  CellView view = empty_cell();
  for (const auto kind : {Kind::begin, Kind::vm, Kind::end}) write(view, step(kind));
  return view;
}

TEST(Restore, GoesIntoAnEmptyCellOnly) {
  EXPECT_EQ(text(plan_restore(empty_cell(), step(Kind::begin))), "ok");
  const std::function<void(CellView&)> filled[] = {
      [](CellView& v) { v.vms["vm1"] = test::stopped_vm(); },
      [](CellView& v) { v.operations["op-1"].revision = 1; },
      [](CellView& v) { v.audit.revision = 1; },
      [](CellView& v) { v.images["debian"].revision = 1; },
  };
  for (const auto& fill : filled) {
    CellView view = empty_cell();
    fill(view);
    EXPECT_THAT(text(plan_restore(view, step(Kind::begin))), StartsWith("conflict: this cell has "));
  }
}

TEST(Restore, NamesTheFileAndTheEndOfItsChainInTheFirstAuditRecord) {
  const auto plan = plan_restore(empty_cell(), step(Kind::begin));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->what, "cell restore begun");
  EXPECT_THAT(plan->result, HasSubstr("7:" + std::string(64, 'a')));
  EXPECT_THAT(plan->result, HasSubstr(std::string(64, 'f')));
}

TEST(Restore, WantsEveryHostOfTheLayouts) {
  RestoreStep begin = step(Kind::begin);
  begin.hosts = {"a1", "b7"};
  EXPECT_THAT(text(plan_restore(empty_cell(), begin)), StartsWith("conflict: host b7 of the file's layouts is not"));
  CellView view = empty_cell();
  view.hosts["b1"].info.revision = 0;  // heard, but it has not said what it is
  EXPECT_THAT(text(plan_restore(view, step(Kind::begin))), StartsWith("conflict: host b1"));
}

TEST(Restore, InterruptedAnywhereGoesOnWithTheSameFile) {
  CellView view = empty_cell();
  for (const auto upto : {Kind::begin, Kind::vm, Kind::end}) {
    write(view, step(upto));
    CellView again = view;
    for (const auto kind : {Kind::begin, Kind::vm, Kind::end}) write(again, step(kind));
    EXPECT_TRUE(again.restore.value.ended);
    EXPECT_EQ(again.restore.value.written, 1U);
    EXPECT_EQ(again.audit.value.sequence, 3);
  }
}

TEST(Restore, DoesNotGoOnWithAnotherFileOrAfterSomebodyElse) {
  CellView view = empty_cell();
  write(view, step(Kind::begin));
  RestoreStep other = step(Kind::vm);
  other.file = std::string(64, 'e');
  EXPECT_THAT(text(plan_restore(view, other)), HasSubstr("another file"));
  ++view.audit.value.sequence;
  EXPECT_THAT(text(plan_restore(view, step(Kind::vm))), HasSubstr("changed by others"));
  EXPECT_THAT(text(plan_restore(view, step(Kind::begin))), HasSubstr("changed by others"));
}

TEST(Restore, EndsWhenAllOfTheFileIsThere) {
  CellView view = empty_cell();
  write(view, step(Kind::begin));
  EXPECT_THAT(text(plan_restore(view, step(Kind::end))), HasSubstr("0 of 1 VMs"));
}

TEST(Restore, WhileItIsAtWorkNothingElseIsDone) {
  CellView view = empty_cell();
  write(view, step(Kind::begin));
  EXPECT_THAT(text(plan(view, ask(PutVm{test::spec()}), "a1")), StartsWith("conflict: this cell is being restored"));
  EXPECT_EQ(text(plan(restored_cell(), ask(PutVm{test::spec("vm2")}), "a1")), "ok");
}

TEST(Restore, TakesOnlyLayoutsAsTheyAreMade) {
  const std::pair<std::function<void(RestoreStep&)>, const char*> wrong[] = {
      {[](RestoreStep& s) { s.spec.power = Power::on; }, "power off"},
      {[](RestoreStep& s) { s.spec.memory_mib = 0; }, "memory_mib"},
      {[](RestoreStep& s) { s.spec.peer_host = "a1"; }, "two hosts"},
      {[](RestoreStep& s) { s.spec.nics[0].mac.clear(); }, "MAC"},
      {[](RestoreStep& s) { s.restored.host = "b2"; }, "run-right"},
      {[](RestoreStep& s) { s.restored.epoch = -1; }, "run-right"},
      {[](RestoreStep& s) { s.layout.port = 0; }, "port"},
      {[](RestoreStep& s) { s.layout.volumes[0].minor = 101; }, "minors"},
      {[](RestoreStep& s) { s.layout.volumes[0].minor = 4; }, "minors"},
      {[](RestoreStep& s) { s.layout.volumes[0].size_mib = 65; }, "another one"},
      {[](RestoreStep& s) { s.layout.volumes[0].name = "data"; }, "another one"},
      {[](RestoreStep& s) { s.layout.volumes[0].legs.pop_back(); }, "two legs"},
      {[](RestoreStep& s) { s.layout.volumes[0].legs[1].id = "la"; }, "leg's id"},
      {[](RestoreStep& s) { s.layout.volumes[0].legs[1].id = "../x"; }, "leg's id"},
      {[](RestoreStep& s) { std::swap(s.layout.volumes[0].legs[0], s.layout.volumes[0].legs[1]); }, "other hosts"},
      {[](RestoreStep& s) { s.layout.volumes.clear(); }, "other volumes"},
  };
  CellView view = empty_cell();
  write(view, step(Kind::begin));
  for (const auto& [spoil, what] : wrong) {
    RestoreStep s = step(Kind::vm);
    spoil(s);
    EXPECT_THAT(text(plan_restore(view, s)), HasSubstr(what));
  }
}

TEST(Restore, GivesNoPortOrMinorTwice) {
  CellView view = empty_cell();
  RestoreStep two = step(Kind::begin);
  two.vms = 2;
  write(view, two);
  two.kind = Kind::vm;
  write(view, two);
  two.spec = test::spec("vm2");
  two.spec.power = Power::off;
  two.spec.nics[0].mac = "52:54:00:00:00:02";
  two.layout.volumes[0].legs = {{"a1", "lc"}, {"b1", "ld"}};
  EXPECT_THAT(text(plan_restore(view, two)), HasSubstr("its port is vm1's"));
  two.layout.port = 7801;
  EXPECT_THAT(text(plan_restore(view, two)), HasSubstr("its minors are vm1's"));
  two.layout.volumes[0].minor = 108;
  EXPECT_EQ(text(plan_restore(view, two)), "ok");
}

TEST(Restored, VmIsNotTouchedByAnyHost) {
  const CellView view = restored_cell();
  const VmView& vm = view.vms.at("vm1");
  LocalVm local;
  for (const bool up : {false, true}) {
    for (const auto* connection : {"StandAlone", "Connected", "Connecting"}) {
      for (const auto* role : {"Secondary", "Primary"}) {
        for (const auto domain : {DomainState::absent, DomainState::running}) {
          for (const auto* disk : {"UpToDate", "Consistent", "Diskless"}) {
            local.up = up;
            local.connection = connection;
            local.role = role;
            local.domain = domain;
            local.volumes["root"] = {disk, "UpToDate", "Established", 0};
            for (const auto* host : {"a1", "b1"}) {
              EXPECT_EQ(reconcile(vm, local, host, true).kind, Remedy::Kind::none);
              EXPECT_EQ(reconcile(vm, local, host, false).kind, Remedy::Kind::none);
            }
          }
        }
      }
    }
  }
}

TEST(Restored, VmIsStartedByNoRoundOfFailover) {
  CellView view = restored_cell();
  view.vms["vm1"].spec.value.power = Power::on;  // even if somebody wishes it
  std::map<std::string, LocalVm> locals;
  locals["vm1"].up = true;
  locals["vm1"].domain = DomainState::absent;
  locals["vm1"].volumes["root"] = {"UpToDate", "UpToDate", "Established", 0};
  HaFacts facts;
  facts.renewed = true;
  facts.absent["a1"] = Mono(3'600'000);
  view.hosts["a1"].silent = true;
  for (const auto* host : {"a1", "b1"}) {
    const auto round = ha_round(view, locals, facts, Timing{}, host);
    EXPECT_TRUE(round.actions.empty()) << host;
  }
}

TEST(Restored, VmIsRefusedWhateverNeedsARunRight) {
  const CellView view = restored_cell();
  FailoverVm failover;
  failover.vm = "vm1";
  const Verb verbs[] = {StartVm{"vm1"},
                        ResetVm{"vm1"},
                        MigrateVm{"vm1", "b1", ""},
                        GrowVolume{"vm1", "root", 128},
                        VerifyVolume{"vm1", "root"},
                        failover,
                        FailbackVm{"vm1", ""},
                        CopyVm{"vm1"},
                        RepairVm{"vm1"}};
  for (const auto& verb : verbs) EXPECT_FALSE(plan(view, ask(verb), "a1")) << verb.index();
  EXPECT_THAT(text(plan(view, ask(StartVm{"vm1"}), "a1")), StartsWith("conflict: the VM has no run-right"));
  VmSpec on = test::spec();
  EXPECT_FALSE(plan(view, ask(PutVm{on}), "a1"));
}

TEST(Restored, VmSaysWhyItDoesNotRunAndWhatIsNext) {
  EXPECT_THAT(why(restored_cell(), "vm1"), HasSubstr("`hostctl vm adopt vm1 --host HOST`"));
}

}  // namespace
}  // namespace bascule::core
