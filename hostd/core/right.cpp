#include "hostd/core/right.hpp"

#include <algorithm>

namespace bascule::core {
namespace {
bool listed(const Right& right, const std::string& volume, const Leg& leg) {
  const auto it = right.insync.find(volume);
  return it != right.insync.end() && std::ranges::find(it->second, leg) != it->second.end();
}
Error not_holder(const Right& right, const std::string& host) {
  return fail(Errc::conflict, "host " + host + " does not hold the run-right, " + right.host + " does (epoch " +
                                  std::to_string(right.epoch) + "); nothing was changed");
}
}  // namespace

const Leg* leg_of(const VolumeLayout& volume, const std::string& host) {
  const auto it = std::ranges::find(volume.legs, host, &Leg::host);
  return it == volume.legs.end() ? nullptr : &*it;
}

std::string other_host(const Layout& layout, const std::string& host) {
  if (layout.volumes.empty() || leg_of(layout.volumes.front(), host) == nullptr) return {};
  for (const auto& leg : layout.volumes.front().legs) {
    if (leg.host != host) return leg.host;
  }
  return {};
}

bool insync_everywhere(const Right& right, const Layout& layout, const std::string& host) {
  if (layout.volumes.empty()) return false;
  return std::ranges::all_of(layout.volumes, [&](const VolumeLayout& v) {
    const Leg* leg = leg_of(v, host);
    return leg != nullptr && listed(right, v.name, *leg);
  });
}

Right first_right(const Layout& layout, const std::string& host) {
  Right right;
  right.host = host;
  for (const auto& volume : layout.volumes) {
    const Leg* leg = leg_of(volume, host);
    BASCULE_CHECK(leg != nullptr);
    right.insync[volume.name] = {*leg};
  }
  return right;
}

Result<Right> claim(const Right& right, const Layout& layout, const std::string& host) {
  if (right.host != host) return not_holder(right, host);
  if (right.migrating_to) {
    return fail(Errc::conflict, "a migration to " + *right.migrating_to +
                                    " is marked in the record; no second copy may start until it is settled");
  }
  if (!insync_everywhere(right, layout, host)) {
    return fail(Errc::refused, "the record does not list a leg of host " + host +
                                   " as in sync on every volume; it may hold old data, so it is not used");
  }
  Right next = right;
  ++next.epoch;
  return next;
}

namespace {
/// Every volume lists the leg of `host` alone, and nobody migrates.
Right alone(const Right& right, const Layout& layout, const std::string& host) {
  Right next = right;
  next.migrating_to.reset();
  for (const auto& volume : layout.volumes) next.insync[volume.name] = {*leg_of(volume, host)};
  return next;
}
}  // namespace

Result<Right> take(const Right& right, const Layout& layout, const std::string& host) {
  if (right.host == host) return fail(Errc::conflict, "host " + host + " holds the run-right already");
  if (!insync_everywhere(right, layout, host)) {
    return fail(Errc::refused,
                "the record does not list a leg of host " + host +
                    " as in sync on every volume; writes may be missing here, so only a person can decide "
                    "to start from it");
  }
  return take_sacrificing(right, layout, host);
}

Result<Right> take_sacrificing(const Right& right, const Layout& layout, const std::string& host) {
  if (right.host == host) return fail(Errc::conflict, "host " + host + " holds the run-right already");
  if (layout.volumes.empty() || leg_of(layout.volumes.front(), host) == nullptr) {
    return fail(Errc::invalid, "host " + host + " has no leg of this VM");
  }
  Right next = alone(right, layout, host);
  next.host = host;
  ++next.epoch;
  return next;
}

Result<Right> exclude_peer(const Right& right, const Layout& layout, const std::string& host) {
  if (right.host != host) return not_holder(right, host);
  if (!insync_everywhere(right, layout, host)) {
    return fail(Errc::refused, "the record does not list the legs of host " + host + " as in sync on every volume");
  }
  return alone(right, layout, host);
}

Right without_others(const Right& right, const Layout& layout, const std::string& host) {
  Right next = right;
  for (const auto& volume : layout.volumes) {
    for (const auto& leg : volume.legs) {
      if (leg.host == host) continue;
      if (auto without = remove_leg(next, volume.name, leg)) next = std::move(*without);
    }
  }
  return next;
}

Result<Right> mark(const Right& right, const Layout& layout, const std::string& host, const std::string& target) {
  if (right.host != host) return not_holder(right, host);
  if (right.migrating_to && *right.migrating_to != target) {
    return fail(Errc::conflict, "a migration to " + *right.migrating_to + " is already marked");
  }
  if (target == host || other_host(layout, host) != target) {
    return fail(Errc::invalid, "host " + target + " has no leg of this VM");
  }
  // safety: S4. Two legs may be primary only when they are equal by the record. [model: M_mark]
  if (!insync_everywhere(right, layout, host) || !insync_everywhere(right, layout, target)) {
    return fail(Errc::conflict, "the record does not list both legs as in sync on every volume; wait for the "
                                "resync to end, then migrate");
  }
  Right next = right;
  next.migrating_to = target;
  return next;
}

Result<Right> unmark(const Right& right, const std::string& host) {
  if (right.host != host) return not_holder(right, host);
  Right next = right;
  next.migrating_to.reset();
  return next;
}

Result<Right> hand_over(const Right& right, const Layout& layout, const std::string& host, const std::string& peer) {
  if (right.host != host) return not_holder(right, host);
  if (peer == host || !insync_everywhere(right, layout, peer)) {
    return fail(Errc::refused, "host " + peer + " is not in sync on every volume by the record; the right stays");
  }
  Right next = right;
  next.host = peer;
  ++next.epoch;
  next.migrating_to.reset();
  return next;
}

Result<Right> add_leg(const Right& right, const Layout& layout, const std::string& host, const std::string& volume,
                      const Leg& leg) {
  if (right.host != host) return not_holder(right, host);
  const auto it = std::ranges::find(layout.volumes, volume, &VolumeLayout::name);
  if (it == layout.volumes.end() || std::ranges::find(it->legs, leg) == it->legs.end()) {
    return fail(Errc::invalid, "leg " + leg.id + " is not one of volume " + volume);
  }
  Right next = right;
  auto& legs = next.insync[volume];
  if (std::ranges::find(legs, leg) == legs.end()) legs.push_back(leg);
  std::ranges::sort(legs);
  return next;
}

Result<Right> add_legs(const Right& right, const Layout& layout, const std::string& host, const std::string& volume) {
  Result<Right> next = right;
  const auto it = std::ranges::find(layout.volumes, volume, &VolumeLayout::name);
  if (it == layout.volumes.end()) return fail(Errc::invalid, "there is no volume " + volume);
  for (const auto& leg : it->legs) {
    if (next) next = add_leg(*next, layout, host, volume, leg);
  }
  return next;
}

Result<Right> swap_leg(const Right& right, const Layout& layout, const std::string& host, const std::string& volume) {
  if (right.host != host) return not_holder(right, host);
  const auto it = std::ranges::find(layout.volumes, volume, &VolumeLayout::name);
  const Leg* peer = it == layout.volumes.end() ? nullptr : leg_of(*it, other_host(layout, host));
  if (peer == nullptr) return fail(Errc::invalid, "volume " + volume + " has no leg on another host");
  Right next = right;
  next.insync[volume] = {*peer};
  return next;
}

Result<Right> remove_leg(const Right& right, const std::string& volume, const Leg& leg) {
  Right next = right;
  const auto entry = next.insync.find(volume);
  if (entry == next.insync.end()) return next;
  auto& legs = entry->second;
  const auto found = std::ranges::find(legs, leg);
  if (found == legs.end()) return next;
  // safety: R4. Without a leg nobody could ever run. [model: R4_never_last]
  if (legs.size() == 1) {
    return fail(Errc::refused, "leg " + leg.id + " on " + leg.host + " is the last one in sync of volume " + volume +
                                   "; it is never taken out");
  }
  legs.erase(found);
  return next;
}

}  // namespace bascule::core
