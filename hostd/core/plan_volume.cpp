// plan(): the verbs on volumes and images.
#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/names.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/planner.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core::planning {

Result<Plan> Planner::operator()(const GrowVolume& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project); !r) return r.error();
  const auto& volumes = vm.layout.value.volumes;
  const auto volume = std::ranges::find(volumes, verb.volume, &VolumeLayout::name);
  if (volume == volumes.end()) return fail(Errc::not_found, "VM " + verb.vm + " has no volume '" + verb.volume + "'");
  if (verb.size_mib == volume->size_mib) {
    Plan p = base(OpKind::volume_grow, vm);
    p.unchanged = true;
    return p;
  }
  if (verb.size_mib < volume->size_mib) {
    return fail(Errc::invalid, fmt::format("size_mib: the volume has {} MiB and cannot shrink", volume->size_mib));
  }
  if (verb.size_mib > Limits::volume_mib)
    return fail(Errc::invalid, fmt::format("size_mib: at most {}", Limits::volume_mib));
  const std::string& holder = vm.right.value.host;
  const std::string peer = other_host(vm.layout.value, holder);
  const std::uint64_t more = verb.size_mib - volume->size_mib;
  for (const auto& h : {holder, peer}) {
    if (auto r = check_host_alive(view, h); !r) return r.error();
    const std::uint64_t free = view.host(h)->info.value.pool_free_mib;
    if (free < more)
      return fail(Errc::exhausted,
                  fmt::format("the pool of host {} has {} MiB free, {} more are needed", h, free, more));
  }
  if (!insync_everywhere(vm.right.value, vm.layout.value, peer)) {
    return fail(Errc::conflict, "the volume is not in sync between the sites; wait for the resync to end");
  }
  Plan p = base(OpKind::volume_grow, vm);
  p.operation.object = verb.volume;
  p.operation.size_mib = verb.size_mib;
  add(p.operation.steps, StepKind::grow_leg, holder);
  add(p.operation.steps, StepKind::grow_leg, peer);
  add(p.operation.steps, StepKind::resize_drbd, holder);
  add(p.operation.steps, StepKind::resize_guest_disk, holder);
  add(p.operation.steps, StepKind::record_size, holder);
  add(p.operation.steps, StepKind::record_size, peer);
  return p;
}

Result<Plan> Planner::operator()(const VerifyVolume& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project, true); !r) return r.error();
  const auto& volumes = vm.layout.value.volumes;
  if (std::ranges::find(volumes, verb.volume, &VolumeLayout::name) == volumes.end()) {
    return fail(Errc::not_found, "VM " + verb.vm + " has no volume '" + verb.volume + "'");
  }
  const std::string peer = other_host(vm.layout.value, vm.right.value.host);
  for (const auto& h : {vm.right.value.host, peer}) {
    if (auto r = check_host_alive(view, h); !r) return r.error();
  }
  if (!insync_everywhere(vm.right.value, vm.layout.value, peer)) {
    return fail(Errc::conflict, "the volume is not in sync between the sites; there is nothing to compare yet");
  }
  Plan p = base(OpKind::volume_verify, vm);
  p.operation.object = verb.volume;
  add(p.operation.steps, StepKind::verify, vm.right.value.host);
  return p;
}

Result<Plan> Planner::operator()(const CopyVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project, true); !r) return r.error();
  if (vm.spec.value.protection != Protection::backup) {
    return fail(Errc::conflict, "VM " + verb.vm + " has protection '" +
                                    std::string(to_string(vm.spec.value.protection)) +
                                    "': only 'backup' keeps a cold copy");
  }
  const std::string& holder = vm.right.value.host;
  const std::string peer = other_host(vm.layout.value, holder);
  for (const auto& h : {holder, peer}) {
    if (auto r = check_host_alive(view, h); !r) return r.error();
  }
  Plan p = base(OpKind::vm_copy, vm);
  p.operation.target_host = peer;
  auto& s = p.operation.steps;
  // While the copy is brought up to date it is neither the old state nor the new one: the old one is kept beside it.
  add(s, StepKind::snapshot_leg, peer);
  add(s, StepKind::connect, holder);
  add(s, StepKind::connect, peer);
  add(s, StepKind::await_sync, holder);
  add(s, StepKind::cut_link, holder);
  return p;
}

