// The link: who is connected, the handshake, resync, and what a primary does that has lost its peer.
#include "tests/sim/drbd.hpp"

#include <algorithm>

namespace bascule::sim {

namespace {
constexpr std::uint64_t kJustCreated = 4;  // UUID_JUST_CREATED
constexpr Us kPingLeast = 300 * kMs, kPingMost = 1500 * kMs;
constexpr Us kConnectLeast = 20 * kMs, kConnectMost = 3000 * kMs;
constexpr Us kResyncLeast = 100 * kMs, kResyncMost = 6000 * kMs;
constexpr int kExcluded = 4, kPoweredOff = 7;  // exit codes of the helper

/// What is left of the knowledge of the peer's disk without a connection (sanitize_state).
DrbdKernel::Disk remembered(DrbdKernel::Disk disk) {
  using Disk = DrbdKernel::Disk;
  return disk == Disk::inconsistent || disk == Disk::outdated ? disk : Disk::unknown;
}
}  // namespace

DrbdKernel::Pair* DrbdKernel::pair(const std::string& resource) {
  const auto it = pairs_.find(resource);
  return it == pairs_.end() ? nullptr : &it->second;
}

DrbdKernel::Pair& DrbdKernel::make(const std::string& resource, const std::string& a, const std::string& b) {
  const auto [it, fresh] = pairs_.try_emplace(resource);
  if (fresh) {
    it->second.sides[0].host = a;
    it->second.sides[1].host = b;
  }
  return it->second;
}

DrbdKernel::Side& DrbdKernel::side(const std::string& resource, const std::string& host) {
  Pair& both = pairs_.at(resource);
  return both.sides[both.sides[0].host == host ? 0 : 1];
}

DrbdKernel::Side* DrbdKernel::peer_of(const std::string& resource, const std::string& host) {
  Pair* both = pair(resource);
  return both == nullptr ? nullptr : &both->sides[both->sides[0].host == host ? 1 : 0];
}

bool DrbdKernel::reach(const Side& a, const Side& b) const { return net_.both_ways(Lan::replication, a.host, b.host); }

void DrbdKernel::tell(const std::string& resource) {
  for (const auto& s : pairs_.at(resource).sides) hooks.changed(s.host, resource);
}

void DrbdKernel::set_disk(Side& mine, Leg& leg, Disk disk) {
  leg.disk = disk;
  if (disk <= Disk::negotiating || hooks.disk_broken(mine.host)) return;  // nothing is written to a lost disk
  leg.consistent = disk > Disk::inconsistent;
  if (disk == Disk::up_to_date) leg.was_up_to_date = true;
  if (disk == Disk::outdated || disk == Disk::inconsistent) leg.was_up_to_date = false;
}

/// A new generation: from here on this leg has what the other has not.
void DrbdKernel::bump(Leg& leg) {
  if (!leg.attached || leg.bitmap != 0) return;
  leg.bitmap = leg.current;
  leg.current = ++generations_;
}

/// Looks for what must happen by itself: a lost link noticed, a wanted one made.
void DrbdKernel::settle(const std::string& resource) {
  Pair& both = pairs_.at(resource);
  auto& [a, b] = both.sides;
  watch_link(resource, a, b);
  watch_link(resource, b, a);
  if (!both.shaking && !a.promoting && !b.promoting && a.up && b.up && a.wants_link && b.wants_link && !a.linked &&
      !b.linked && reach(a, b)) {
    both.shaking = true;
    engine_.after(engine_.rng().in(kConnectLeast, kConnectMost), [this, resource] { handshake(resource); });
  }
}

void DrbdKernel::watch_link(const std::string& resource, Side& mine, const Side& theirs) {
  if (!mine.linked || mine.timer == mine.session) return;
  const bool closed = !theirs.linked || theirs.session != mine.session;
  const bool cut = !reach(mine, theirs);
  if (!closed && !cut) return;
  mine.timer = mine.session;
  const Us notice = cut ? engine_.rng().in(kPingLeast, kPingMost) : engine_.rng().in(kMs, 20 * kMs);
  engine_.after(notice, [this, resource, host = mine.host, session = mine.session] {
    Side& me = side(resource, host);
    if (!me.linked || me.session != session) return;
    const Side& peer = *peer_of(resource, host);
    me.timer = 0;
    if (!hooks.running(host)) return;  // hung: it notices when it wakes
    const bool gone = !peer.linked || peer.session != session;
    if (gone || !reach(me, peer)) drop(resource, me);
    settle(resource);
  });
}

void DrbdKernel::handshake(const std::string& resource) {
  Pair& both = pairs_.at(resource);
  auto& [a, b] = both.sides;
  both.shaking = false;
  if (!a.up || !b.up || !a.wants_link || !b.wants_link || a.linked || b.linked) return;
  if (a.promoting || b.promoting || !reach(a, b)) return settle(resource);
  if (!agree(resource, both)) return tell(resource);
  ++both.session;
  for (auto& s : both.sides) {
    s.linked = true;
    s.session = both.session;
  }
  for (std::size_t i = 0; i < 2; ++i) {
    for (auto& [index, leg] : both.sides[i].legs) {
      leg.replication = Replication::established;
      leg.peer_disk = both.sides[1 - i].legs[index].disk;
    }
  }
  for (auto& [index, leg] : a.legs) join(resource, both, index);
  engine_.say("drbd", resource + " connects " + a.host + " and " + b.host);
  for (auto& s : both.sides) {
    s.fencing = s.no_data = false;
    for (auto& p : s.pending) p.sent = 0;  // sent again
    carry_on(resource, s);
  }
  tell(resource);
  settle(resource);
}

/// Whether a connection may stand; a side that refuses goes StandAlone.
bool DrbdKernel::agree(const std::string& resource, Pair& both) {
  auto& [a, b] = both.sides;
  const auto refuse = [&](Side& s, const std::string& why) {
    engine_.say("drbd", resource + " on " + s.host + " goes StandAlone: " + why);
    s.wants_link = false;
  };
  if (a.two_primaries != b.two_primaries || (a.role == Role::primary && b.role == Role::primary && !a.two_primaries)) {
    refuse(a, "two primaries");
    refuse(b, "two primaries");
    return false;
  }
  for (const auto& [index, leg] : a.legs) {
    const Leg& other = b.legs[index];
    if (!leg.attached || !other.attached) {
      // A primary without a disk goes on only with the very data it works on.
      Side& bare = leg.attached ? b : a;
      const Leg& gone = leg.attached ? other : leg;
      const Leg& there = leg.attached ? leg : other;
      if (bare.role == Role::primary && there.attached && there.current != gone.exposed) {
        refuse(bare, "it works on other data");
        return false;
      }
      continue;
    }
    const auto verdict = compare(leg, other).kind;
    if (verdict == Verdict::Kind::split) {
      refuse(a, "split brain");
      refuse(b, "split brain");
      return false;
    }
    if (verdict == Verdict::Kind::equal) continue;
    const bool a_source = verdict == Verdict::Kind::source;
    Side& target = a_source ? b : a;
    const Leg& source = a_source ? leg : other;
    if (target.role == Role::primary && target.legs[index].disk >= Disk::consistent) {
      refuse(target, "it would be resynced, but is primary");
      return false;
    }
    if (source.disk < Disk::outdated) {
      refuse(a_source ? a : b, "it would be the source, but is not consistent");
      return false;
    }
  }
  return true;
}

/// drbd_uuid_compare, as far as two hosts can get.
DrbdKernel::Verdict DrbdKernel::compare(const Leg& mine, const Leg& theirs) const {
  using Kind = Verdict::Kind;
  // The disks' own states come first (drbd_sync_handshake).
  if (mine.current != kJustCreated && (mine.disk == Disk::inconsistent) != (theirs.disk == Disk::inconsistent)) {
    return {mine.disk == Disk::inconsistent ? Kind::target : Kind::source};
  }
  const auto knows = [](const Leg& leg, std::uint64_t generation) {
    return leg.bitmap == generation || std::ranges::find(leg.old, generation) != leg.old.end();
  };
  if (mine.current == theirs.current) {
    if (mine.current == kJustCreated) return {Kind::equal};
    if (mine.crashed_primary != theirs.crashed_primary) {
      return {mine.crashed_primary ? Kind::source : Kind::target};
    }
    return {Kind::equal};
  }
  if (mine.current == kJustCreated) return {Kind::target};
  if (theirs.current == kJustCreated) return {Kind::source};
  if (knows(theirs, mine.current)) return {Kind::target};
  if (knows(mine, theirs.current)) return {Kind::source};
  return {Kind::split};
}

/// One volume of a connection that has just come to stand, or one that was attached over it.
void DrbdKernel::join(const std::string& resource, Pair& both, std::uint16_t index) {
  std::array<Leg*, 2> legs{&both.sides[0].legs[index], &both.sides[1].legs[index]};
  const auto exchange = [&] {
    legs[0]->peer_disk = legs[1]->disk;
    legs[1]->peer_disk = legs[0]->disk;
  };
  if (!legs[0]->attached || !legs[1]->attached) {
    for (std::size_t i = 0; i < 2; ++i) {  // Consistent and Outdated vanish with a connection (sanitize_state)
      if (legs[i]->attached && legs[i]->disk > Disk::inconsistent) set_disk(both.sides[i], *legs[i], Disk::up_to_date);
    }
    return exchange();
  }
  const auto verdict = compare(*legs[0], *legs[1]).kind;
  if (verdict == Verdict::Kind::source) return start_resync(resource, both, index, 0);
  if (verdict == Verdict::Kind::target) return start_resync(resource, both, index, 1);
  const bool whole = legs[0]->disk > Disk::inconsistent && legs[1]->disk > Disk::inconsistent;
  for (std::size_t i = 0; i < 2; ++i) {
    if (!whole) continue;
    set_disk(both.sides[i], *legs[i], Disk::up_to_date);
    legs[i]->bitmap = 0;
    legs[i]->failed = false;
    legs[i]->peer_outdated = legs[i]->crashed_primary = false;
    legs[i]->crashed_primary = both.sides[i].role == Role::primary;
  }
  exchange();
}

void DrbdKernel::start_resync(const std::string& resource, Pair& both, std::uint16_t index, std::size_t source) {
  Leg& from = both.sides[source].legs[index];
  Leg& to = both.sides[1 - source].legs[index];
  hooks.resync(resource, index, from, to);
  set_disk(both.sides[source], from, Disk::up_to_date);
  set_disk(both.sides[1 - source], to, Disk::inconsistent);
  to.mixed = to.mixed || to.content != from.content;
  from.peer_disk = to.disk;
  to.peer_disk = from.disk;
  from.replication = Replication::sync_source;
  to.replication = Replication::sync_target;
  engine_.say("drbd", resource + "/" + std::to_string(index) + " is resynced from " + both.sides[source].host + " to " +
                          both.sides[1 - source].host);
  engine_.after(engine_.rng().in(kResyncLeast, kResyncMost), [this, resource, index, session = both.session, source] {
    end_resync(resource, index, session, source);
  });
}

void DrbdKernel::end_resync(const std::string& resource, std::uint16_t index, std::uint64_t session,
                            std::size_t source) {
  Pair& both = pairs_.at(resource);
  Side& from = both.sides[source];
  Side& to = both.sides[1 - source];
  if (!from.linked || !to.linked || from.session != session || to.session != session) return;
  Leg& a = from.legs[index];
  Leg& b = to.legs[index];
  if (a.replication != Replication::sync_source || b.replication != Replication::sync_target) return;
  if (!reach(from, to) || !hooks.running(from.host) || !hooks.running(to.host)) {  // goes on when they are back
    engine_.after(kResyncLeast,
                  [this, resource, index, session, source] { end_resync(resource, index, session, source); });
    return;
  }
  if (hooks.disk_broken(to.host)) return lost_disk(resource, to, index);
  // A write of the target's own guest that is on its leg already, and still on its way to the source, stays there.
  const auto on_its_way = [&](const auto& p) { return p.volume == index && p.local && p.write == b.content; };
  if (!std::ranges::any_of(to.pending, on_its_way)) b.content = a.content;
  b.mixed = a.mixed;
  b.failed = false;
  b.old = a.old;
  b.old.push_back(b.current);
  if (a.bitmap != 0) a.old.push_back(a.bitmap);
  b.current = a.current;
  a.bitmap = b.bitmap = 0;
  set_disk(to, b, Disk::up_to_date);
  b.peer_disk = a.disk;
  a.peer_disk = b.disk;
  a.replication = b.replication = Replication::established;
  a.peer_outdated = b.peer_outdated = false;
  a.crashed_primary = from.role == Role::primary;
  b.crashed_primary = to.role == Role::primary;
  tell(resource);
}

/// This side's connection is gone, for whatever reason.
void DrbdKernel::drop(const std::string& resource, Side& mine) {
  mine.linked = false;
  mine.two_primaries = mine.two_primaries && mine.wants_link;
  for (auto& [index, leg] : mine.legs) {
    leg.replication = Replication::off;
    leg.peer_disk = remembered(leg.peer_disk);
    if (leg.peer_disk == Disk::unknown && leg.peer_outdated) leg.peer_disk = Disk::outdated;
  }
  engine_.say("drbd", resource + " on " + mine.host + " has lost its peer");
  if (mine.role == Role::primary) lost_peer(resource, mine);
  tell(resource);
}

void DrbdKernel::lost_peer(const std::string& resource, Side& mine) {
  bool unknown = false, no_disk = false;
  for (const auto& [index, leg] : mine.legs) {
    unknown = unknown || leg.peer_disk == Disk::unknown;
    no_disk = no_disk || leg.disk < Disk::consistent;
  }
  if (no_disk) {
    mine.no_data = true;
    return;
  }
  if (!unknown) return excluded(resource, mine);
  mine.fencing = true;
  ask(resource, mine);
}

/// Once for each loss, and at the end of each attempt to connect that a disconnect has ended (conn_disconnect).
void DrbdKernel::ask(const std::string& resource, Side& mine) {
  engine_.say("drbd", resource + " on " + mine.host + " is frozen; its kernel asks");
  hooks.ask(mine.host, resource, [this, resource, host = mine.host, session = mine.session](int code) {
    Side& me = side(resource, host);
    // Bound to this loss: an answer is ignored when the peer has come back meanwhile.
    if (me.linked || me.session != session || !me.fencing || (code != kExcluded && code != kPoweredOff)) return;
    for (auto& [index, leg] : me.legs) {
      leg.peer_disk = Disk::outdated;
      leg.peer_outdated = true;
    }
    me.fencing = false;
    excluded(resource, me);
    tell(resource);
  });
}

/// The peer is known to be out: a new generation, and what waited is carried out here alone.
void DrbdKernel::excluded(const std::string& resource, Side& mine) {
  for (auto& [index, leg] : mine.legs) bump(leg);
  carry_on(resource, mine);
}

void DrbdKernel::net_changed() {
  for (const auto& [resource, both] : pairs_) settle(resource);
}

storage::ResourceState DrbdKernel::state(const std::string& resource, const std::string& host) {
  storage::ResourceState s;
  s.name = resource;
  if (pair(resource) == nullptr) return s;
  const Side& mine = side(resource, host);
  const Side& theirs = *peer_of(resource, host);
  s.present = mine.up;
  if (!mine.up) return s;
  s.role = mine.role;
  s.suspended_fencing = mine.fencing;
  s.suspended_user = mine.user;
  s.suspended_no_data = mine.no_data;
  s.suspended.clear();
  for (const auto& [on, word] : {std::pair(mine.user, "user"), {mine.no_data, "no-data"}, {mine.fencing, "fencing"}}) {
    if (on) s.suspended += std::string(s.suspended.empty() ? "" : ",") + word;
  }
  if (s.suspended.empty()) s.suspended = "no";
  s.connection = mine.linked       ? storage::Connection::connected
                 : mine.wants_link ? storage::Connection::connecting
                                   : storage::Connection::stand_alone;
  if (mine.linked) s.peer_role = theirs.role;
  for (const auto& [index, leg] : mine.legs) {
    auto& v = s.volumes[index];
    v.minor = leg.minor;
    v.disk = leg.disk;
    v.peer_disk = leg.peer_disk;
    v.replication = mine.linked ? leg.replication : Replication::off;
    v.size_kib = leg.size_mib * 1024;
    const bool syncing = leg.replication == Replication::sync_source || leg.replication == Replication::sync_target;
    v.out_of_sync_kib = leg.bitmap != 0 || syncing || leg.disk == Disk::inconsistent ? 1024 : 0;
  }
  return s;
}

}  // namespace bascule::sim
