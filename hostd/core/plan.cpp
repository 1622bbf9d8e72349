#include "hostd/core/plan.hpp"
#include "hostd/core/calendar.hpp"

#include <fmt/format.h>
#include <algorithm>

#include "hostd/core/four_eyes.hpp"
#include "hostd/core/names.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/planner.hpp"
#include "hostd/core/restore.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace planning {

/// The VM as the caller may see it: a client's foreign VM does not exist for it.
Result<const VmView*> Planner::vm_for(const std::string& name) const {
  auto found = find_vm(view, name);
  if (!found) return found;
  const VmView& vm = **found;
  if (request.caller.role == Role::client && !request.caller.owns(vm.spec.value.project)) {
    return fail(Errc::not_found, "there is no VM '" + name + "'");
  }
  if (request.if_match && *request.if_match != vm.spec.revision) {
    return fail(Errc::stale, fmt::format("the VM changed since you read it (revision {} now, {} then); nothing was "
                                         "changed. Read it again and decide",
                                         vm.spec.revision, *request.if_match));
  }
  if (vm.operation.revision != 0) {
    return fail(Errc::conflict, "operation " + vm.operation.value +
                                    " is at work on this VM; wait for it "
                                    "(hostctl op follow " +
                                    vm.operation.value + ") or cancel it");
  }
  return found;
}

Result<> Planner::allowed(bool client_too, const std::string& project, bool host_too) const {
  const auto& c = request.caller;
  if (c.role == Role::operator_) return {};
  // A host acts by the failover rules, or for the operator who wants it empty (maintenance).
  if (c.role == Role::host && host_too) return {};
  if (c.role == Role::client && client_too && c.owns(project)) return {};
  return fail(Errc::forbidden, "your role may not do this; an operator can");
}

Plan Planner::base(OpKind kind, const VmView& vm) const {
  Plan p;
  p.operation.kind = kind;
  p.operation.vm = vm.spec.value.name;
  p.operation.project = vm.spec.value.project;
  p.operation.source_host = vm.right.value.host;
  p.compare_spec = vm.spec.revision;
  p.object = "vm/" + vm.spec.value.name;
  return p;
}

Result<Plan> Planner::create(VmSpec spec) const {
  if (request.if_match) return fail(Errc::stale, "there is no VM '" + spec.name + "' any more");
  if (view.vms.size() >= Limits::vms) return fail(Errc::exhausted, "this cell has as many VMs as it may");
  if (auto r = place(view, spec, self); !r) return r.error();
  if (auto r = give_macs(view, spec); !r) return r.error();
  std::string first = spec.nominal_host;
  bool fill = false;
  for (const auto& v : spec.volumes) {
    if (v.image.empty()) continue;
    const auto image = view.images.find(v.image);
    if (image == view.images.end()) return fail(Errc::invalid, "volumes.image: there is no image '" + v.image + "'");
    const auto& i = image->second.value;
    if (i.host != spec.nominal_host && i.host != spec.peer_host) {
      return fail(Errc::invalid, "volumes.image: '" + i.name + "' is kept by host " + i.host +
                                     ", which has no leg of this VM; import it through " + spec.nominal_host);
    }
    if (fill && i.host != first) return fail(Errc::invalid, "volumes.image: the images are kept by different hosts");
    if ((i.size_bytes + 1048575) / 1048576 > v.size_mib) {
      return fail(Errc::invalid, fmt::format("volumes.size_mib of '{}': image '{}' needs {} MiB", v.name, i.name,
                                             (i.size_bytes + 1048575) / 1048576));
    }
    first = i.host;
    fill = true;
  }
  if (!replicates(spec.protection) && first != spec.nominal_host) {
    return fail(Errc::invalid, "volumes.image: with protection '" + std::string(to_string(spec.protection)) +
                                   "' the image must be kept by the VM's own host " + spec.nominal_host +
                                   "; import it through " + spec.nominal_host);
  }
  std::uint64_t need = 0;
  for (const auto& v : spec.volumes) need += v.size_mib;
  for (const auto& h : {spec.nominal_host, spec.peer_host}) {
    if (h == spec.peer_host && spec.protection == Protection::none) continue;
    const std::uint64_t free = view.host(h)->info.value.pool_free_mib;
    if (free < need) {
      return fail(Errc::exhausted,
                  fmt::format("the pool of host {} has {} MiB free, the volumes need {}", h, free, need));
    }
  }
  const std::uint64_t memory = free_memory_mib(view, spec.nominal_host, spec.name);
  if (spec.power == Power::on && memory < spec.memory_mib) {
    return fail(Errc::exhausted, fmt::format("host {} has {} MiB of memory free, the VM needs {}", spec.nominal_host,
                                             memory, spec.memory_mib));
  }
  Plan p;
  // The view's revision is new for every creation, so a leg id is never used twice.
  auto layout = lay_out(view, spec, fmt::format("l{:x}", view.revision));
  if (!layout) return layout.error();
  p.layout = std::move(*layout);
  p.operation.kind = OpKind::vm_create;
  p.operation.vm = spec.name;
  p.operation.project = spec.project;
  p.operation.source_host = first;
  p.object = "vm/" + spec.name;
  const std::string& second = first == spec.nominal_host ? spec.peer_host : spec.nominal_host;
  auto& steps = p.operation.steps;
  add(steps, StepKind::make_leg, first);
  if (spec.protection == Protection::none) {
    add(steps, StepKind::grant, first);
    add(steps, StepKind::seed_leg, first);
  } else {
    add(steps, StepKind::make_leg, second);
    add(steps, StepKind::connect, first);
    add(steps, StepKind::connect, second);
    add(steps, StepKind::skip_first_sync, first);
    add(steps, StepKind::grant, first);
  }
  if (replicates(spec.protection)) add(steps, StepKind::join_peer, first);
  if (fill) add(steps, StepKind::fill, first);
  if (spec.protection == Protection::backup) add(steps, StepKind::cut_link, first);
  if (first != spec.nominal_host) add(steps, StepKind::hand_over, first);
  if (spec.power == Power::on) add_start(steps, spec.nominal_host);
  p.spec = std::move(spec);
  return p;
}

