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

std::optional<std::string> failed_legs(const Notes& notes, const std::string& vm, const Layout& layout,
                                       const std::string& host) {
  const auto it = notes.vms.find(vm);
  if (it == notes.vms.end()) return std::nullopt;
  for (const auto& volume : layout.volumes) {
    const Leg* leg = leg_of(volume, host);
    if (leg != nullptr && std::ranges::find(it->second.failed, leg->id) != it->second.failed.end()) {
      return "the leg of volume " + volume.name + " on " + host +
             " has lost its disk before: writes may be missing on it";
    }
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
