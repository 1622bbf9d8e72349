#include "storage/resource_state.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace bascule::storage {
namespace {
using core::Errc;
using core::fail;
using core::Result;

bool listed(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == word) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

/// Figures are of the moment in which a line is sent, also in the dump.
ResourceState without_figures(ResourceState state) {
  for (auto& [index, volume] : state.volumes) volume.size_kib = volume.out_of_sync_kib = 0;
  return state;
}

void forget_peer(ResourceState& state) {
  state.connection = Connection::stand_alone;
  state.peer_role = Role::unknown;
  for (auto& [index, volume] : state.volumes) {
    volume.peer_disk = Disk::unknown;
    volume.replication = Replication::off;
  }
}
}  // namespace

template <class T, class Parse>
void ResourceTable::set(T& target, const Event& event, std::string_view key, Parse parse) {
  const auto text = event.find(key);
  if (!text) return;
  if (const auto value = parse(*text)) {
    target = *value;
  } else {
    target = T::unknown;  // a word we do not know must never keep an old, better state alive
    ++counters_.unknown_values;
  }
}

void ResourceTable::set_number(std::uint64_t& target, const Event& event, std::string_view key) {
  if (!event.find(key)) return;
  if (const auto value = event.number(key)) {
    target = *value;
  } else {
    ++counters_.unknown_values;
  }
}

ResourceTable::Applied ResourceTable::apply(std::string_view line) {
  ++counters_.lines;
  const auto event = parse_event(line);
  if (!event) {
    ++counters_.malformed;
    return {};
  }
  return apply(*event);
}

/// The kernel takes the dump's picture first and sends it piece by piece, between what happens meanwhile
/// (get_initial_state in its drbd_nl.c). An `exists` that comes after another line of its object may thus be older than
/// that line, and drbdsetup prints what follows as the difference to it.
bool ResourceTable::told_before(const Event& event) {
  if (complete_) return false;
  std::string object = fmt::format("{} {} {}", static_cast<int>(event.object), event.find("name").value_or(""),
                                   event.find("volume").value_or(""));
  const bool full = told_.size() >= max_resources;
  if (event.action == EventAction::exists) return full || told_.contains(object);
  if (!full) told_.insert(std::move(object));
  return false;
}

ResourceTable::Applied ResourceTable::apply(const Event& event) {
  if (event.action == EventAction::skipped || event.action == EventAction::rename) {
    return {.restart_needed = true, .why = "DRBD dropped notifications"};
  }
  if (event.action == EventAction::unknown) {
    ++counters_.unknown_actions;
    return {};
  }
  if (event.object == EventObject::none) {
    if (event.action != EventAction::exists) return {};
    complete_ = true;
    told_.clear();
    return {.completed = true};
  }
  if (event.object == EventObject::unknown) {
    ++counters_.unknown_objects;
    return {};
  }
  if (event.object == EventObject::path || event.object == EventObject::helper) return {};
  const bool stale = told_before(event);
  const std::string_view name = event.find("name").value_or("");
  if (event.object == EventObject::resource && event.action == EventAction::destroy) {
    const auto it = resources_.find(name);
    if (it == resources_.end()) return {};
    resources_.erase(it);
    return {.resource = std::string(name)};
  }
  // Nothing is born from the destruction of a part.
  if (event.action == EventAction::destroy && !find(name)) return {};
  ResourceState* state = slot(event);
  if (state == nullptr) return {};
  const ResourceState before = *state;
  switch (event.object) {
    case EventObject::resource: apply_resource(*state, event); break;
    case EventObject::connection: apply_connection(*state, event); break;
    case EventObject::device: apply_device(*state, event); break;
    case EventObject::peer_device: apply_peer_device(*state, event); break;
    case EventObject::path:
    case EventObject::helper:
    case EventObject::none:
    case EventObject::unknown: break;
  }
  if (*state == before) return {};
  if (stale && without_figures(*state) != without_figures(before))
    return {.restart_needed = true, .why = "DRBD's first picture is older than what it told meanwhile"};
  return {.resource = std::string(name)};
}

