// Failover, restart, failback, maintenance: from the wish to the steps.
#include <fmt/format.h>

#include "hostd/core/ha.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/planner.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core::planning {

Result<Plan> Planner::operator()(const FailoverVm& verb) const {
  auto found = find_vm(view, verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project, true); !r) return r.error();
  if (vm.right.revision == 0) return fail(Errc::conflict, "the VM has no run-right yet: its creation did not end");
  const std::string& lost = vm.right.value.host;
  const std::string target = other_host(vm.layout.value, lost);
  if (const HostView* h = view.host(lost); h != nullptr && h->alive() && !known_off(view, lost)) {
    return fail(Errc::conflict, "host " + lost + " is alive and holds the run-right; `hostctl vm migrate " + verb.vm +
                                    "` moves the VM without a stop");
  }
  if (request.caller.role == Role::host && vm.spec.value.power == Power::off) {
    return fail(Errc::stale, "the VM was asked to be off meanwhile");
  }
  if (auto r = check_host_alive(view, target); !r) return r.error();
  if (auto r = check_not_in_maintenance(view, target); !r) return r.error();
  if (!insync_everywhere(vm.right.value, vm.layout.value, target)) {
    return fail(Errc::refused, "the record does not list the legs on " + target +
                                   " as in sync: writes that the guest saw "
                                   "confirmed may exist on " +
                                   lost + " only. Bring " + lost + " back first");
  }
  Plan p = base(OpKind::vm_failover, vm);
  if (vm.operation.revision != 0) {
    const auto op = view.operations.find(vm.operation.value);
    if (op == view.operations.end() || (request.caller.role == Role::host && verb.superseded != vm.operation.value)) {
      return fail(Errc::stale, "another operation has taken hold of the VM meanwhile");
    }
    if (!may_supersede(op->second.value.kind)) {
      return fail(Errc::conflict, fmt::format("operation {} ({}) holds it and waits for host {}", op->first,
                                              to_string(op->second.value.kind), lost));
    }
    p.superseded = op->second;
  }
  p.operation.target_host = target;
  p.operation.result = verb.seen;
  if (verb.host_is_off) p.operation.result["stated_off"] = request.caller.name;
  auto& s = p.operation.steps;
  add(s, StepKind::take_right, target);
  add(s, StepKind::promote, target);
  add(s, StepKind::start_domain, target);
  add(s, StepKind::connect, target);
  if (vm.spec.value.power == Power::off) {
    p.spec = vm.spec.value;
    p.spec->power = Power::on;
    p.operation.restore = vm.spec.value;
  }
  return p;
}

Result<Plan> Planner::operator()(const RestartVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (request.caller.role != Role::host) return fail(Errc::forbidden, "only hostd restarts a VM by itself");
  const std::string& holder = vm.right.value.host;
  if (holder != self || vm.spec.value.power != Power::on) {
    return fail(Errc::conflict, "the run-right or the wish for this VM has changed");
  }
  Plan p = base(OpKind::vm_restart, vm);
  auto& s = p.operation.steps;
  if (verb.elsewhere) {
    const std::string target = other_host(vm.layout.value, holder);
    if (auto r = check_host_alive(view, target); !r) return r.error();
    if (auto r = check_not_in_maintenance(view, target); !r) return r.error();
    p.operation.target_host = target;
    add(s, StepKind::demote, holder);
    add(s, StepKind::hand_over, holder);
    add_start(s, target);
    return p;
  }
  p.operation.target_host = holder;
  add(s, StepKind::promote, holder);
  add(s, StepKind::start_domain, holder);
  return p;
}

Result<Plan> Planner::operator()(const FailbackVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project); !r) return r.error();
  const std::string& target = vm.spec.value.nominal_host;
  if (request.caller.role == Role::host) return fail(Errc::forbidden, "going back is a person's decision");
  if (vm.right.value.host == target) {
    Plan p = base(OpKind::vm_failback, vm);
    p.unchanged = true;
    return p;
  }
  if (vm.spec.value.power == Power::on) return migration(OpKind::vm_failback, vm, target, verb.policy);
  if (auto r = check_host_alive(view, vm.right.value.host); !r) return r.error();
  if (auto r = check_host_alive(view, target); !r) return r.error();
  if (auto r = check_not_in_maintenance(view, target); !r) return r.error();
  if (auto r = hand_over(vm.right.value, vm.layout.value, vm.right.value.host, target); !r) return r.error();
  Plan p = base(OpKind::vm_failback, vm);
  p.operation.target_host = target;
  add(p.operation.steps, StepKind::demote, vm.right.value.host);
  add(p.operation.steps, StepKind::hand_over, vm.right.value.host);
  return p;
}

Result<Plan> Planner::operator()(const SetMaintenance& verb) const {
  if (auto r = allowed(false, {}); !r) return r.error();
  const HostView* host = view.host(verb.host);
  if (host == nullptr) return fail(Errc::not_found, "there is no host '" + verb.host + "'");
  Plan p;
  p.operation.kind = OpKind::host_maintenance;
  p.operation.target_host = verb.host;
  p.operation.object = verb.on ? "on" : "off";
  p.object = "host/" + verb.host;
  p.unchanged = (host->maintenance.revision != 0) == verb.on;
  p.maintenance = verb.on;
  return p;
}

Result<Plan> Planner::operator()(const SetArmed& verb) const {
  if (auto r = allowed(false, {}); !r) return r.error();
  Plan p;
  p.operation.kind = verb.armed ? OpKind::ha_arm : OpKind::ha_disarm;
  p.object = "cell";
  p.unchanged = (view.disarmed.revision == 0) == verb.armed;
  p.armed = verb.armed;
  return p;
}

}  // namespace bascule::core::planning
