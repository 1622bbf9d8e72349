// Commands, disks and a guest's writes.
#include <algorithm>

#include "tests/sim/drbd.hpp"

namespace bascule::sim {

namespace {
constexpr std::uint64_t kJustCreated = 4;
constexpr Us kResend = 50 * kMs;
}  // namespace

void DrbdKernel::bring_up(const std::string& resource, const std::string& host) {
  side(resource, host).up = true;
  tell(resource);
}

std::string DrbdKernel::invalidate(const std::string& resource, const std::string& host, std::uint16_t volume) {
  Leg& leg = side(resource, host).legs[volume];
  if (leg.attached) return "Device is attached";
  if (hooks.disk_broken(host)) return "the disk does not answer";
  leg.consistent = leg.was_up_to_date = false;
  return {};
}

std::string DrbdKernel::attach(const std::string& resource, const std::string& host, std::uint16_t volume) {
  Side& mine = side(resource, host);
  Leg& leg = mine.legs[volume];
  mine.up = true;
  if (leg.attached) return {};
  if (!leg.metadata) return "No valid meta-data signature found.";
  if (hooks.disk_broken(host)) return "Low.dev. smaller than requested DRBD-dev. size: the disk does not answer";
  Side& theirs = *peer_of(resource, host);
  const bool dead_link = mine.linked && (!theirs.linked || theirs.session != mine.session || !reach(mine, theirs));
  if (dead_link) return "the peer does not answer: no common state was found";
  leg.attached = true;
  if (!leg.consistent)
    leg.disk = Disk::inconsistent;
  else if (!leg.was_up_to_date)
    leg.disk = Disk::outdated;
  else
    leg.disk = leg.peer_outdated ? Disk::up_to_date : Disk::consistent;
  if (mine.linked) {
    Pair& both = pairs_.at(resource);
    join(resource, both, volume);
  } else if (leg.peer_outdated) {
    leg.peer_disk = Disk::outdated;
  }
  tell(resource);
  return {};
}

void DrbdKernel::connect(const std::string& resource, const std::string& host, bool discard) {
  Side& mine = side(resource, host);
  if (mine.wants_link) return;
  if (discard) {
    for (auto& [index, leg] : mine.legs) leg.old.push_back(leg.current);
  }
  mine.two_primaries = false;
  mine.wants_link = true;
  tell(resource);
  settle(resource);
}

void DrbdKernel::disconnect(const std::string& resource, const std::string& host, bool force) {
  Side& mine = side(resource, host);
  Side& theirs = *peer_of(resource, host);
  if (!mine.wants_link) return;
  const bool polite = !force && mine.linked && theirs.linked && theirs.session == mine.session && reach(mine, theirs);
  if (polite && mine.role == Role::primary && theirs.role != Role::primary) {
    for (auto& [index, leg] : theirs.legs) {
      if (leg.disk == Disk::up_to_date) set_disk(theirs, leg, Disk::outdated);
      mine.legs[index].peer_disk = Disk::outdated;
      mine.legs[index].peer_outdated = true;
    }
  } else if (polite && theirs.role == Role::primary && mine.role != Role::primary) {
    for (auto& [index, leg] : mine.legs) {
      if (leg.disk == Disk::up_to_date) set_disk(mine, leg, Disk::outdated);
      theirs.legs[index].peer_disk = Disk::outdated;
      theirs.legs[index].peer_outdated = true;
    }
  }
  mine.wants_link = mine.two_primaries = false;
  const bool frozen = !mine.linked && mine.role == Role::primary && mine.fencing;
  if (mine.linked) drop(resource, mine);
  if (frozen) ask(resource, mine);
  tell(resource);
  settle(resource);
}

std::string DrbdKernel::promote(const std::string& resource, const std::string& host, storage::Force force,
                                int answer) {
  Side& mine = side(resource, host);
  const Side& theirs = *peer_of(resource, host);
  if (!mine.up) return "(7) Device not configured";
  if (mine.role == Role::primary) return {};
  // Over a link the promotion is a change of both sides' state: the peer's kernel must say yes (cl_wide_st_chg).
  const bool dead_link = mine.linked && (!theirs.linked || theirs.session != mine.session || !reach(mine, theirs));
  if (dead_link) return "State change failed: the peer does not answer";
  if (mine.linked && theirs.role == Role::primary && !mine.two_primaries) return "Multiple primaries not allowed";
  bool ask = false;
  for (auto& [index, leg] : mine.legs) {
    if (force == storage::Force::fresh && leg.disk == Disk::inconsistent && leg.current == kJustCreated) continue;
    if (force == storage::Force::outdated && leg.disk == Disk::outdated) continue;
    if (leg.disk < Disk::consistent) return "Need access to UpToDate data";
    if (!mine.linked && leg.peer_disk == Disk::unknown) ask = true;
    if (!mine.linked && leg.disk == Disk::consistent) ask = true;
  }
  if (ask && answer == 0) return "ask";
  if (ask && answer != 4 && answer != 7) return "Refusing to be Primary while peer is not outdated";
  for (auto& [index, leg] : mine.legs) {
    set_disk(mine, leg, Disk::up_to_date);
    if (!mine.linked) {
      leg.peer_disk = Disk::outdated;
      leg.peer_outdated = leg.peer_outdated || ask;
      if (leg.current == kJustCreated) leg.current = ++generations_;
      bump(leg);
    }
    leg.crashed_primary = true;  // until it is demoted
  }
  // safety: a simulated kernel; no data is behind it.
  mine.role = Role::primary;
  hooks.promoted(host, resource);
  tell(resource);
  return {};
}

void DrbdKernel::promoting(const std::string& resource, const std::string& host, bool on) {
  side(resource, host).promoting = on;
  if (!on) settle(resource);
}

std::string DrbdKernel::demote(const std::string& resource, const std::string& host) {
  Side& mine = side(resource, host);
  if (!mine.up || mine.role != Role::primary) return {};
  if (hooks.held_open(host, resource)) return "Device is held open by someone";
  mine.role = Role::secondary;
  mine.fencing = mine.no_data = false;
  mine.pending.clear();
  for (auto& [index, leg] : mine.legs) leg.crashed_primary = false;
  tell(resource);
  return {};
}

std::string DrbdKernel::two_primaries(const std::string& resource, const std::string& host, bool allow) {
  Side& mine = side(resource, host);
  Side& theirs = *peer_of(resource, host);
  if (!mine.wants_link) return allow ? "no connection" : "";
  if (!allow && mine.linked && mine.role == Role::primary && theirs.role == Role::primary) {
    return "Can not clear allow_two_primaries as long as there are primaries on both sides";
  }
  mine.two_primaries = allow;
  if (mine.linked && theirs.linked && theirs.session == mine.session && reach(mine, theirs)) {
    theirs.two_primaries = allow;
  }
  tell(resource);
  return {};
}

std::string DrbdKernel::skip_first_sync(const std::string& resource, const std::string& host, std::uint16_t volume) {
  Side& mine = side(resource, host);
  Side& theirs = *peer_of(resource, host);
  if (!mine.linked || !theirs.linked) return "no connection";
  const auto generation = ++generations_;
  for (Side* s : {&mine, &theirs}) {
    Leg& leg = s->legs[volume];
    if (leg.current != kJustCreated) return "not just created";
    leg.current = generation;
    leg.bitmap = 0;
    set_disk(*s, leg, Disk::up_to_date);
    leg.peer_disk = Disk::up_to_date;
  }
  tell(resource);
  return {};
}

void DrbdKernel::detach(const std::string& resource, const std::string& host, std::uint16_t volume) {
  Side& mine = side(resource, host);
  if (mine.legs[volume].attached) lost_disk(resource, mine, volume);
}

void DrbdKernel::lost_disk(const std::string& resource, Side& mine, std::uint16_t index) {
  Leg& leg = mine.legs[index];
  if (!leg.attached) return;
  const bool was_target = leg.replication == Replication::sync_target;
  // ed_uuid stays what its primary worked on over the link, until this leg has caught up with that.
  if (leg.disk == Disk::up_to_date || leg.exposed == 0) leg.exposed = leg.current;
  leg.attached = false;
  leg.disk = Disk::diskless;
  leg.failed = true;
  if (mine.linked) leg.replication = Replication::established;
  engine_.say("drbd", resource + " on " + mine.host + " has lost its disk");
  if (mine.role == Role::primary && (!mine.linked || leg.peer_disk != Disk::up_to_date)) mine.no_data = true;
  tell(resource);
  // after_state_ch: the worker runs the helper first, and only then sends the state and whatever else waits.
  ++mine.helpers;
  hooks.disk_lost(mine.host, resource, index,
                  [this, resource, host = mine.host, index, was_target, session = mine.session] {
                    Side& me = side(resource, host);
                    --me.helpers;
                    if (me.linked && me.session == session && !me.legs[index].attached)
                      tell_peer_of_disk(resource, me, index, was_target);
                    carry_on(resource, me);
                  });
}

void DrbdKernel::tell_peer_of_disk(const std::string& resource, Side& mine, std::uint16_t index, bool was_target) {
  Leg& leg = mine.legs[index];
  Side& theirs = *peer_of(resource, mine.host);
  Leg& other = theirs.legs[index];
  other.replication = Replication::established;
  if (theirs.linked && theirs.session == mine.session) {
    other.peer_disk = Disk::diskless;
    // lost_contact_to_peer_data: whoever still has the data begins a new generation.
    const bool primary = mine.role == Role::primary || theirs.role == Role::primary;
    if (primary && other.disk == Disk::up_to_date && !was_target) bump(other);
    carry_on(resource, theirs);
  }
  leg.exposed = other.current;
  tell(resource);
}

void DrbdKernel::disk_fails(const std::string& host) {
  for (auto& [resource, both] : pairs_) {
    Side& mine = side(resource, host);
    if (mine.host != host) continue;
    for (auto& [index, leg] : mine.legs) {
      // The next write or metadata update finds it; an idle leg may not notice for a while.
      if (leg.attached) {
        engine_.after(engine_.rng().in(kMs, 3 * kSecond), [this, r = resource, host, i = index] {
          if (hooks.disk_broken(host) && hooks.running(host)) lost_disk(r, side(r, host), i);
        });
      }
    }
  }
}

void DrbdKernel::suspend(const std::string& resource, const std::string& host, bool on) {
  Side& mine = side(resource, host);
  mine.user = on;
  if (!on) carry_on(resource, mine);
  tell(resource);
}

void DrbdKernel::fail_pending(const std::string& resource, const std::string& host) {
  Side& mine = side(resource, host);
  mine.pending.clear();
  mine.fencing = mine.user = mine.no_data = false;
  tell(resource);
}

std::string DrbdKernel::down(const std::string& resource, const std::string& host) {
  if (pair(resource) == nullptr) return {};
  if (hooks.held_open(host, resource)) return "Device is held open by someone";
  if (auto no = demote(resource, host); !no.empty()) return no;
  disconnect(resource, host, false);
  Side& mine = side(resource, host);
  mine.up = false;
  mine.fencing = mine.user = mine.no_data = false;
  for (auto& [index, leg] : mine.legs) {
    leg.attached = false;
    leg.disk = Disk::diskless;
    leg.peer_disk = Disk::unknown;
    leg.replication = Replication::off;
  }
  tell(resource);
  return {};
}

void DrbdKernel::machine_off(const std::string& host) {
  for (auto& [resource, both] : pairs_) {
    Side& mine = side(resource, host);
    if (mine.host != host) continue;
    mine.up = mine.linked = mine.wants_link = mine.two_primaries = mine.promoting = false;
    mine.fencing = mine.user = mine.no_data = false;
    mine.helpers = 0;
    mine.role = Role::secondary;
    mine.pending.clear();
    for (auto& [index, leg] : mine.legs) {
      leg.attached = false;
      leg.disk = Disk::diskless;
      leg.peer_disk = Disk::unknown;
      leg.replication = Replication::off;
    }
  }
}

void DrbdKernel::machine_wakes(const std::string& host) {
  for (auto& [resource, both] : pairs_) {
    Side& mine = side(resource, host);
    if (mine.host != host) continue;
    carry_on(resource, mine);
    settle(resource);
  }
}

void DrbdKernel::write(const std::string& resource, const std::string& host, std::uint16_t volume, Writes::Id write,
                       std::function<void()> acknowledged) {
  Side& mine = side(resource, host);
  if (!mine.up || mine.role != Role::primary) return;  // an I/O error: the guest never hears of success
  Pending p;
  p.volume = volume;
  p.write = write;
  p.acknowledged = std::move(acknowledged);
  mine.pending.push_back(std::move(p));
  carry_on(resource, mine);
}

bool DrbdKernel::waits(const std::string& resource, const std::string& host) {
  return pair(resource) != nullptr && side(resource, host).suspended() && !side(resource, host).pending.empty();
}

void DrbdKernel::forget_waiters(const std::string& resource, const std::string& host) {
  if (pair(resource) == nullptr) return;
  for (auto& p : side(resource, host).pending) p.acknowledged = nullptr;
}

void DrbdKernel::carry_on(const std::string& resource, Side& mine) {
  std::vector<std::function<void()>> told;
  for (std::size_t i = 0; i < mine.pending.size();) {
    if (!carry_out(resource, mine, mine.pending[i])) {
      ++i;
      continue;
    }
    if (mine.pending[i].acknowledged) told.push_back(std::move(mine.pending[i].acknowledged));
    mine.pending.erase(mine.pending.begin() + static_cast<std::ptrdiff_t>(i));
  }
  for (const auto& tell_guest : told) tell_guest();
}

/// True when the write is done, on every leg it must be on.
bool DrbdKernel::carry_out(const std::string& resource, Side& mine, Pending& p) {
  Leg& leg = mine.legs[p.volume];
  if (mine.suspended() || !hooks.running(mine.host)) return false;
  if (!p.local && leg.attached) {
    if (hooks.disk_broken(mine.host)) {
      engine_.after(0,
                    [this, resource, host = mine.host, v = p.volume] { lost_disk(resource, side(resource, host), v); });
      return false;
    }
    leg.content = p.write;
    p.local = true;
  }
  const bool own = p.local && leg.attached && leg.disk == Disk::up_to_date;
  if (!mine.linked) return own;  // not frozen: the peer is known to be out
  const bool peer_has_disk = leg.peer_disk >= Disk::inconsistent;
  if (!peer_has_disk) return own;
  if (!p.remote && p.sent != mine.session && mine.helpers == 0) {
    p.refused = false;
    send(resource, mine, p);
  }
  if (p.refused) return own;
  return p.remote && (own || leg.peer_disk == Disk::up_to_date);
}

void DrbdKernel::packet(const std::string& resource, const std::string& from, std::uint64_t session,
                        std::function<void()> arrives) {
  engine_.after(net_.delay(), [this, resource, from, session, arrives = std::move(arrives)] {
    const Side& me = side(resource, from);
    const Side& peer = *peer_of(resource, from);
    if (!me.linked || me.session != session || !peer.linked || peer.session != session) return;
    if (net_.one_way(Lan::replication, from, peer.host)) return arrives();
    engine_.after(kResend, [this, resource, from, session, arrives] { packet(resource, from, session, arrives); });
  });
}

void DrbdKernel::send(const std::string& resource, Side& mine, Pending& p) {
  p.sent = mine.session;
  packet(resource, mine.host, mine.session,
         [this, resource, host = mine.host, session = mine.session, v = p.volume, w = p.write] {
           Side& peer = *peer_of(resource, host);
           Leg& there = peer.legs[v];
           const bool refused = !there.attached;
           if (!refused && hooks.disk_broken(peer.host)) return lost_disk(resource, peer, v);
           if (!refused) there.content = w;
           packet(resource, peer.host, session, [this, resource, host, w, refused] {
             Side& back = side(resource, host);
             for (auto& pending : back.pending) {
               if (pending.write == w) (refused ? pending.refused : pending.remote) = true;
             }
             carry_on(resource, back);
           });
         });
}

}  // namespace bascule::sim