ResourceState* ResourceTable::slot(const Event& event) {
  const auto name = event.find("name");
  if (!name || name->empty() || name->size() > EventLimits::name_bytes) {
    ++counters_.malformed;
    return nullptr;
  }
  const auto it = resources_.find(*name);
  if (it != resources_.end()) return &it->second;
  if (resources_.size() >= max_resources) {
    ++counters_.dropped;
    return nullptr;
  }
  ResourceState state;
  state.name = std::string(*name);
  state.present = true;
  return &resources_.emplace(state.name, std::move(state)).first->second;
}

VolumeState* ResourceTable::volume_slot(ResourceState& state, const Event& event) {
  const auto index = event.number("volume");
  if (!index || *index > 65535) {
    ++counters_.malformed;
    return nullptr;
  }
  const auto key = static_cast<std::uint16_t>(*index);
  const auto it = state.volumes.find(key);
  if (it != state.volumes.end()) return &it->second;
  if (event.action == EventAction::destroy) return nullptr;
  if (state.volumes.size() >= max_volumes) {
    ++counters_.dropped;
    return nullptr;
  }
  return &state.volumes[key];
}

void ResourceTable::apply_resource(ResourceState& state, const Event& event) {
  set(state.role, event, "role", parse_role);
  if (const auto text = event.find("suspended")) {
    state.suspended = std::string(*text);
    state.suspended_fencing = listed(*text, "fencing");
    state.suspended_no_data = listed(*text, "no-data");
    state.suspended_user = listed(*text, "user");
    state.suspended_quorum = listed(*text, "quorum");
  }
}

void ResourceTable::apply_connection(ResourceState& state, const Event& event) {
  if (event.action == EventAction::destroy) {
    forget_peer(state);
    return;
  }
  if (const auto id = event.number("peer-node-id")) state.peer_id = static_cast<std::uint32_t>(*id);
  set(state.connection, event, "connection", parse_connection);
  set(state.peer_role, event, "role", parse_role);
}

void ResourceTable::apply_device(ResourceState& state, const Event& event) {
  VolumeState* volume = volume_slot(state, event);
  if (volume == nullptr) return;
  if (event.action == EventAction::destroy) {
    state.volumes.erase(static_cast<std::uint16_t>(*event.number("volume")));
    return;
  }
  std::uint64_t minor = volume->minor;
  set_number(minor, event, "minor");
  volume->minor = static_cast<std::uint32_t>(minor);
  set(volume->disk, event, "disk", parse_disk);
  set_number(volume->size_kib, event, "size");
}

void ResourceTable::apply_peer_device(ResourceState& state, const Event& event) {
  VolumeState* volume = volume_slot(state, event);
  if (volume == nullptr) return;
  if (event.action == EventAction::destroy) {
    volume->peer_disk = Disk::unknown;
    volume->replication = Replication::off;
    return;
  }
  set(volume->replication, event, "replication", parse_replication);
  set(volume->peer_disk, event, "peer-disk", parse_disk);
  set_number(volume->out_of_sync_kib, event, "out-of-sync");
  if (const auto text = event.find("resync-suspended")) volume->resync_suspended = std::string(*text);
}

const ResourceState* ResourceTable::find(std::string_view name) const {
  const auto it = resources_.find(name);
  return it == resources_.end() ? nullptr : &it->second;
}

ResourceState ResourceTable::get(std::string_view name) const {
  if (const auto* state = find(name)) return *state;
  ResourceState down;
  down.name = std::string(name);
  return down;
}

bool in_sync(const ResourceState& state, std::uint16_t index) {
  const auto it = state.volumes.find(index);
  if (!state.present || state.connection != Connection::connected || it == state.volumes.end()) return false;
  const VolumeState& volume = it->second;
  return volume.disk == Disk::up_to_date && volume.peer_disk == Disk::up_to_date &&
         volume.replication == Replication::established && volume.out_of_sync_kib == 0;
}

bool works_on_peer(const ResourceState& state, std::uint16_t index) {
  const auto it = state.volumes.find(index);
  if (!state.present || state.connection != Connection::connected || it == state.volumes.end()) return false;
  const VolumeState& volume = it->second;
  return state.role == Role::primary && volume.disk == Disk::diskless && volume.peer_disk == Disk::up_to_date &&
         volume.replication == Replication::established;
}

bool in_sync(const ResourceState& state, const Resource& resource) {
  return !resource.volumes.empty() &&
         std::ranges::all_of(resource.volumes, [&](const Volume& v) { return in_sync(state, v.index); });
}