/// A changed definition of a VM that exists: the differences that can be carried out, in a fixed order.
Result<Plan> Planner::update(const VmView& vm, VmSpec spec) const {
  const VmSpec& now = vm.spec.value;
  if (spec.nominal_host.empty()) spec.nominal_host = now.nominal_host;
  if (spec.peer_host.empty()) spec.peer_host = now.peer_host;
  if (spec.nics.size() == now.nics.size()) {
    for (std::size_t i = 0; i < spec.nics.size(); ++i) {
      if (spec.nics[i].mac.empty()) spec.nics[i].mac = now.nics[i].mac;
    }
  }
  if (spec == now) {
    Plan p = base(OpKind::vm_update, vm);
    p.unchanged = true;
    return p;
  }
  if (spec.project != now.project) return fail(Errc::invalid, "project: cannot be changed");
  if (spec.nominal_host != now.nominal_host || spec.peer_host != now.peer_host) {
    return fail(Errc::invalid, "hosts: cannot be changed by a definition; use migrate");
  }
  if (spec.protection != now.protection &&
      (spec.protection == Protection::none || now.protection == Protection::none)) {
    return fail(Errc::invalid, "protection: a VM with one leg stays so, and one with two keeps them; make a new VM");
  }
  if (spec.volumes.size() != now.volumes.size()) return fail(Errc::invalid, "volumes: cannot be added or removed yet");
  const bool off = domain_state(vm) == DomainState::absent;
  const bool hardware = spec.cpus != now.cpus || spec.memory_mib != now.memory_mib || spec.nics != now.nics ||
                        spec.restart_on_panic != now.restart_on_panic;
  if (hardware && !off) {
    return fail(Errc::conflict,
                "cpus, memory, networks and restart_on_panic change only while the VM is off; stop it first");
  }
  if (auto r = give_macs(view, spec); !r) return r.error();
  Plan p = base(OpKind::vm_update, vm);
  auto& op = p.operation;
  for (std::size_t i = 0; i < spec.volumes.size(); ++i) {
    const auto& want = spec.volumes[i];
    const auto& have = now.volumes[i];
    if (want.name != have.name || want.image != have.image) {
      return fail(Errc::invalid, "volumes: name and image of '" + have.name + "' cannot be changed");
    }
    if (want.size_mib < have.size_mib) return fail(Errc::invalid, "volumes: '" + have.name + "' cannot shrink");
    if (want.size_mib == have.size_mib) continue;
    return fail(Errc::invalid, "volumes: grow '" + have.name + "' with `hostctl volume grow`, one at a time");
  }
  if (spec.power != now.power) {
    if (spec.power == Power::on) {
      if (auto r = check_start(view, vm, spec.memory_mib); !r) return r.error();
      add_start(op.steps, vm.right.value.host);
    } else {
      if (auto r = check_host_alive(view, vm.right.value.host); !r) return r.error();
      add(op.steps, StepKind::shutdown, vm.right.value.host);
      add(op.steps, StepKind::demote, vm.right.value.host);
    }
  }
  op.restore = now;
  // A wish to stop is written at once, so that it defeats a takeover; a wish to run only when the VM runs.
  if (spec.power == Power::on && now.power == Power::off) {
    op.spec = spec;
    spec.power = Power::off;
    if (spec == now) return p;
  }
  p.spec = std::move(spec);
  return p;
}

