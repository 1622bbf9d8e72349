// One word and one sentence for what is going on with a VM.
#include "hostd/core/explain.hpp"

#include <functional>

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using test::cell;

VmStatus& status(CellView& view, const char* host = "a1") { return view.vms["vm1"].status[host]; }
Operation& at_work(CellView& view, OpKind kind = OpKind::vm_migrate) {
  view.vms["vm1"].operation = {"op-1", 1, 1};
  Operation& op = view.operations["op-1"].value;
  op.id = "op-1";
  op.vm = "vm1";
  op.kind = kind;
  op.author.name = "olga";
  op.reason = "test";
  op.steps = {{.kind = StepKind::live_migrate, .host = "a1"}};
  return op;
}
void only_a(CellView& v) { v.vms["vm1"].right.value.insync["root"] = {test::kLegA}; }

TEST(Explain, OneWordAndOneSentenceForEveryState) {
  const struct {
    const char* name;
    std::function<void(CellView&)> change;
    const char* word;
    const char* sentence;
  } table[] = {
      {"healthy", [](CellView&) {}, "running", "vm1: running on a1, both legs are in sync."},
      {"off", [](CellView& v) { v.vms["vm1"] = test::stopped_vm(); }, "off",
       "vm1: off, as asked; it would start on a1, both legs are in sync."},
      {"down", [](CellView& v) { status(v).domain = DomainState::absent; }, "down",
       "vm1: it should run, but there is no guest on a1: it ended by itself or the host restarted; start it with "
       "`hostctl "
       "vm start vm1`; both legs are in sync."},
      {"crashed", [](CellView& v) { status(v).domain = DomainState::crashed; }, "crashed",
       "vm1: its guest crashed on a1; reset it, or stop and start it."},
      {"paused", [](CellView& v) { status(v).domain = DomainState::paused, status(v).domain_reason = "disk error"; },
       "paused", "vm1: paused on a1 (disk error)."},
      {"stopping", [](CellView& v) { status(v).domain = DomainState::shutting_down; }, "stopping",
       "vm1: its guest is shutting down on a1."},
      {"libvirt gone", [](CellView& v) { status(v).domain = DomainState::unknown; }, "unknown",
       "vm1: libvirt on a1 is not reached; the guest goes on, but its state is not known."},
      {"frozen", [](CellView& v) { status(v).suspended = "fencing", status(v).connection = "Connecting"; }, "frozen",
       "vm1: frozen on a1 (fencing): its disk writes wait and none is lost, the replication link is Connecting."},
      {"holder silent", [](CellView& v) { v.hosts["a1"].silent = true; }, "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; b1 starts it when the takeover time has "
       "passed."},
      {"holder silent, and what is waited for",
       [](CellView& v) { v.hosts["a1"].silent = true, v.vms["vm1"].status["b1"].waits = "no memory is left"; },
       "unknown", "vm1: its host a1 does not renew its lease, so its state is not known; b1 waits: no memory is left."},
      {"not started, and why",
       [](CellView& v) {
         v.vms["vm1"].status["a1"].domain = DomainState::absent;
         v.vms["vm1"].status["a1"].waits = "the guest switched itself off";
       },
       "down",
       "vm1: it should run, but there is no guest on a1: the guest switched itself off; both legs are in sync."},
      {"holder silent, copy old", [](CellView& v) { only_a(v), v.hosts["a1"].silent = true; }, "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; its copy on b1 is NOT in sync, so "
       "nothing "
       "starts it by itself: bring a1 back, or, once its power is off, give up what only its leg has: `hostctl vm "
       "failover vm1 --host-is-off --sacrifice a1`."},
      {"both silent", [](CellView& v) { v.hosts["a1"].silent = v.hosts["b1"].silent = true; }, "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; so is b1's: nothing can start it."},
      {"holder silent, for a person",
       [](CellView& v) { v.hosts["a1"].silent = true, v.vms["vm1"].spec.value.protection = Protection::mirror; },
       "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; its protection is 'mirror': `hostctl vm "
       "failover vm1` starts it on b1."},
      {"both silent, copy old", [](CellView& v) { only_a(v), v.hosts["a1"].silent = v.hosts["b1"].silent = true; },
       "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; so is b1's: nothing can start it."},
      {"holder silent, for a person, disarmed before",
       [](CellView& v) {
         v.hosts["a1"].silent = true, v.vms["vm1"].spec.value.protection = Protection::mirror;
         v.hosts["a1"].lease.value.guarding = false;
       },
       "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; its protection is 'mirror': cut the "
       "power "
       "of host a1, then `hostctl vm failover vm1 --host-is-off` starts it on b1."},
      {"holder silent, disarmed before",
       [](CellView& v) {
         v.hosts["a1"].silent = true, v.disarmed = {{"olga", "network work", 1}, 5, 5};
         v.hosts["a1"].lease.value.guarding = false;
       },
       "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; failover is disarmed by olga (\"network "
       "work\"): cut the power of host a1, then `hostctl vm failover vm1 --host-is-off`."},
      {"holder silent, disarmed since",
       [](CellView& v) { v.hosts["a1"].silent = true, v.disarmed = {{"olga", "network work", 1}, 5, 5}; }, "unknown",
       "vm1: its host a1 does not renew its lease, so its state is not known; failover is disarmed by olga (\"network "
       "work\"): `hostctl ha arm`, or `hostctl vm failover vm1`."},
      {"peer silent", [](CellView& v) { v.hosts["b1"].silent = true; }, "running",
       "vm1: running on a1, both legs are in sync, but host b1 is silent."},
      {"no record", [](CellView& v) { v.vms["vm1"].right = {}; }, "unknown",
       "vm1: it has no run-right: its creation did not end."},
      {"no report", [](CellView& v) { v.vms["vm1"].status.clear(); }, "unknown",
       "vm1: host a1 has not reported on it yet."},
      {"resync", [](CellView& v) { only_a(v), status(v).volumes["root"].out_of_sync_kib = 2049; }, "running",
       "vm1: running on a1, the copy on b1 is NOT in sync, so a loss of a1 would stop the VM: 3 MiB are left to copy."},
      {"link down", [](CellView& v) { only_a(v), status(v).connection = "Connecting"; }, "running",
       "vm1: running on a1, the copy on b1 is NOT in sync, so a loss of a1 would stop the VM: the replication link is "
       "Connecting."},
      {"peer silent and old", [](CellView& v) { only_a(v), v.hosts["b1"].silent = true; }, "running",
       "vm1: running on a1, the copy on b1 is NOT in sync, so a loss of a1 would stop the VM: host b1 is silent."},
      {"migrating", [](CellView& v) { at_work(v); }, "migrating",
       "vm1: vm-migrate is at work (asked by olga: \"test\"), now at step live-migrate on a1."},
      {"migrating, percent",
       [](CellView& v) { at_work(v), v.progress["op-1"] = {.step = "live-migrate", .percent = 40}; }, "migrating",
       "vm1: vm-migrate is at work (asked by olga: \"test\"), now at step live-migrate on a1 (40 %)."},
      {"migrating, percent of an earlier step",
       [](CellView& v) { at_work(v), v.progress["op-1"] = {.step = "fill", .percent = 40}; }, "migrating",
       "vm1: vm-migrate is at work (asked by olga: \"test\"), now at step live-migrate on a1."},
      {"cancelled", [](CellView& v) { at_work(v).cancel_requested = true; }, "migrating",
       "vm1: vm-migrate is at work (asked by olga: \"test\"), now at step live-migrate on a1; it was asked to stop."},
      {"step of a silent host", [](CellView& v) { at_work(v), v.hosts["a1"].silent = true; }, "migrating",
       "vm1: vm-migrate is at work (asked by olga: \"test\"), now at step live-migrate on a1, which is silent: it goes "
       "on "
       "when that host is back."},
      {"undoing",
       [](CellView& v) {
         Operation& op = at_work(v);
         op.state = OpState::undoing, op.error = "it broke", op.steps[0].state = StepState::failed;
       },
       "migrating",
       "vm1: vm-migrate is being undone (asked by olga: \"test\") because it broke, now at step live-migrate on a1."},
      {"needs an operator",
       [](CellView& v) {
         Operation& op = at_work(v);
         op.state = OpState::needs_operator, op.error = "it broke", op.todo = "mend it";
         v.vms["vm1"].operation = {};
       },
       "running",
       "vm1: running on a1, both legs are in sync; its last operation (op-1) needs an operator: it broke; to do: mend "
       "it."},
      {"reset is no state of its own", [](CellView& v) { at_work(v, OpKind::vm_reset); }, "running",
       "vm1: vm-reset is at work (asked by olga: \"test\"), now at step live-migrate on a1."},
      {"creating", [](CellView& v) { at_work(v, OpKind::vm_create); }, "creating",
       "vm1: vm-create is at work (asked by olga: \"test\"), now at step live-migrate on a1."},
  };
  for (const auto& row : table) {
    CellView view = cell();
    row.change(view);
    EXPECT_EQ(to_string(vm_state(view, view.vms["vm1"])), row.word) << row.name;
    EXPECT_EQ(why(view, "vm1"), row.sentence) << row.name;
  }
  EXPECT_EQ(why(cell(), "vm2"), "There is no VM 'vm2'.");
}

TEST(Explain, ProtectedMeansBothLegsOfEveryVolumeByTheRecord) {
  CellView view = cell();
  EXPECT_TRUE(vm_protected(view.vms["vm1"]));
  only_a(view);
  EXPECT_FALSE(vm_protected(view.vms["vm1"]));
  view.vms["vm1"].right = {};
  EXPECT_FALSE(vm_protected(view.vms["vm1"]));
}

}  // namespace
}  // namespace bascule::core
