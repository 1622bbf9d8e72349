#include <algorithm>

#include "tests/testkit/fake_drbd.hpp"

namespace bascule::testkit {

using core::Errc;
using core::fail;
using core::Result;
using storage::Task;

storage::PoolSpace FakePool::room() const {
  std::uint64_t used = 0;
  for (const auto& [name, mib] : devices) used += mib;
  return {total_mib_, total_mib_ - std::min(used, total_mib_)};
}

Task<std::string> FakePool::create(storage::LegName leg, std::uint64_t size_mib) {
  const auto name = storage::device_name(leg, config_);
  if (!name) co_return name.error();
  const std::uint64_t needed = storage::backing_mib(size_mib);
  if (!devices.contains(*name)) {
    if (auto ok = storage::check_room(config_, room(), needed); !ok) co_return ok.error();
    devices[*name] = needed;
  }
  if (devices[*name] < needed) co_return fail(Errc::conflict, *name + " exists with another size");
  co_return "/fake/" + *name;
}

Task<std::string> FakePool::activate(storage::LegName leg) {
  const auto name = storage::device_name(leg, config_);
  if (!name) co_return name.error();
  if (!devices.contains(*name)) co_return fail(Errc::not_found, *name + " does not exist here");
  co_return "/fake/" + *name;
}

Task<> FakePool::grow(storage::LegName leg, std::uint64_t size_mib) {
  const auto name = storage::device_name(leg, config_);
  if (!name) co_return name.error();
  const auto it = devices.find(*name);
  if (it == devices.end()) co_return fail(Errc::not_found, *name + " does not exist here");
  const std::uint64_t needed = storage::backing_mib(size_mib);
  if (it->second >= needed) co_return Result<>{};
  if (auto ok = storage::check_room(config_, room(), needed - it->second); !ok) co_return ok.error();
  it->second = needed;
  co_return Result<>{};
}

Task<> FakePool::remove(storage::LegName leg) {
  const auto name = storage::device_name(leg, config_);
  if (!name) co_return name.error();
  devices.erase(*name);
  for (const auto which : {storage::Snapshot::copy, storage::Snapshot::repair}) {
    devices.erase(*name + storage::snapshot_suffix(which));
  }
  co_return Result<>{};
}

Task<> FakePool::snapshot(storage::LegName leg, storage::Snapshot which) {
  const auto name = storage::device_name(leg, config_);
  if (!name) co_return name.error();
  if (!devices.contains(*name)) co_return fail(Errc::not_found, *name + " does not exist here");
  const std::string kept = *name + storage::snapshot_suffix(which);
  if (which == storage::Snapshot::repair && devices.contains(kept)) co_return Result<>{};
  devices[kept] = devices[*name];
  co_return Result<>{};
}

Task<bool> FakePool::has_snapshot(storage::LegName leg, storage::Snapshot which) {
  const auto name = storage::device_name(leg, config_);
  if (!name) co_return name.error();
  co_return devices.contains(*name + storage::snapshot_suffix(which));
}

Task<storage::PoolSpace> FakePool::space() { co_return room(); }

}  // namespace bascule::testkit
