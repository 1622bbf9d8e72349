// Failover, restart, failback, maintenance: from the wish to the steps.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "hostd/core/ha.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/planner.hpp"
#include "hostd/core/readiness.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core::planning {

namespace {
/// A start from legs that the record does not list gives up what the other leg has more: only a person says so, by
/// name.
Result<> check_sacrifice(const VmView& vm, const FailoverVm& verb, const std::string& target) {
  const std::string& lost = vm.right.value.host;
  const auto& spec = vm.spec.value;
  if (spec.protection == Protection::none) {
    return fail(Errc::refused, "VM " + spec.name + " has protection 'none': its only leg is on " + lost);
  }
  const bool listed = insync_everywhere(vm.right.value, vm.layout.value, target);
  if (listed && verb.sacrifice.empty()) return {};
  if (listed) {
    return fail(Errc::conflict, "the record lists the legs on " + target + " as in sync: nothing has to be sacrificed");
  }
  if (verb.sacrifice == lost) return {};
  if (!verb.sacrifice.empty()) {
    return fail(Errc::invalid,
                "sacrifice: the newer data of VM " + spec.name + " is on " + lost + ", not on " + verb.sacrifice);
  }
  const auto copied = vm.last.find(std::string(to_string(OpKind::vm_copy)));
  return fail(Errc::refused,
              fmt::format("the record does not list the legs on {} as in sync: writes that the guest saw confirmed may "
                          "exist on {} only{}. Bring {} back first, or give those writes up by name: --sacrifice {}",
                          target, lost,
                          copied == vm.last.end() ? "" : ", those since the last copy was made (see `hostctl vm show`)",
                          lost, lost));
}
}  // namespace

Result<Plan> Planner::operator()(const FailoverVm& verb) const {
  auto found = find_vm(view, verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project, true); !r) return r.error();
  if (vm.right.revision == 0) return no_right();
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
  if (!verb.sacrifice.empty() && request.caller.role != Role::operator_) {
    return fail(Errc::forbidden, "only an operator gives up data");
  }
  if (auto r = check_sacrifice(vm, verb, target); !r) return r.error();
  if (!verb.sacrifice.empty() && !verb.host_is_off && !known_off(view, lost)) {
    return fail(Errc::refused, "host " + lost +
                                   " does not stop a VM that no other host is in sync with, however long it is "
                                   "silent: its power must be confirmed off, or stated to be (--host-is-off)");
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
  if (!verb.sacrifice.empty()) {
    p.operation.result["sacrificed"] = verb.sacrifice;
  }
  add(s, StepKind::take_right, target);
  add(s, StepKind::promote, target);
  add(s, StepKind::start_domain, target);
  if (replicates(vm.spec.value.protection)) add(s, StepKind::connect, target);
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

namespace {
/// What a migration does not ask by itself; everything that is red is said at once.
Result<> check_ready_for_failback(const CellView& view, const VmView& vm, const std::string& target) {
  std::vector<std::string> red;
  for (const auto& check : failback_readiness(view, vm, target)) {
    if (!check.ready) red.push_back(check.what + ": " + check.text);
  }
  if (red.empty()) return {};
  return fail(Errc::refused,
              fmt::format("VM {} is not ready to go back to {}: {}", vm.spec.value.name, target, fmt::join(red, "; ")));
}
}  // namespace

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
  if (auto r = check_ready_for_failback(view, vm, target); !r) return r.error();
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

Result<Plan> Planner::operator()(const ProveWatchdog& verb) const {
  if (auto r = allowed(false, {}); !r) return r.error();
  const HostView* host = view.host(verb.host);
  if (host == nullptr) return fail(Errc::not_found, "there is no host '" + verb.host + "'");
  if (auto r = check_host_alive(view, verb.host); !r) return r.error();
  // The machine goes down in the middle of whatever it does.
  if (host->maintenance.revision == 0) {
    return fail(Errc::conflict, "host " + verb.host +
                                    " is not in maintenance: its machine will be reset. `hostctl host "
                                    "maintenance " +
                                    verb.host + " on` moves its VMs away first");
  }
  for (const auto& [name, vm] : view.vms) {
    const auto status = vm.status.find(verb.host);
    const bool runs = status != vm.status.end() && status->second.domain != DomainState::absent;
    if (runs || (vm.right.revision != 0 && vm.right.value.host == verb.host && vm.spec.value.power == Power::on)) {
      return fail(Errc::conflict, "VM " + name + " is on host " + verb.host + ": move or stop it first");
    }
  }
  for (const auto& [id, op] : view.operations) {
    if (finished(op.value.state)) continue;
    const auto step = std::ranges::find_if(op.value.steps, [&](const Step& x) { return x.host == verb.host; });
    if (step != op.value.steps.end()) {
      return fail(Errc::conflict, "operation " + id + " works on host " + verb.host + "; wait for it");
    }
  }
  Plan p;
  p.operation.kind = OpKind::watchdog_prove;
  p.operation.target_host = verb.host;
  p.object = "host/" + verb.host;
  add(p.operation.steps, StepKind::prove_watchdog, verb.host);
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
