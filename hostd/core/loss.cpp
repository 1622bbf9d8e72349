#include "hostd/core/loss.hpp"

#include <algorithm>

#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

LossVerdict verdict(LossVerdict::Kind kind, std::string sentence) {
  LossVerdict v;
  v.kind = kind;
  v.sentence = std::move(sentence);
  return v;
}

/// The first own disk that may not be gone on with; empty when all may.
std::string bad_disk(const VmView& vm, const LocalVm& local) {
  for (const auto& volume : vm.layout.value.volumes) {
    const auto seen = local.volumes.find(volume.name);
    const std::string disk = seen == local.volumes.end() ? "unknown" : seen->second.disk;
    // A frozen primary must have every write itself; a secondary that starts again after a reboot reads as Consistent,
    // and the record says whether that is all there was.
    const bool fit = disk == "UpToDate" || (local.role == "Secondary" && disk == "Consistent");
    if (!fit) return "the disk of volume " + volume.name + " is " + disk;
  }
  return {};
}

}  // namespace

LossVerdict decide_loss(const VmView& vm, const LocalVm& local, const std::string& self) {
  using Kind = LossVerdict::Kind;
  if (vm.layout.revision == 0 || vm.right.revision == 0) return verdict(Kind::lost, "the VM has no run-right");
  if (local.connection == "Connected") return verdict(Kind::over, "the peer is back");
  const Right& right = vm.right.value;
  if (right.host != self) {
    // A promotion for a migration: only the holder may win before the hand-over, and while this one waits the kernel
    // lets no link come back.
    if (right.migrating_to == self && local.role == "Secondary") {
      return verdict(Kind::lost, "the migration to this host has lost its link");
    }
    // The hand-over to this host may be on its way; only the holder may win before it.
    if (right.migrating_to == self) return verdict(Kind::wait, "a migration to this host is not settled yet");
    return verdict(Kind::lost, "the run-right is " + right.host + "'s");
  }
  if (right.migrating_to) {
    if (local.domain == DomainState::unknown)
      return verdict(Kind::wait, "libvirt has not said whether the guest is here");
    // The guest has left: it is the hand-over (H) that is due, not a win that would shut its new host out.
    if (local.domain == DomainState::absent)
      return verdict(Kind::wait, "the guest has left for " + *right.migrating_to);
  }
  // safety: R1. Only the holder, whom the record lists on every volume and whose own disks are whole. [model: R1_send]
  auto next = exclude_peer(right, vm.layout.value, self);
  if (!next) return verdict(Kind::lost, next.error().what);
  if (auto bad = bad_disk(vm, local); !bad.empty()) return verdict(Kind::lost, bad);
  LossVerdict win = verdict(Kind::win, "host " + self + " goes on without " + other_host(vm.layout.value, self));
  win.right = std::move(*next);
  win.revision = vm.right.revision;
  // safety: S4. `right` takes the mark away, and the other side may not hear of it before the link is back and its next
  // attempt to promote succeeds. Forbidden here, the kernels refuse each other until it has given up its part. Not
  // where a promotion here asks: it holds the kernel's lock, and no window outlives being Secondary. [model: S4_lost]
  win.closes_window = right.migrating_to.has_value() && local.role == "Primary";
  return win;
}

}  // namespace bascule::core
