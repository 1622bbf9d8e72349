#include "tests/testkit/fake_drbd.hpp"

#include <algorithm>
#include <utility>

namespace bascule::testkit {

using core::Errc;
using core::fail;
using core::Result;
using storage::Connection;
using storage::Disk;
using storage::Replication;
using storage::Resource;
using storage::ResourceState;
using storage::Role;
using storage::Task;

std::string FakeDrbdWorld::peer_host(const std::string& resource, const std::string& host) const {
  const auto it = sides.find(resource);
  if (it == sides.end()) return {};
  for (const auto& [other, side] : it->second) {
    if (other != host) return other;
  }
  return {};
}

FakeDrbdWorld::Side* FakeDrbdWorld::linked(const std::string& resource, const std::string& host) {
  const std::string other = peer_host(resource, host);
  if (!link_up_ || other.empty()) return nullptr;
  Side& mine = sides[resource][host];
  Side& theirs = sides[resource][other];
  return mine.up && theirs.up && mine.wants_link && theirs.wants_link ? &theirs : nullptr;
}

ResourceState FakeDrbdWorld::state(const std::string& resource, const std::string& host) {
  ResourceState s;
  s.name = resource;
  Side& mine = sides[resource][host];
  s.present = mine.up;
  if (!mine.up) return s;
  Side* peer = linked(resource, host);
  s.role = mine.role;
  s.suspended_fencing = mine.frozen;
  s.suspended = mine.frozen ? "fencing" : "no";
  s.connection = peer != nullptr   ? Connection::connected
                 : mine.wants_link ? Connection::connecting
                                   : Connection::stand_alone;
  if (peer != nullptr) s.peer_role = peer->role;
  for (const auto& [index, leg] : mine.legs) {
    auto& v = s.volumes[index];
    v.minor = leg.minor;
    v.disk = leg.disk;
    v.size_kib = leg.size_mib * 1024;
    if (peer == nullptr) continue;
    v.replication = Replication::established;
    v.peer_disk = peer->legs[index].disk;
    if (leg.disk == Disk::inconsistent) v.out_of_sync_kib = v.size_kib;
  }
  return s;
}

void FakeDrbdWorld::settle(const std::string& resource) {
  for (auto& [host, mine] : sides[resource]) {
    Side* peer = linked(resource, host);
    if (peer == nullptr) continue;
    mine.frozen = false;
    mine.two_primaries = peer->two_primaries = mine.two_primaries || peer->two_primaries;
    for (auto& [index, leg] : mine.legs) {  // a stale leg is overwritten by one that is up to date
      const Disk theirs = peer->legs[index].disk;
      if (theirs == Disk::up_to_date && leg.attached && leg.disk != Disk::up_to_date) leg.disk = Disk::up_to_date;
    }
  }
  for (auto& [host, drbd] : hosts) {
    ResourceState now = state(resource, host);
    ResourceState& before = told_[resource + "@" + host];
    if (now == before) continue;
    before = now;
    if (drbd->changed_) drbd->changed_(now);
  }
}

void FakeDrbdWorld::cut() {
  for (auto& [resource, pair] : sides) {
    for (auto& [host, mine] : pair) {
      if (linked(resource, host) != nullptr && mine.role == Role::primary) mine.frozen = true;
    }
  }
  link_up_ = false;
  for (auto& [resource, pair] : sides) settle(resource);
}

void FakeDrbdWorld::heal() {
  link_up_ = true;
  for (auto& [resource, pair] : sides) settle(resource);
}

bool FakeDrbdWorld::split(const std::string& resource) const {
  const auto it = sides.find(resource);
  if (it == sides.end()) return false;
  int primaries = 0;
  bool window = false;
  for (const auto& [host, side] : it->second) {
    if (side.up && side.role == Role::primary && !side.frozen) ++primaries;
    window = window || side.two_primaries;
  }
  return primaries > 1 && !(window && link_up_);
}

FakeDrbd::FakeDrbd(FakeDrbdWorld& world, std::string host) : world_(world), host_(std::move(host)) {
  world_.hosts[host_] = this;
}
FakeDrbd::~FakeDrbd() { world_.hosts.erase(host_); }

FakeDrbd::Side::Leg* FakeDrbd::leg(const Resource& resource, const std::string& volume) {
  const auto* wanted = storage::find_volume(resource, volume);
  return wanted == nullptr ? nullptr : &side(storage::resource_name(resource.vm)).legs[wanted->index];
}

Result<> FakeDrbd::changed(const std::string& name) {
  world_.settle(name);
  if (world_.unknown_next.erase(host_) != 0) return fail(Errc::outcome_unknown, "no answer in time");
  return {};
}

void FakeDrbd::fence_won(const std::string& name) {
  side(name).frozen = false;
  world_.settle(name);
}

Task<> FakeDrbd::write_config(Resource resource) {
  if (auto ok = storage::check(resource, host_); !ok) co_return ok.error();
  side(storage::resource_name(resource.vm)).configured = true;
  co_return Result<>{};
}

Task<> FakeDrbd::remove_config(std::string name) {
  side(name).configured = false;
  co_return Result<>{};
}

Task<> FakeDrbd::create_metadata(Resource resource, std::string volume) {
  if (auto ok = storage::check(resource, host_); !ok) co_return ok.error();
  auto* mine = leg(resource, volume);
  if (mine == nullptr) co_return fail(Errc::not_found, "no such volume");
  const auto& backing = storage::find_volume(resource, volume)->backing[*storage::side_of(resource, host_)];
  if (mine->metadata && mine->backing == backing && !mine->fresh)
    co_return fail(Errc::conflict, "a leg that has been used");
  mine->metadata = mine->fresh = true;
  mine->backing = backing;
  co_return Result<>{};
}

Task<> FakeDrbd::up_standalone(Resource resource) {
  if (auto ok = storage::check(resource, host_); !ok) co_return ok.error();
  const std::string name = storage::resource_name(resource.vm);
  auto& mine = side(name);
  for (const auto& volume : resource.volumes) {
    auto& own = mine.legs[volume.index];
    own.minor = volume.minor;
    own.size_mib = volume.size_mib;
    if (volume.without_disk && !own.attached) {
      own.disk = Disk::diskless;
      continue;
    }
    const auto& backing = volume.backing[*storage::side_of(resource, host_)];
    if (own.attached && own.backing != backing) co_return fail(Errc::conflict, "another device is attached");
    if (!own.metadata) co_return fail(Errc::refused, "No valid meta-data signature found");
    if (!own.attached)
      own.disk = own.fresh || own.stale         ? Disk::inconsistent
                 : own.disk == Disk::up_to_date ? Disk::consistent
                                                : own.disk;
    own.stale = false;
    own.attached = true;
    own.minor = volume.minor;
    own.size_mib = volume.size_mib;
  }
  mine.up = mine.configured = true;
  co_return changed(name);
}

Task<> FakeDrbd::mark_stale(Resource resource, std::string volume) {
  const auto* wanted = storage::find_volume(resource, volume);
  if (wanted == nullptr) co_return fail(Errc::not_found, "no such volume");
  auto& own = side(storage::resource_name(resource.vm)).legs[wanted->index];
  if (own.attached) co_return fail(Errc::conflict, "it is attached");
  own.stale = true;
  co_return Result<>{};
}

Task<std::string> FakeDrbd::generation(Resource resource, std::string volume) {
  if (leg(resource, volume) == nullptr) co_return fail(Errc::not_found, "no such volume");
  co_return "0000000000000004:0000000000000000:0000000000000000:0000000000000000";
}

Task<> FakeDrbd::connect(Resource resource, storage::Discard discard) {
  const std::string name = storage::resource_name(resource.vm);
  auto& mine = side(name);
  if (!mine.up) co_return fail(Errc::conflict, name + " is down on this host");
  if (discard == storage::Discard::own_data) {
    if (mine.role != Role::secondary) co_return fail(Errc::conflict, name + " is Primary here");
    for (auto& [index, leg] : mine.legs) leg.disk = std::min(leg.disk, Disk::outdated);
  }
  if (!mine.wants_link) mine.two_primaries = false;
  mine.wants_link = true;
  co_return changed(name);
}

Task<> FakeDrbd::disconnect(std::string name, bool force) {
  auto& mine = side(name);
  if (Side* peer = world_.linked(name, host_); peer != nullptr && !force) {
    if (mine.role == Role::primary) {
      for (auto& [index, leg] : peer->legs) leg.disk = std::min(leg.disk, Disk::outdated);
    } else if (peer->role == Role::primary) {
      for (auto& [index, leg] : mine.legs) leg.disk = std::min(leg.disk, Disk::outdated);
    }
  }
  mine.wants_link = mine.two_primaries = false;
  co_return changed(name);
}

Task<> FakeDrbd::new_current_uuid_clear_bitmap(Resource resource, std::string volume) {
  const std::string name = storage::resource_name(resource.vm);
  auto* mine = leg(resource, volume);
  if (mine == nullptr) co_return fail(Errc::not_found, "no such volume");
  const auto index = storage::find_volume(resource, volume)->index;
  if (storage::in_sync(world_.state(name, host_), index)) co_return Result<>{};
  Side* peer = world_.linked(name, host_);
  if (peer == nullptr || !mine->fresh || !peer->legs[index].fresh || peer->role == Role::primary ||
      side(name).role == Role::primary) {
    co_return fail(Errc::conflict, "the first sync cannot be skipped");
  }
  for (auto* own : {mine, &peer->legs[index]}) {
    own->disk = Disk::up_to_date;
    own->fresh = false;
  }
  co_return changed(name);
}

Task<> FakeDrbd::promote(std::string name, storage::PromotionProof proof) {
  if (proof.host != host_ || storage::resource_name(proof.vm) != name || proof.revision <= 0 || proof.epoch <= 0) {
    co_return fail(Errc::conflict, "the run-right shown is not for this");
  }
  if (auto ok = storage::check_promotable(world_.state(name, host_), proof.force); !ok) co_return ok.error();
  auto& mine = side(name);
  if (proof.force == storage::Force::fresh) {
    for (auto& [index, leg] : mine.legs) {
      if (!leg.fresh) co_return fail(Errc::conflict, name + " is not just created here");
      leg.fresh = false;
    }
  }
  if (Side* peer = world_.linked(name, host_); peer != nullptr && peer->role == Role::primary && !mine.two_primaries) {
    co_return fail(Errc::refused, "Multiple primaries not allowed by config");
  }
  // safety: a fake; no data is behind it.
  mine.role = Role::primary;
  for (auto& [index, leg] : mine.legs) leg.disk = Disk::up_to_date;
  co_return changed(name);
}

Task<> FakeDrbd::demote(std::string name) {
  auto& mine = side(name);
  if (!mine.up) co_return Result<>{};
  if (mine.held_open) co_return fail(Errc::refused, "Device is held open by someone");
  mine.role = Role::secondary;
  co_return changed(name);
}

Task<> FakeDrbd::set_two_primaries(std::string name, bool allow) {
  auto& mine = side(name);
  Side* peer = world_.linked(name, host_);
  if (allow && !storage::in_sync(world_.state(name, host_))) co_return fail(Errc::conflict, name + " is not in sync");
  if (!allow && peer != nullptr && mine.role == Role::primary && peer->role == Role::primary) {
    co_return fail(Errc::refused, "Can not clear allow_two_primaries as long as there are primaries on both sides");
  }
  mine.two_primaries = allow;
  if (peer != nullptr) peer->two_primaries = allow;
  co_return changed(name);
}

Task<bool> FakeDrbd::two_primaries(std::string name) { co_return side(name).wants_link&& side(name).two_primaries; }

Task<> FakeDrbd::verify(Resource resource, std::string volume) {
  const auto* wanted = storage::find_volume(resource, volume);
  if (wanted == nullptr) co_return fail(Errc::not_found, "no such volume");
  if (!storage::in_sync(world_.state(storage::resource_name(resource.vm), host_), wanted->index)) {
    co_return fail(Errc::conflict, "there is nothing to compare yet");
  }
  co_return Result<>{};
}

Task<> FakeDrbd::resize(Resource resource, std::string volume, std::uint64_t size_mib) {
  const std::string name = storage::resource_name(resource.vm);
  auto* mine = leg(resource, volume);
  if (mine == nullptr) co_return fail(Errc::not_found, "no such volume");
  if (mine->size_mib == size_mib) co_return Result<>{};
  Side* peer = world_.linked(name, host_);
  if (mine->size_mib > size_mib) co_return fail(Errc::conflict, "never made smaller");
  if (!storage::in_sync(world_.state(name, host_)) ||
      (side(name).role != Role::primary && peer->role != Role::primary)) {
    co_return fail(Errc::conflict, "can only grow while in sync and Primary on one host");
  }
  mine->size_mib = peer->legs[storage::find_volume(resource, volume)->index].size_mib = size_mib;
  co_return changed(name);
}

Task<> FakeDrbd::detach(Resource resource, std::string volume, bool) {
  auto* mine = leg(resource, volume);
  if (mine == nullptr) co_return fail(Errc::not_found, "no such volume");
  mine->attached = false;
  mine->disk = Disk::diskless;
  co_return changed(storage::resource_name(resource.vm));
}

Task<> FakeDrbd::ask_again(Resource resource) {
  const std::string name = storage::resource_name(resource.vm);
  auto& mine = side(name);
  if (!mine.frozen || world_.linked(name, host_) != nullptr) co_return Result<>{};
  ++mine.asked_again;
  mine.wants_link = true;
  co_return changed(name);
}

Task<> FakeDrbd::suspend_io(std::string name) {
  side(name).suspended = true;
  co_return changed(name);
}

Task<> FakeDrbd::resume_io(std::string name) {
  auto& mine = side(name);
  if (mine.frozen) co_return fail(Errc::conflict, name + " is frozen until the fence-peer decision");
  mine.suspended = false;
  co_return changed(name);
}

Task<> FakeDrbd::fail_io(Resource resource) {
  const std::string name = storage::resource_name(resource.vm);
  if (world_.linked(name, host_) != nullptr) co_return fail(Errc::conflict, name + " is connected");
  auto& mine = side(name);
  for (auto& [index, leg] : mine.legs) {
    leg.attached = false;
    leg.disk = Disk::diskless;
  }
  mine.frozen = mine.suspended = false;
  co_return changed(name);
}

Task<> FakeDrbd::down(std::string name) {
  auto& mine = side(name);
  if (mine.up && (mine.held_open || mine.role == Role::primary)) {
    if (mine.held_open) co_return fail(Errc::refused, "Device is held open by someone");
    mine.role = Role::secondary;
  }
  auto left = co_await disconnect(name, false);
  if (!left) co_return left.error();
  mine.up = mine.frozen = false;
  for (auto& [index, leg] : mine.legs) leg.attached = false;
  co_return changed(name);
}

Task<ResourceState> FakeDrbd::query(std::string name) { co_return world_.state(name, host_); }

void FakeDrbd::listen(Changed changed, Trouble) {
  changed_ = std::move(changed);
  for (auto& [resource, pair] : world_.sides) {
    if (pair.contains(host_)) changed_(world_.state(resource, host_));
  }
}

}  // namespace bascule::testkit
