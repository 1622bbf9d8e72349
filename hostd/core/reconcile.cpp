#include "hostd/core/reconcile.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/loss.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

bool listed(const Right& right, const std::string& volume, const Leg& leg) {
  const auto it = right.insync.find(volume);
  return it != right.insync.end() && std::ranges::find(it->second, leg) != it->second.end();
}

constexpr const char* kGoesOn = "the record is true again: the I/O that was stopped for it goes on";

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

/// R5: this host is not the holder and has attached its legs again: before it connects it leaves every in-sync list
/// that has another leg. Where its leg is the last, the holder is not in the list: it cannot go on alone, however late
/// a write of its own arrives, so the link may come back; without it nobody could ever run. The record is written in
/// any case.
Remedy rejoin(const VmView& vm, const std::string& self) {
  Right next = vm.right.value;
  for (const auto& volume : vm.layout.value.volumes) {
    const Leg* leg = leg_of(volume, self);
    if (leg == nullptr) continue;
    if (auto without = remove_leg(next, volume.name, *leg)) next = std::move(*without);
  }
  // safety: R5. Connected to a running primary before this is written, this leg could thaw it while the record still
  // lists what lacks its writes. [model: R5_leave]
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

/// A disk did not answer when the legs were brought up; nothing says that it ever failed. The holder's, or another
/// host's where nobody else has one.
bool missed_at_boot(const VmView& vm, const LocalVm& local, const std::string& self) {
  if (local.domain != DomainState::absent || local.failed_before || local.io_ended) return false;
  return std::ranges::any_of(vm.layout.value.volumes, [&](const VolumeLayout& volume) {
    const auto seen = local.volumes.find(volume.name);
    const Leg* own = leg_of(volume, self);
    if (seen == local.volumes.end() || seen->second.disk != "Diskless" || own == nullptr) return false;
    if (!listed(vm.right.value, volume.name, *own)) return false;
    return vm.right.value.host == self || vm.right.value.insync.at(volume.name).size() == 1;
  });
}

/// A hostd that was ended while it brought the legs up left the resource without some of its volumes.
bool half_made(const VmView& vm, const LocalVm& local) {
  return local.domain == DomainState::absent && local.role != "Primary" && !local.io_ended &&
         local.volumes.size() < vm.layout.value.volumes.size();
}

/// The last verify that came to an end found the legs of this volume different.
bool known_different(const VmView& vm, const std::string& volume) {
  const auto last = vm.last.find(std::string(to_string(OpKind::volume_verify)) + '.' + volume);
  return last != vm.last.end() && !last->second.good;
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
    // safety: R4. What has left UpToDate lacks the next write that is confirmed. Never for the sake of an own leg that
    // is no better: the other may be the one a person goes on from. [model: R4_shrink]
    const bool own_whole = s.disk == "UpToDate";
    if (connected && own_whole && s.peer_disk != "UpToDate" && s.peer_disk != "DUnknown" &&
        listed(right, volume.name, *peer)) {
      if (auto next = remove_leg(right, volume.name, *peer)) {
        return shrink(vm, *next, "leg on " + peer->host + " is " + s.peer_disk + ": taken out of the in-sync list");
      }
    }
    // Found by a verify: which leg is right nobody can say; the guest goes on with this one.
    if (connected && own_whole && s.peer_disk == "UpToDate" && s.replication == "Established" &&
        s.out_of_sync_kib != 0 && listed(right, volume.name, *peer)) {
      if (auto next = remove_leg(right, volume.name, *peer)) {
        return commit(vm, *next,
                      fmt::format("{} KiB of volume {} differ from the leg on {}: it is taken out of the in-sync "
                                  "list",
                                  s.out_of_sync_kib, volume.name, peer->host));
      }
    }
    if (s.disk != "UpToDate" && connected && s.peer_disk == "UpToDate" && listed(right, volume.name, *own)) {
      if (auto next = remove_leg(right, volume.name, *own)) {
        return shrink(vm, *next, "own leg is " + s.disk + ": taken out of the in-sync list");
      }
    }
    // The own disk failed after the resync of the other leg had ended and before the record could say so. The guest
    // works on that leg alone. Not where it is out of the record because a verify found it different: to DRBD it is
    // UpToDate all the same, and listed it would overwrite the own leg by itself. Which one is right a person says.
    if (local.role == "Primary" && connected && s.disk == "Diskless" && s.replication == "Established" &&
        s.peer_disk == "UpToDate" && !listed(right, volume.name, *peer) && listed(right, volume.name, *own) &&
        !known_different(vm, volume.name)) {
      Remedy r = simple(Remedy::Kind::swap_leg, "the own leg of volume " + volume.name + " is gone and the one on " +
                                                    peer->host + " has all of it: the record changes over to it");
      r.volume = volume.name;
      r.revision = vm.right.revision;
      return r;
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

/// R4, seen from the other side: the holder works without its disk, over the link to this one. Should its own hostd be
/// hung or dead, nobody else would take its leg out, and after a reset it would start from what that leg last had.
Remedy holder_lost_disk(const VmView& vm, const LocalVm& local, const std::string& self) {
  const Right& right = vm.right.value;
  if (local.connection != "Connected") return {};
  for (const auto& volume : vm.layout.value.volumes) {
    const auto seen = local.volumes.find(volume.name);
    const Leg* own = leg_of(volume, self);
    const Leg* theirs = leg_of(volume, right.host);
    if (seen == local.volumes.end() || own == nullptr || theirs == nullptr) continue;
    const auto& s = seen->second;
    if (s.disk != "UpToDate" || (s.peer_disk != "Diskless" && s.peer_disk != "Failed")) continue;
    if (!listed(right, volume.name, *own) || !listed(right, volume.name, *theirs)) continue;
    if (auto next = remove_leg(right, volume.name, *theirs)) {
      return commit(vm, *next, "the leg on " + theirs->host + " is " + s.peer_disk + ": taken out of the in-sync list");
    }
  }
  return {};
}

/// The guest's I/O stands still for the record, and the record is true.
Remedy go_on(const VmView& vm, const std::string& self, std::string sentence) {
  // safety: R4, S2. The kernel's resume lifts every stop at once: should the link be lost in that instant, the guest
  // goes on alone, so the record shuts the other legs out first. Written in any case, in the same remedy: an add-back
  // that is still on its way loses its compare, and none is begun before the I/O goes on. R3 adds them back.
  // [model: R4_resume]
  Remedy r = commit(vm, without_others(vm.right.value, vm.layout.value, self), std::move(sentence));
  r.kind = Remedy::Kind::resume_io;
  return r;
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
  if (frozen_by(local, "user")) return go_on(vm, self, "the I/O that was stopped for a copy goes on");
  return {};
}

/// The kernel asks once for each loss of the link (R1). Was its helper killed, or has it given up while nothing could
/// be decided, the guest would stand still until the link is back. Asked anew only where the answer would be yes. While
/// a migration is marked its own end comes first: the link it would be asked over must keep its setting.
bool question_lost(const VmView& vm, const LocalVm& local, const std::string& self) {
  return local.unasked && local.role == "Primary" && frozen_by(local, "fencing") && !local.failed_before &&
         !vm.right.value.migrating_to && decide_loss(vm, local, self).kind == LossVerdict::Kind::win;
}

Remedy ask_again() {
  return simple(Remedy::Kind::ask_again, "frozen without the other site, and nobody asks hostd any more: the kernel is "
                                         "made to ask again");
}

/// R1 and R4 do not wait for an operation, which may last: the record stays true, the guest goes on, and nothing else
/// is touched.
Remedy under_operation(const VmView& vm, const LocalVm& local, const std::string& self) {
  if (vm.right.revision == 0 || !local.up || !replicates(vm.spec.value.protection)) return {};
  if (vm.right.value.host != self) return holder_lost_disk(vm, local, self);
  auto lists = keep_lists(vm, local, self);
  if (lists.shrinks) return lists;
  if (question_lost(vm, local, self)) return ask_again();
  if (local.stopped_for_record && frozen_by(local, "user")) return go_on(vm, self, kGoesOn);
  return {};
}

}  // namespace

Remedy reconcile(const VmView& vm, const LocalVm& local, const std::string& self, bool holder_alive) {
  if (vm.layout.revision == 0 || vm.right.revision == 0) return {};
  if (vm.operation.revision != 0) return under_operation(vm, local, self);
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
  if (half_made(vm, local)) return simple(Remedy::Kind::bring_up, "not all legs are there: attaching them");
  // The kernel closes a window only when one side is Secondary again: the side without a guest goes first.
  if (local.role == "Primary" && local.domain == DomainState::absent) {
    Remedy r = simple(Remedy::Kind::demote, "no guest runs here: demoting");
    r.needs_no_record = true;  // also while etcd is not reached: the other side may be waiting for it to take over
    return r;
  }
  if (question_lost(vm, local, self)) return ask_again();
  if (local.two_primaries) return simple(Remedy::Kind::close_window, "no migration is at work: closing the window");
  if (!holder && local.io_ended && local.domain == DomainState::absent) {
    return simple(Remedy::Kind::take_down, "the copy is gone: its legs are brought up anew");
  }
  if (missed_at_boot(vm, local, self)) {
    return simple(Remedy::Kind::bring_up, "a disk that did not answer is looked for again");
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
  if (!holder) {
    if (auto lost = holder_lost_disk(vm, local, self); lost.kind != Remedy::Kind::none) return lost;
  }
  if (!holder && may_attach_again(vm, local, self)) {
    return simple(Remedy::Kind::attach_again,
                  "a disk that failed is attached again, to be resynced from the other leg");
  }
  if (!holder) return {};
  auto lists = keep_lists(vm, local, self);
  // A leg is not added back while the I/O stands still: that would be undone before it goes on.
  const bool adds =
      (lists.kind == Remedy::Kind::add_back || lists.kind == Remedy::Kind::swap_leg) && frozen_by(local, "user");
  if (lists.kind != Remedy::Kind::none && !adds) return lists;
  // Before anything that may take long or fail: the guest waits for it.
  if (frozen_by(local, "user")) return go_on(vm, self, kGoesOn);
  // First out of the record, then attached again.
  if (may_attach_again(vm, local, self)) {
    return simple(Remedy::Kind::attach_again,
                  "a disk that failed is attached again, to be resynced from the other leg");
  }
  return lists;
}

}  // namespace bascule::core
