#include <fmt/format.h>

#include <utility>

#include "storage/deadlines.hpp"
#include "storage/pool_adapter.hpp"
#include "storage/tool.hpp"

namespace bascule::storage {

using core::Errc;
using core::fail;
using core::Result;

namespace {

Task<> change(Argv argv, std::string what, milliseconds deadline = kLvmDeadline) {
  auto outcome = co_await run_tool(std::move(argv), Effect::changes, deadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal(what, *outcome);
  co_return Result<>{};
}

std::uint64_t mib(std::uint64_t bytes) { return bytes >> 20; }

}  // namespace

Task<std::uint64_t> PoolPort::free_mib() {
  auto room = co_await space();
  if (!room) co_return room.error();
  co_return room->free_mib;
}

std::unique_ptr<PoolPort> make_pool(const boost::asio::any_io_executor& executor, const PoolConfig& config) {
  BASCULE_CHECK(check(config).has_value());
  if (config.kind == PoolKind::loop) return std::make_unique<LoopPool>(executor, config);
  return std::make_unique<LvmPool>(executor, config);
}

LvmPool::LvmPool(const boost::asio::any_io_executor& executor, PoolConfig config)
    : config_(std::move(config)), turn_(executor) {}

Task<std::vector<LvInfo>> LvmPool::list() {
  auto argv = list_volumes(config_);
  auto outcome = co_await run_tool(std::move(argv), Effect::reads, kLvmDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal("listing the volume group " + config_.group, *outcome);
  co_return parse_lvs(outcome->out);
}

Task<PoolSpace> LvmPool::space_now(std::vector<LvInfo> volumes) {
  auto argv = list_group(config_);
  auto outcome = co_await run_tool(std::move(argv), Effect::reads, kLvmDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal("reading the volume group " + config_.group, *outcome);
  const auto group = parse_vgs(outcome->out, config_.group);
  if (!group) co_return group.error();
  co_return lvm_space(config_, *group, volumes);
}

Task<PoolSpace> LvmPool::space() {
  auto volumes = co_await list();
  if (!volumes) co_return volumes.error();
  co_return co_await space_now(std::move(*volumes));
}

Task<std::string> LvmPool::make_active(LvInfo volume) {
  if (!volume.active) {
    auto argv = activate_volume(config_, volume.name);
    auto done = co_await change(std::move(argv), "activating " + volume.name);
    if (!done) co_return done.error();
  }
  co_return volume_path(config_, volume.name);
}

Task<> LvmPool::finish(LvInfo volume, std::uint64_t zero_from, std::string add, std::string drop) {
  if (thick()) {
    // Thick space still holds what its last owner wrote, perhaps another client.
    auto path = co_await make_active(volume);
    if (!path) co_return path.error();
    auto argv = zero_device(*path, zero_from, zero_from > 0);
    auto zeroed =
        co_await change(std::move(argv), "zeroing " + *path, zeroing_deadline(mib(volume.size_bytes - zero_from)));
    if (!zeroed) co_return zeroed.error();
  }
  auto argv = retag_volume(config_, volume.name, add, drop);
  co_return co_await change(std::move(argv), "marking " + volume.name);
}

Task<std::string> LvmPool::create(LegName leg, std::uint64_t size_mib) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  const std::uint64_t needed = backing_mib(size_mib);
  auto volumes = co_await list();
  if (!volumes) co_return volumes.error();
  const LvInfo* there = find_lv(*volumes, *name);
  if (there == nullptr) {
    auto room = co_await space_now(*volumes);
    if (!room) co_return room.error();
    if (auto ok = check_room(config_, *room, needed); !ok) co_return ok.error();
    auto argv = create_volume(config_, *name, needed);
    auto made = co_await change(std::move(argv), "making " + *name);
    if (!made) co_return made.error();
    volumes = co_await list();  // LVM has rounded the size up
    if (!volumes) co_return volumes.error();
    there = find_lv(*volumes, *name);
    if (there == nullptr) co_return fail(Errc::io, *name + " was made but LVM does not list it; look at the pool");
  }
  if (mib(there->size_bytes) < needed || (!there->has_tag(kTagReady) && !there->has_tag(kTagNew))) {
    co_return fail(Errc::conflict,
                   fmt::format("{} exists with {} MiB (wanted {}) and was not made for this; it was left "
                               "alone, look at it and remove it by hand",
                               *name, mib(there->size_bytes), needed));
  }
  if (!there->has_tag(kTagReady)) {
    auto done = co_await finish(*there, 0, std::string(kTagReady), std::string(kTagNew));
    if (!done) co_return done.error();
  }
  co_return co_await make_active(*there);
}

Task<std::string> LvmPool::activate(LegName leg) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  auto volumes = co_await list();
  if (!volumes) co_return volumes.error();
  const LvInfo* there = find_lv(*volumes, *name);
  if (there == nullptr || !there->has_tag(kTagReady)) {
    co_return fail(Errc::not_found, fmt::format("the backing device {} of volume {} of VM {} does not exist here",
                                                *name, leg.volume, leg.vm));
  }
  co_return co_await make_active(*there);
}

Task<> LvmPool::grow(LegName leg, std::uint64_t size_mib) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  auto volumes = co_await list();
  if (!volumes) co_return volumes.error();
  const LvInfo* found = find_lv(*volumes, *name);
  if (found == nullptr || !found->has_tag(kTagReady)) {
    co_return fail(Errc::not_found, fmt::format("the backing device {} does not exist here; it cannot grow", *name));
  }
  LvInfo there = *found;
  const std::uint64_t needed = backing_mib(size_mib);
  auto pending = pending_growth(there);
  if (mib(there.size_bytes) < needed) {
    auto room = co_await space_now(*volumes);
    if (!room) co_return room.error();
    if (auto ok = check_room(config_, *room, needed - mib(there.size_bytes)); !ok) co_return ok.error();
    if (thick() && !pending) {
      pending = there.size_bytes;
      auto argv = retag_volume(config_, *name, fmt::format("{}{}", kTagGrow, *pending), "");
      auto marked = co_await change(std::move(argv), "marking " + *name);
      if (!marked) co_return marked.error();
    }
    auto argv = extend_volume(config_, *name, needed);
    auto grown = co_await change(std::move(argv), "enlarging " + *name);
    if (!grown) co_return grown.error();
    volumes = co_await list();
    if (!volumes) co_return volumes.error();
    const LvInfo* after = find_lv(*volumes, *name);
    if (after == nullptr) co_return fail(Errc::io, *name + " is not listed any more; look at the pool");
    there = *after;
  }
  if (!pending) co_return Result<>{};
  // The tag goes before DRBD is told of the space: where it still stands, nobody has written there.
  co_return co_await finish(there, *pending, "", fmt::format("{}{}", kTagGrow, *pending));
}

Task<> LvmPool::remove(LegName leg) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  auto volumes = co_await list();
  if (!volumes) co_return volumes.error();
  for (const auto which : {Snapshot::copy, Snapshot::repair}) {
    const std::string snapshot = *name + snapshot_suffix(which);
    if (find_lv(*volumes, snapshot) == nullptr) continue;
    auto gone = co_await remove_one(snapshot);
    if (!gone) co_return gone.error();
  }
  if (find_lv(*volumes, *name) == nullptr) co_return Result<>{};
  co_return co_await remove_one(*name);
}