namespace {
core::Error down_here(const ResourceState& state) {
  return fail(Errc::conflict, fmt::format("{} is down on this host; bring it up before it is promoted", state.name));
}

bool fit(Disk disk, Force force) {
  if (disk == Disk::consistent || disk == Disk::up_to_date) return true;
  return (disk == Disk::outdated && force == Force::outdated) || (disk == Disk::inconsistent && force == Force::fresh);
}

Result<> check_promotable(const VolumeState* volume, std::string_view what, Force force = Force::no) {
  const Disk disk = volume == nullptr ? Disk::diskless : volume->disk;
  if (!fit(disk, force)) {
    return fail(Errc::conflict,
                fmt::format("{} is {} here and must not be promoted; it was left as it is, use the other "
                            "leg or let it resync first",
                            what, to_string(disk)));
  }
  switch (volume->replication) {
    case Replication::off:
    case Replication::established:
    case Replication::verify_source:
    case Replication::verify_target:
    case Replication::sync_source:
    case Replication::paused_sync_source: return {};
    case Replication::unknown:
    case Replication::starting_sync_source:
    case Replication::starting_sync_target:
    case Replication::bitmap_source:
    case Replication::bitmap_target:
    case Replication::waiting_uuid:
    case Replication::sync_target:
    case Replication::paused_sync_target:
    case Replication::ahead:
    case Replication::behind: break;
  }
  return fail(Errc::conflict, fmt::format("{} is {} here and must not be promoted; wait for the resync to end", what,
                                          to_string(volume->replication)));
}
}  // namespace

Result<> check_promotable(const ResourceState& state, const Resource& resource, Force force) {
  if (!state.present) return down_here(state);
  for (const Volume& wanted : resource.volumes) {
    const auto it = state.volumes.find(wanted.index);
    const VolumeState* volume = it == state.volumes.end() ? nullptr : &it->second;
    auto ok = check_promotable(volume, fmt::format("volume {} of VM {}", wanted.name, resource.vm), force);
    if (!ok) return ok;
  }
  return {};
}

Result<> check_promotable(const ResourceState& state, Force force) {
  if (!state.present || state.volumes.empty()) return down_here(state);
  for (const auto& [index, volume] : state.volumes) {
    if (auto ok = check_promotable(&volume, fmt::format("volume {} of {}", index, state.name), force); !ok) return ok;
  }
  return {};
}

bool in_sync(const ResourceState& state) {
  return !state.volumes.empty() &&
         std::ranges::all_of(state.volumes, [&](const auto& v) { return in_sync(state, v.first); });
}

bool resyncing(const VolumeState& volume) {
  return volume.replication >= Replication::starting_sync_source &&
         volume.replication <= Replication::paused_sync_target;
}

bool verifying(const VolumeState& volume) {
  return volume.replication == Replication::verify_source || volume.replication == Replication::verify_target;
}

ResyncMeter::Progress ResyncMeter::update(const ResourceState& state, std::uint64_t now_ms) {
  Progress progress;
  for (const auto& [index, volume] : state.volumes) {
    progress.active = progress.active || resyncing(volume);
    progress.left_kib += volume.out_of_sync_kib;
  }
  if (!started_ && progress.left_kib == 0 && !progress.active) return progress;
  if (!started_) {
    started_ = true;
    first_ms_ = now_ms;
    first_left_kib_ = progress.left_kib;
  }
  total_kib_ = std::max(total_kib_, progress.left_kib);  // it may grow: new writes while disconnected
  progress.total_kib = total_kib_;
  if (total_kib_ == 0) {
    progress.percent = progress.active ? 0 : 100;
    return progress;
  }
  // 64 bits are enough: 16 TiB in KiB times 100 is far below.
  const std::uint64_t percent = (total_kib_ - progress.left_kib) * 100 / total_kib_;
  progress.percent = static_cast<int>(std::min<std::uint64_t>(percent, progress.left_kib > 0 ? 99 : 100));
  if (now_ms > first_ms_ && first_left_kib_ > progress.left_kib) {
    const std::uint64_t rate = (first_left_kib_ - progress.left_kib) * 1000 / (now_ms - first_ms_);
    progress.rate_kib_s = rate;
    if (rate > 0) progress.left_s = progress.left_kib / rate;
  }
  return progress;
}

}  // namespace bascule::storage
