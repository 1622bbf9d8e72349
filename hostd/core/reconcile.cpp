#include "hostd/core/reconcile.hpp"

#include <algorithm>

#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

bool listed(const Right& right, const std::string& volume, const Leg& leg) {
  const auto it = right.insync.find(volume);
  return it != right.insync.end() && std::ranges::find(it->second, leg) != it->second.end();
}

Remedy simple(Remedy::Kind kind, std::string sentence) {
  Remedy r;
  r.kind = kind;
  r.sentence = std::move(sentence);
  return r;
}

Remedy commit(const VmView& vm, Right next, std::string sentence) {
  Remedy r = simple(Remedy::Kind::commit_right, std::move(sentence));
  r.right = std::move(next);
  r.revision = vm.right.revision;
  return r;
}

Remedy shrink(const VmView& vm, Right next, std::string sentence) {
  Remedy r = commit(vm, std::move(next), std::move(sentence));
  r.shrinks = true;
  return r;
}

bool frozen_by(const LocalVm& local, std::string_view why) { return local.suspended.find(why) != std::string::npos; }

/// R5: this host is not the holder and has attached its legs again: it leaves every in-sync list before it connects.
Remedy rejoin(const VmView& vm, const std::string& self) {
  Right next = vm.right.value;
  for (const auto& volume : vm.layout.value.volumes) {
    const Leg* leg = leg_of(volume, self);
    if (leg == nullptr) continue;
    auto without = remove_leg(next, volume.name, *leg);
    // The last in-sync leg is never taken out; then it is also the one that may not be resynced over, so it waits.
    if (!without) return simple(Remedy::Kind::none, without.error().what);
    next = std::move(*without);
  }
  Remedy r = commit(vm, std::move(next), "legs attached again: leaving the in-sync lists before connecting");
  r.clears_rejoin = true;
  return r;
}

/// R5: a leg that lost its disk comes back only while it is connected to one that is up to date.
bool may_attach_again(const VmView& vm, const LocalVm& local, const std::string& self) {
  if (local.connection != "Connected" || local.io_ended || local.attached_again >= kAttachAgain) return false;
  return std::ranges::any_of(vm.layout.value.volumes, [&](const VolumeLayout& volume) {
    const auto seen = local.volumes.find(volume.name);
    const Leg* own = leg_of(volume, self);
    // Out of the record first: whoever is primary must not count on a leg that lacks what it missed.
    return seen != local.volumes.end() && seen->second.disk == "Diskless" && seen->second.peer_disk == "UpToDate" &&
           own != nullptr && !listed(vm.right.value, volume.name, *own);
  });
}

/// R4 and R3, one volume and leg at a time; only the holder.
Remedy keep_lists(const VmView& vm, const LocalVm& local, const std::string& self) {
  const Right& right = vm.right.value;
  for (const auto& volume : vm.layout.value.volumes) {
    const auto seen = local.volumes.find(volume.name);
    if (seen == local.volumes.end()) continue;
    const auto& s = seen->second;
    const Leg* own = leg_of(volume, self);
    const Leg* peer = leg_of(volume, other_host(vm.layout.value, self));
    if (own == nullptr || peer == nullptr) continue;
    const bool connected = local.connection == "Connected";
    if (connected && s.peer_disk != "UpToDate" && s.peer_disk != "DUnknown" && listed(right, volume.name, *peer)) {
      if (auto next = remove_leg(right, volume.name, *peer)) {
        return shrink(vm, *next, "leg on " + peer->host + " is " + s.peer_disk + ": taken out of the in-sync list");
      }
    }
    if (s.disk != "UpToDate" && connected && s.peer_disk == "UpToDate" && listed(right, volume.name, *own)) {
      if (auto next = remove_leg(right, volume.name, *own)) {
        return shrink(vm, *next, "own leg is " + s.disk + ": taken out of the in-sync list");
      }
    }
    const bool both = connected && s.replication == "Established" && s.disk == "UpToDate" &&
                      s.peer_disk == "UpToDate" && s.out_of_sync_kib == 0;
    if (both && (!listed(right, volume.name, *peer) || !listed(right, volume.name, *own))) {
      Remedy r = simple(Remedy::Kind::add_back, "volume " + volume.name + " is in sync on both sites again");
      r.volume = volume.name;
      r.revision = vm.right.revision;
      return r;
    }
  }
  return {};
}

