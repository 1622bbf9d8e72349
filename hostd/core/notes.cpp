#include "hostd/core/notes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/right.hpp"

namespace bascule::core {

std::optional<std::string> distrust(const Notes& notes, const std::string& vm, const Right& right, Revision revision) {
  const auto it = notes.vms.find(vm);
  if (it == notes.vms.end()) return std::nullopt;
  const VmNote& note = it->second;
  if (revision >= note.revision && right.epoch >= note.epoch) return std::nullopt;
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
  const VmNote& note = it->second;
  return std::ranges::find(note.failed, leg->id) != note.failed.end() ||
         std::ranges::find(note.lost, volume) != note.lost.end();
}

std::optional<std::string> failed_legs(const Notes& notes, const std::string& vm, const Layout& layout,
                                       const std::string& host) {
  for (std::size_t i = 0; i < layout.volumes.size(); ++i) {
    if (!leg_noted(notes, vm, layout, i, host)) continue;
    return "the leg of volume " + layout.volumes[i].name + " on " + host +
           " has lost its disk before: writes may be missing on it";
  }
  return std::nullopt;
}

std::optional<Notes> noted(const Notes& notes, const std::string& vm, const Right& right, Revision revision) {
  const auto it = notes.vms.find(vm);
  const VmNote old = it == notes.vms.end() ? VmNote{} : it->second;
  if (revision <= old.revision) return std::nullopt;
  Notes next = notes;
  auto& note = next.vms[vm];
  note.epoch = std::max(old.epoch, right.epoch);
  note.revision = revision;
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
  const auto it = notes.vms.find(vm);
  const bool known = it != notes.vms.end() && std::ranges::find(it->second.failed, leg) != it->second.failed.end();
  if (known == failed) return std::nullopt;
  Notes next = notes;
  auto& list = next.vms[vm].failed;
  if (failed)
    list.push_back(leg);
  else
    std::erase(list, leg);
  return next;
}

}  // namespace bascule::core
