#include "hostd/core/ha_care.hpp"

#include "hostd/core/calendar.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

const LastCare* last_care(const VmView& vm, const std::string& what) {
  const auto entry = vm.last.find(what);
  return entry == vm.last.end() ? nullptr : &entry->second;
}

/// Protection `backup`: the cold copy.
std::optional<CareDue> copy(const CellView& view, const VmView& vm, const HaFacts& facts, const std::string& self) {
  const auto& spec = vm.spec.value;
  // Away from home the other leg is what a person has given up, or not yet looked at: nothing touches it by itself.
  if (spec.protection != Protection::backup || self != spec.nominal_host) return {};
  const LastCare* last = last_care(vm, std::string(to_string(OpKind::vm_copy)));
  const HostView* peer = view.host(other_host(vm.layout.value, self));
  if (!copy_due(spec.copy_at, last, facts.wall) || peer == nullptr || !peer->alive()) return {};
  return CareDue{CopyVm{spec.name}, "its cold copy is due by the calendar (copy_at)"};
}

/// Online verify, of what is in sync.
std::optional<CareDue> compare(const VmView& vm, const LocalVm& local, const HaFacts& facts, bool peer_ready) {
  const auto& spec = vm.spec.value;
  if (!replicates(spec.protection) || local.connection != "Connected" || !peer_ready) return {};
  for (const auto& volume : vm.layout.value.volumes) {
    const LastCare* last = last_care(vm, std::string(to_string(OpKind::volume_verify)) + '.' + volume.name);
    if (!verify_due(facts.verify, last, facts.wall)) continue;
    return CareDue{VerifyVolume{spec.name, volume.name}, "its verify is due by the calendar ([verify] at)"};
  }
  return {};
}

}  // namespace

std::optional<CareDue> care_due(const CellView& view, const VmView& vm, const LocalVm& local, const HaFacts& facts,
                                bool peer_ready, const std::string& self) {
  if (auto due = copy(view, vm, facts, self)) return due;
  return compare(vm, local, facts, peer_ready);
}

}  // namespace bascule::core