Result<Plan> Planner::operator()(const RepairVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project); !r) return r.error();
  const std::string& holder = vm.right.value.host;
  const std::string peer = other_host(vm.layout.value, holder);
  if (vm.spec.value.protection == Protection::none) {
    return fail(Errc::conflict, "VM " + verb.vm + " has one leg: there is nothing to compare it with");
  }
  for (const auto& h : {holder, peer}) {
    if (auto r = check_host_alive(view, h); !r) return r.error();
    const auto status = vm.status.find(h);
    if (status != vm.status.end() && status->second.connection == "Connected") {
      return fail(Errc::conflict, "the legs of VM " + verb.vm + " are connected: DRBD resyncs them by itself");
    }
  }
  if (!insync_everywhere(vm.right.value, vm.layout.value, holder)) {
    return fail(Errc::refused, "the record does not list the legs on " + holder +
                                   " as in sync on every volume: nobody can say which leg is whole");
  }
  if (insync_everywhere(vm.right.value, vm.layout.value, peer)) {
    return fail(Errc::refused, "the record lists the legs on " + peer +
                                   " as in sync: they are not to be given up. Look at the link first");
  }
  Plan p = base(OpKind::volume_repair, vm);
  p.operation.source_host = holder;
  p.operation.target_host = peer;
  auto& s = p.operation.steps;
  for (const auto& h : {holder, peer}) add(s, StepKind::compare_legs, h);
  for (const auto& h : {holder, peer}) add(s, StepKind::snapshot_leg, h);
  add(s, StepKind::await_approval, holder);
  add(s, StepKind::discard_leg, peer);
  add(s, StepKind::connect, holder);
  add(s, StepKind::await_sync, holder);
  return p;
}

Result<Plan> Planner::operator()(const AdoptVm& verb) const {
  auto found = vm_for(verb.vm);
  if (!found) return found.error();
  const VmView& vm = **found;
  if (auto r = allowed(false, vm.spec.value.project); !r) return r.error();
  if (vm.right.revision != 0) {
    return fail(Errc::conflict, "VM " + verb.vm + " has a run-right, held by " + vm.right.value.host);
  }
  if (vm.restored.revision == 0) {
    return fail(Errc::conflict, "VM " + verb.vm + " was not restored from a backup: it is being created or removed");
  }
  const bool alone = vm.spec.value.protection == Protection::none;  // the second leg was never made
  const std::string other = alone ? std::string{} : other_host(vm.layout.value, verb.host);
  if (alone ? verb.host != vm.spec.value.nominal_host : other.empty()) {
    return fail(Errc::invalid, "host " + verb.host + " has no leg of VM " + verb.vm);
  }
  for (const auto& h : {verb.host, other}) {
    if (h.empty()) continue;
    if (auto r = check_host_alive(view, h); !r) return r.error();
    const auto status = vm.status.find(h);
    if (status != vm.status.end() && status->second.domain != DomainState::absent) {
      return fail(Errc::conflict, "a guest of VM " + verb.vm + " is on " + h + ": end it there first");
    }
  }
  Plan p = base(OpKind::vm_adopt, vm);
  p.operation.source_host = other;
  p.operation.target_host = verb.host;
  auto& s = p.operation.steps;
  for (const auto kind : {StepKind::survey_legs, StepKind::snapshot_leg}) {
    add(s, kind, verb.host);
    if (!alone) add(s, kind, other);
  }
  add(s, StepKind::await_approval, verb.host);
  if (!alone) add(s, StepKind::confirm_legs, other);
  add(s, StepKind::adopt_right, verb.host);
  return p;
}

Result<Plan> Planner::operator()(const ImportImage& verb) const {
  if (auto r = allowed(false, {}); !r) return r.error();
  if (auto r = check_name("name", verb.image.name); !r) return r.error();
  Plan p;
  p.object = "image/" + verb.image.name;
  p.operation.kind = OpKind::image_import;
  p.operation.object = verb.image.name;
  p.operation.source_host = verb.image.host;
  const auto existing = view.images.find(verb.image.name);
  if (existing != view.images.end()) {
    if (existing->second.value.sha256 == verb.image.sha256) {
      p.unchanged = true;
      return p;
    }
    return fail(Errc::conflict, "an image '" + verb.image.name +
                                    "' with other content exists; images do not change. "
                                    "Choose another name or remove it first");
  }
  p.image = verb.image;
  return p;
}

Result<Plan> Planner::operator()(const RemoveImage& verb) const {
  if (auto r = allowed(false, {}); !r) return r.error();
  const auto it = view.images.find(verb.image);
  if (it == view.images.end()) return fail(Errc::not_found, "there is no image '" + verb.image + "'");
  for (const auto& [id, op] : view.operations) {
    if (op.value.kind != OpKind::vm_create || finished(op.value.state)) continue;
    return fail(Errc::conflict, "operation " + id + " creates a VM and may be reading images; wait for it");
  }
  if (auto r = check_host_alive(view, it->second.value.host); !r) return r.error();
  Plan p;
  p.object = "image/" + verb.image;
  p.operation.kind = OpKind::image_remove;
  p.operation.object = verb.image;
  p.operation.source_host = it->second.value.host;
  add(p.operation.steps, StepKind::remove_image, it->second.value.host);
  return p;
}

}  // namespace bascule::core::planning