/// A VM whose other leg does not follow it. The link is open only while an operation refreshes the copy.
Remedy cold(const VmView& vm, const LocalVm& local, const std::string& self, bool holder) {
  const bool open = local.connection != "StandAlone" && !local.connection.empty();
  if (!holder) {
    // The holder has closed its side; while connected, closing is its business alone.
    return open && local.connection != "Connected" ? simple(Remedy::Kind::disconnect, "the holder has closed the link")
                                                   : Remedy{};
  }
  for (const auto& volume : vm.layout.value.volumes) {
    const Leg* peer = leg_of(volume, other_host(vm.layout.value, self));
    if (peer == nullptr || !listed(vm.right.value, volume.name, *peer)) continue;
    // Before the link is cut: no write may be confirmed here that a listed leg does not have.
    if (auto next = remove_leg(vm.right.value, volume.name, *peer)) {
      return commit(vm, *next, "the leg on " + peer->host + " is a cold copy now: taken out of the in-sync list");
    }
  }
  const bool whole = !local.volumes.empty() &&
                     std::ranges::all_of(local.volumes, [](const auto& v) { return v.second.disk == "UpToDate"; });
  // A holder that has lost its disk works over the link.
  if (open && whole) return simple(Remedy::Kind::disconnect, "no copy is being made: closing the link");
  if (frozen_by(local, "user")) return simple(Remedy::Kind::resume_io, "the I/O that was stopped for a copy goes on");
  return {};
}

}  // namespace

Remedy reconcile(const VmView& vm, const LocalVm& local, const std::string& self, bool holder_alive) {
  if (vm.operation.revision != 0 || vm.layout.revision == 0 || vm.right.revision == 0) return {};
  if (other_host(vm.layout.value, self).empty()) return {};
  const bool holder = vm.right.value.host == self;
  const bool here = local.domain == DomainState::running || local.domain == DomainState::paused ||
                    local.domain == DomainState::shutting_down;
  if (!holder && here && (frozen_by(local, "fencing") || frozen_by(local, "no-data")) &&
      local.connection != "Connected") {
    return simple(Remedy::Kind::fail_io, "a frozen copy is here, but the run-right is " + vm.right.value.host +
                                             "'s: its disks are taken away so that it can be ended");
  }
  if (!holder && here) {
    return simple(Remedy::Kind::destroy_domain,
                  "a copy runs here, but the run-right is " + vm.right.value.host + "'s: stopping it");
  }
  const Protection protection = vm.spec.value.protection;
  if (!holder && protection == Protection::none) return {};  // there is no leg here
  if (!local.up) return simple(Remedy::Kind::bring_up, "legs are down: attaching them");
  // The kernel closes a window only when one side is Secondary again: the side without a guest goes first.
  if (local.role == "Primary" && local.domain == DomainState::absent) {
    Remedy r = simple(Remedy::Kind::demote, "no guest runs here: demoting");
    r.needs_no_record = true;  // also while etcd is not reached: the other side may be waiting for it to take over
    return r;
  }
  if (local.two_primaries) return simple(Remedy::Kind::close_window, "no migration is at work: closing the window");
  if (!holder && local.io_ended && local.domain == DomainState::absent) {
    return simple(Remedy::Kind::take_down, "the copy is gone: its legs are brought up anew");
  }
  if (!replicates(protection)) {
    return cold(vm, local, self, holder);
  }
  if (local.connection == "StandAlone") {
    // With the holder silent this leg is not given up: it may be the one to go on from.
    if (!holder && local.rejoin_pending && !holder_alive) return {};
    if (!holder && local.rejoin_pending) return rejoin(vm, self);
    return simple(Remedy::Kind::connect, "connecting to the other site");
  }
  if (!holder && may_attach_again(vm, local, self)) {
    return simple(Remedy::Kind::attach_again,
                  "a disk that failed is attached again, to be resynced from the other leg");
  }
  if (!holder) return {};
  auto lists = keep_lists(vm, local, self);
  if (lists.kind != Remedy::Kind::none) return lists;
  // Before anything that may take long or fail: the guest waits for it.
  if (frozen_by(local, "user")) {
    return simple(Remedy::Kind::resume_io, "the record is true again: the I/O that was stopped for it goes on");
  }
  // First out of the record, then attached again.
  if (may_attach_again(vm, local, self)) {
    return simple(Remedy::Kind::attach_again,
                  "a disk that failed is attached again, to be resynced from the other leg");
  }
  return lists;
}

}  // namespace bascule::core
