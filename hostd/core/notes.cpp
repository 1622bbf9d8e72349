#include "hostd/core/notes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/right.hpp"

namespace bascule::core {

std::optional<std::string> distrust(const Notes& notes, const std::string& vm, const Right& right, Revision revision) {
  const auto it = notes.vms.find(vm);
  if (it == notes.vms.end()) return std::nullopt;
  const VmNote& note = it->second;
  // Of a lost cluster, whose revisions say nothing here (`in_new_cluster`): a record that was copied from it may be
  // older than what this host has seen at the same epoch, an adoption is above it.
  const bool lost_cluster = note.revision == 0 && note.epoch != 0;
  if (lost_cluster && right.epoch > note.epoch) return std::nullopt;
  if (!lost_cluster && revision >= note.revision && right.epoch >= note.epoch) return std::nullopt;
  return fmt::format(
      "this host has seen a newer run-right (epoch {}, revision {}) than etcd holds now (epoch {}, revision "
      "{}): etcd has gone back in time. Nothing is started from it; see docs/failover.md",
      note.epoch, note.revision, right.epoch, revision);
}

bool leg_noted(const Notes& notes, const std::string& vm, const Layout& layout, std::size_t volume,
               const std::string& host) {
  const auto it = notes.vms.find(vm);
  if (it == notes.vms.end() || volume >= layout.volumes.size()) return false;
  const Leg* leg = leg_of(layout.volumes[volume], host);
  if (leg == nullptr) return false;
  return failed_leg(notes, vm, leg->id) || std::ranges::find(it->second.lost, volume) != it->second.lost.end();
}

std::optional<std::string> failed_legs(const Notes& notes, const std::string& vm, const Layout& layout,
                                       const std::string& host) {
  for (std::size_t i = 0; i < layout.volumes.size(); ++i) {
    if (!leg_noted(notes, vm, layout, i, host)) continue;
    return "the leg of volume " + layout.volumes[i].name + " on " + host +
           " has lost its disk before: writes may be missing on it. It comes back by a resync from another leg; "
           "where the record lists none and the disk answers again, a person may say `hostctl vm start " +
           vm + " --with-failed-disk`";
  }
  return std::nullopt;
}

bool failed_leg(const Notes& notes, const std::string& vm, const std::string& leg) {
  const auto it = notes.vms.find(vm);
  return it != notes.vms.end() && std::ranges::find(it->second.failed, leg) != it->second.failed.end();
}

namespace {
/// Whose legs the record lists beside this host's own; one volume is enough to count.
std::optional<std::vector<std::string>> others_of(const Right& right, const std::string& self) {
  if (right.host != self) return std::nullopt;
  std::set<std::string> hosts;
  for (const auto& [volume, legs] : right.insync) {
    for (const auto& leg : legs) {
      if (leg.host != self) hosts.insert(leg.host);
    }
  }
  return std::vector<std::string>(hosts.begin(), hosts.end());
}
}  // namespace

std::optional<Notes> noted(const Notes& notes, const std::string& vm, const std::string& self, const Right& right,
                           Revision revision) {
  const auto it = notes.vms.find(vm);
  const VmNote old = it == notes.vms.end() ? VmNote{} : it->second;
  const auto others = others_of(right, self);
  // The same record again says nothing of a write that was sent on it and may yet add a host, unless it lists one
  // already: a VM has legs on two hosts.
  const bool learns = revision == old.revision && !old.others && others && !others->empty();
  if (revision <= old.revision && !learns) return std::nullopt;
  Notes next = notes;
  auto& note = next.vms[vm];
  note.epoch = std::max(old.epoch, right.epoch);
  note.revision = revision;
  note.others = others;
  return next;
}

Notes noted_adding(const Notes& notes, const std::string& vm, const std::string& self, const Right& right,
                   Revision revision, const std::string& other) {
  Notes next = noted(notes, vm, self, right, revision).value_or(notes);
  auto& others = next.vms[vm].others;
  if (others && std::ranges::find(*others, other) == others->end()) others->push_back(other);
  return next;
}

std::optional<Notes> noted_addresses(const Notes& notes, std::map<std::string, std::string> addresses) {
  if (notes.addresses == addresses) return std::nullopt;
  Notes next = notes;
  next.addresses = std::move(addresses);
  return next;
}

Notes in_new_cluster(const Notes& notes) {
  Notes next = notes;
  next.cluster_id = 0;
  next.highest = 0;
  // safety: R6. A revision says something within its cluster alone; what counts across clusters is the epoch, which an
  // adoption sets above every noted one, and a record put back from a copy does not. [model: W_joins]
  for (auto& [name, note] : next.vms) note.revision = 0;
  return next;
}

std::optional<Notes> forgotten(const Notes& notes, const std::string& vm) {
  if (!notes.vms.contains(vm)) return std::nullopt;
  Notes next = notes;
  next.vms.erase(vm);
  return next;
}

std::optional<Notes> disk_lost(const Notes& notes, const std::string& vm, std::uint16_t volume) {
  const auto it = notes.vms.find(vm);
  if (it != notes.vms.end() && std::ranges::find(it->second.lost, volume) != it->second.lost.end()) return std::nullopt;
  Notes next = notes;
  next.vms[vm].lost.push_back(volume);
  return next;
}

std::optional<Notes> legs_named(const Notes& notes, const std::string& vm, const Layout& layout,
                                const std::string& host) {
  const auto it = notes.vms.find(vm);
  if (it == notes.vms.end() || it->second.lost.empty() || layout.volumes.empty()) return std::nullopt;
  Notes next = notes;
  for (const auto volume : it->second.lost) {
    const Leg* leg = volume < layout.volumes.size() ? leg_of(layout.volumes[volume], host) : nullptr;
    if (leg == nullptr) continue;  // no such volume here any more
    if (auto named = leg_failed(next, vm, leg->id, true)) next = std::move(*named);
  }
  next.vms[vm].lost.clear();
  return next;
}

std::optional<Notes> leg_failed(const Notes& notes, const std::string& vm, const std::string& leg, bool failed) {
  if (failed_leg(notes, vm, leg) == failed) return std::nullopt;
  Notes next = notes;
  auto& list = next.vms[vm].failed;
  if (failed)
    list.push_back(leg);
  else
    std::erase(list, leg);
  return next;
}

}  // namespace bascule::core