Result<Plan> Planner::operator()(const PutVm& verb) const {
  if (auto r = allowed(false, verb.spec.project); !r) return r.error();
  if (auto r = check_spec(verb.spec); !r) return r.error();
  VmSpec spec = verb.spec;
  if (spec.protection == Protection::backup && spec.copy_at.empty()) spec.copy_at = {kCopyAt};
  const VmView* existing = view.vm(spec.name);
  if (existing == nullptr || existing->spec.revision == 0) return create(std::move(spec));
  if (request.if_none_match) return fail(Errc::stale, "a VM '" + verb.spec.name + "' exists already");
  auto vm = vm_for(verb.spec.name);
  if (!vm) return vm.error();
  return update(**vm, std::move(spec));
}

Result<Plan> Planner::operator()(const StartVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(true, vm.spec.value.project); !r) return r.error();
  Plan p = base(OpKind::vm_start, vm);
  VmSpec wanted = vm.spec.value;
  wanted.power = Power::on;
  if (verb.with_failed_disk) {
    if (request.caller.role != Role::operator_) {
      return fail(Errc::forbidden, "only an operator may say that a leg is used although its disk has failed");
    }
    p.operation.result["with_failed_disk"] = "yes";
  }
  // The first step of a start brings its disk back; the guest, which waits for it, goes on by itself.
  if (verb.with_failed_disk && waits_for_disk(vm)) {
    if (auto r = check_host_alive(view, vm.right.value.host); !r) return r.error();
    if (auto r = claim(vm.right.value, vm.layout.value, vm.right.value.host); !r) return r.error();
    add(p.operation.steps, StepKind::admit_start, vm.right.value.host);
    p.operation.spec = std::move(wanted);
    return p;
  }
  if (verb.with_failed_disk && domain_state(vm) != DomainState::absent) {
    return fail(Errc::conflict, "its guest does not wait for a disk, as host " + vm.right.value.host +
                                    " last told; nothing was changed");
  }
  if (domain_state(vm) == DomainState::running) {
    // It may run although it should not: a stop that ended half-way. Then only the wish is written.
    p.unchanged = vm.spec.value.power == Power::on;
    if (!p.unchanged) p.spec = std::move(wanted);
    return p;
  }
  if (auto r = check_start(view, vm, wanted.memory_mib); !r) return r.error();
  add_start(p.operation.steps, vm.right.value.host);
  p.operation.spec = std::move(wanted);
  return p;
}

Result<Plan> Planner::stop(const std::string& name, OpKind kind, StepKind step) const {
  auto found = vm_for(name);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(true, vm.spec.value.project); !r) return r.error();
  Plan p = base(kind, vm);
  const std::string& host = vm.right.value.host;
  if (domain_state(vm) == DomainState::absent && vm.spec.value.power == Power::off) {
    p.unchanged = true;
    return p;
  }
  if (auto r = check_host_alive(view, host); !r) return r.error();
  add(p.operation.steps, step, host);
  add(p.operation.steps, StepKind::demote, host);
  p.spec = vm.spec.value;
  p.spec->power = Power::off;
  p.operation.restore = vm.spec.value;
  return p;
}
Result<Plan> Planner::operator()(const ShutdownVm& verb) const {
  return stop(verb.vm, OpKind::vm_shutdown, StepKind::shutdown);
}
Result<Plan> Planner::operator()(const PowerOffVm& verb) const {
  return stop(verb.vm, OpKind::vm_power_off, StepKind::destroy);
}