Task<> LvmPool::snapshot(LegName leg, Snapshot which) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  const std::string kept = *name + snapshot_suffix(which);
  auto volumes = co_await list();
  if (!volumes) co_return volumes.error();
  const LvInfo* origin = find_lv(*volumes, *name);
  if (origin == nullptr) co_return fail(Errc::not_found, *name + " does not exist here");
  const std::uint64_t needed = thick() ? mib(origin->size_bytes) : 0;
  if (find_lv(*volumes, kept) != nullptr) {
    if (which == Snapshot::repair) co_return Result<>{};
    auto gone = co_await remove_one(kept);
    if (!gone) co_return gone.error();
  }
  auto room = co_await space_now(*volumes);
  if (!room) co_return room.error();
  if (auto ok = check_room(config_, *room, needed); !ok) co_return ok.error();
  auto argv = snapshot_volume(config_, *name, kept);
  co_return co_await change(std::move(argv), "keeping " + *name + " as it is");
}

Task<bool> LvmPool::has_snapshot(LegName leg, Snapshot which) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  auto volumes = co_await list();
  if (!volumes) co_return volumes.error();
  co_return find_lv(*volumes, *name + snapshot_suffix(which)) != nullptr;
}

Task<> LvmPool::remove_one(std::string name) {
  auto argv = remove_volume(config_, name);
  auto outcome = co_await run_tool(std::move(argv), Effect::changes, kLvmDeadline);
  if (!outcome) co_return outcome.error();
  if (outcome->ok()) co_return Result<>{};
  auto error = refusal("removing " + name, *outcome);
  for (const char* held : {" in use", "used by another device"}) {
    if (outcome->err.find(held) != std::string::npos) error.code = Errc::conflict;
  }
  co_return error;
}

}  // namespace bascule::storage