Result<Plan> Planner::operator()(const ResetVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(true, vm.spec.value.project); !r) return r.error();
  if (domain_state(vm) != DomainState::running) return fail(Errc::conflict, "the VM is not running; start it instead");
  if (auto r = check_host_alive(view, vm.right.value.host); !r) return r.error();
  Plan p = base(OpKind::vm_reset, vm);
  add(p.operation.steps, StepKind::reset, vm.right.value.host);
  return p;
}

Result<Plan> Planner::operator()(const MigrateVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project, true); !r) return r.error();
  const std::string source = vm.right.value.host;
  const std::string target = verb.target.empty() ? other_host(vm.layout.value, source) : verb.target;
  return migration(OpKind::vm_migrate, vm, target, verb.policy);
}

/// The saga of a live migration, as every verb that moves a running guest plans it.
Result<Plan> Planner::migration(OpKind kind, const VmView& vm, const std::string& target,
                                const std::string& asked_policy) const {
  const std::string source = vm.right.value.host;
  const std::string policy = asked_policy.empty() ? vm.spec.value.migration_policy : asked_policy;
  if (migration_policy(policy) == nullptr) return fail(Errc::invalid, "policy: gentle, standard or must-finish");
  if (auto r = check_migration(view, vm, target); !r) return r.error();
  Plan p = base(kind, vm);
  p.operation.target_host = target;
  p.operation.object = policy;
  auto& s = p.operation.steps;
  add(s, StepKind::admit_migration, source);
  add(s, StepKind::mark_migration, source);
  add(s, StepKind::prepare_target, target);
  add(s, StepKind::open_window, source);
  add(s, StepKind::promote_target, target);
  add(s, StepKind::live_migrate, source);
  add(s, StepKind::resume_target, target);
  add(s, StepKind::demote_source, source);
  add(s, StepKind::close_window, target);
  add(s, StepKind::confirm, target);
  return p;
}

Result<Plan> Planner::operator()(const ResizeVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  VmSpec spec = (*found)->spec.value;
  if (auto r = allowed(false, spec.project); !r) return r.error();
  if (verb.cpus != 0) spec.cpus = verb.cpus;
  if (verb.memory_mib != 0) spec.memory_mib = verb.memory_mib;
  if (auto r = check_spec(spec); !r) return r.error();
  return update(**found, spec);
}

Result<Plan> Planner::operator()(const RemoveVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project); !r) return r.error();
  for (const auto& [host, status] : vm.status) {
    if (status.domain != DomainState::absent) {
      return fail(Errc::conflict, "the VM still runs on " + host + "; stop it first. Removal erases its volumes");
    }
  }
  Plan p = base(OpKind::vm_remove, vm);
  const std::string& a = vm.spec.value.nominal_host;
  const std::string& b = vm.spec.value.peer_host;
  for (const auto& host : {a, b}) {
    if (auto r = check_host_alive(view, host); !r) return r.error();
  }
  if (vm.spec.value.power == Power::on) {
    p.spec = vm.spec.value;
    p.spec->power = Power::off;
    p.operation.restore = vm.spec.value;
  }
  const std::string& holder = vm.right.revision != 0 ? vm.right.value.host : a;
  add(p.operation.steps, StepKind::drop_right, holder);
  add(p.operation.steps, StepKind::remove_leg, a);
  add(p.operation.steps, StepKind::remove_leg, b);
  return p;
}

}  // namespace planning

Result<Plan> plan(const CellView& view, const Request& request, const std::string& self) {
  if (auto r = check_reason(request.reason); !r) return r.error();
  if (!view.synced) {
    return fail(Errc::unavailable, "this host has not heard from etcd yet, or lost it; nothing was changed. Ask "
                                   "another host or try again");
  }
  if (auto busy = restore_at_work(view)) return *busy;
  const auto unfinished =
      std::ranges::count_if(view.operations, [](const auto& o) { return !finished(o.second.value.state); });
  if (static_cast<std::size_t>(unfinished) >= kMaxUnfinishedOperations) {
    return fail(Errc::exhausted, "too many operations are at work; try again when some have ended");
  }
  auto made = std::visit(planning::Planner{view, request, self}, request.verb);
  if (made) wait_for_second(*made, view, request, self);
  return made;
}

}  // namespace bascule::core
