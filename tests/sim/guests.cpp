// Guests: they write, one flush after the other, and move between machines.
#include <algorithm>

#include "tests/sim/cell.hpp"
#include "tests/sim/hostd.hpp"

namespace bascule::sim {
using core::DomainReason;
using core::DomainState;
using core::Errc;
using core::fail;

namespace {
constexpr Us kThinkLeast = 30 * kMs, kThinkMost = 250 * kMs;
constexpr Us kMigrationTick = 100 * kMs;
constexpr Us kMigrationPatience = 15 * kSecond;  // of QEMU and libvirt with a stream that stands still
constexpr Us kDowntimeLeast = 10 * kMs, kDowntimeMost = 300 * kMs;
}  // namespace

bool Cell::runs(const std::string& host, const std::string& vm) const {
  const auto& m = *machines.at(host);
  const auto it = m.guests.find(vm);
  return m.on && it != m.guests.end() && it->second.info.state == DomainState::running;
}

void Cell::check_runs(const std::string& host, const std::string& vm) {
  if (!runs(host, vm) || machine(host).hung) return;
  for (auto& c : checkers) c->guest_runs(*this, host, vm);
}

void Cell::guest_starts(const std::string& host, const std::string& vm, core::DomainSpec spec) {
  Guest& guest = machine(host).guests[vm];
  guest = {};
  guest.info.name = vm;
  guest.info.uuid = spec.uuid;
  guest.spec = std::move(spec);
  guest.life = ++lives_;
  const std::string resource = storage::resource_name(vm);
  const auto& mine = drbd.side(resource, host);
  for (const auto& [index, leg] : mine.legs) {
    // Without a disk here it reads over the link, from a leg that is whole; where there is none it waits for the one it
    // had.
    const auto& other = drbd.peer_of(resource, host)->legs[index];
    const bool over_link = !leg.attached && mine.linked && other.attached && leg.peer_disk == storage::Disk::up_to_date;
    guest.holds[index] = over_link ? other.content : leg.content;
  }
  guest_changes(host, vm, DomainState::running, DomainReason::started);
  guest_writes(host, vm, guest.life);
}

void Cell::guest_changes(const std::string& host, const std::string& vm, DomainState state, DomainReason reason) {
  Machine& m = machine(host);
  const auto it = m.guests.find(vm);
  if (it == m.guests.end()) return;
  it->second.info.state = state;
  it->second.info.reason = reason;
  engine.say(host,
             vm + " is " + std::string(core::to_string(state)) + " (" + std::string(core::to_string(reason)) + ")");
  core::DomainEvent event;
  event.info = it->second.info;
  if (m.hostd) m.hostd->domain_event(event);
  if (state == DomainState::absent) {
    drbd.forget_waiters(storage::resource_name(vm), host);
    m.guests.erase(it);
  } else {
    check_runs(host, vm);
  }
}

void Cell::guest_ends(const std::string& host, const std::string& vm, DomainReason reason) {
  const auto job = machine(host).jobs.find(vm);
  if (job != machine(host).jobs.end() && reason != DomainReason::migrated) job->second.abort = true;
  guest_changes(host, vm, DomainState::absent, reason);
}

void Cell::guest_writes(const std::string& host, const std::string& vm, std::uint64_t life) {
  Machine& m = machine(host);
  const auto it = m.guests.find(vm);
  if (it == m.guests.end() || it->second.life != life) return;
  Guest& guest = it->second;
  if (guest.info.state == DomainState::running && !guest.writing && !guest.holds.empty()) {
    const auto volume =
        static_cast<std::uint16_t>(engine.rng().in(0, static_cast<std::int64_t>(guest.holds.size()) - 1));
    const auto id = drbd.writes.add(guest.holds[volume]);
    guest.holds[volume] = id;
    guest.writing = true;
    drbd.write(storage::resource_name(vm), host, volume, id, [this, host, vm, life, volume, id] {
      const auto now = machine(host).guests.find(vm);
      if (now == machine(host).guests.end() || now->second.life != life) return;
      now->second.writing = false;
      for (auto& c : checkers) c->confirmed(*this, host, vm, volume, id);
      acknowledged[vm][volume] = id;
      ++acknowledged_count;
    });
  }
  on_machine(host, engine.rng().in(kThinkLeast, kThinkMost), [this, host, vm, life] { guest_writes(host, vm, life); });
}

void Cell::migrate(const std::string& host, const std::string& vm, const std::string& target,
                   std::function<void(core::Result<>)> done) {
  Machine& from = machine(host);
  Machine& to = machine(target);
  const auto refuse = [&](std::string why) {
    on_machine(host, 100 * kMs, [done, why] { done(fail(Errc::refused, why + "; it still runs on this host")); });
  };
  if (from.jobs.contains(vm)) return refuse("a migration of it is under way");
  if (!to.running() || !to.libvirtd || !net.both_ways(Lan::management, host, target)) {
    return refuse("unable to connect to " + target);
  }
  if (to.guests.contains(vm)) return refuse("it exists on " + target);
  const std::string resource = storage::resource_name(vm);
  if (drbd.pair(resource) == nullptr || drbd.side(resource, target).role != storage::Role::primary) {
    return refuse("its disk cannot be opened on " + target);
  }
  auto& job = from.jobs[vm];
  job = {};
  job.target = target;
  job.id = ++ids_;
  job.left = engine.rng().in(200 * kMs, 3 * kSecond);
  job.waiters.push_back([this, host, vm, done] { done(*machine(host).jobs[vm].result); });
  Guest& copy = to.guests[vm];
  copy = from.guests[vm];
  copy.life = ++lives_;
  copy.writing = copy.dying = false;
  guest_changes(target, vm, DomainState::paused, DomainReason::migrating);
  on_machine(host, kMigrationTick, [this, host, vm, id = job.id] { tick_migration(host, vm, id); });
}

void Cell::tick_migration(const std::string& host, const std::string& vm, std::uint64_t id) {
  Machine& from = machine(host);
  const auto it = from.jobs.find(vm);
  if (it == from.jobs.end() || it->second.id != id) return;
  MigrationJob& job = it->second;
  Machine& to = machine(job.target);
  const auto copy = to.guests.find(vm);
  const bool alive = copy != to.guests.end() && copy->second.info.reason == DomainReason::migrating;
  const bool link = net.both_ways(Lan::replication, host, job.target);
  job.stalled = link ? 0 : job.stalled + kMigrationTick;
  if (!from.guests.contains(vm)) {  // the guest ended: its copy waits in vain
    if (alive && link) guest_ends(job.target, vm, DomainReason::failed);
    return end_migration(host, vm, fail(Errc::refused, "the guest ended while it migrated"));
  }
  const bool lost = !alive || job.stalled > kMigrationPatience || (!link && engine.rng().chance(0.02));
  if (job.abort || lost) {
    if (alive && (to.running() || link)) guest_ends(job.target, vm, DomainReason::failed);
    guest_changes(host, vm, DomainState::running, DomainReason::migration_cancelled);
    return end_migration(host, vm, fail(job.abort ? Errc::cancelled : Errc::refused, "given up; it still runs here"));
  }
  if (link) job.left -= kMigrationTick;
  if (job.left <= 0) {
    guest_changes(host, vm, DomainState::paused, DomainReason::migrating);
    return on_machine(host, engine.rng().in(kDowntimeLeast, kDowntimeMost), [this, host, vm, id] {
      const auto now = machine(host).jobs.find(vm);
      if (now != machine(host).jobs.end() && now->second.id == id) hand_over(host, vm);
    });
  }
  on_machine(host, kMigrationTick, [this, host, vm, id] { tick_migration(host, vm, id); });
}

/// The guest stands still on the source; its last pages are on their way.
void Cell::hand_over(const std::string& host, const std::string& vm) {
  Machine& from = machine(host);
  MigrationJob& job = from.jobs[vm];
  const std::string target = job.target;
  Machine& to = machine(target);
  const auto copy = to.guests.find(vm);
  const bool alive = to.running() && copy != to.guests.end() && copy->second.info.reason == DomainReason::migrating;
  const bool link = net.both_ways(Lan::replication, host, target);
  if (!from.guests.contains(vm)) return end_migration(host, vm, fail(Errc::refused, "the guest ended"));
  if (from.guests[vm].writing && !job.abort) {  // QEMU waits for what is on its way to the disk
    return on_machine(host, kDowntimeLeast, [this, host, vm, id = job.id] {
      const auto now = machine(host).jobs.find(vm);
      if (now != machine(host).jobs.end() && now->second.id == id) hand_over(host, vm);
    });
  }
  const bool whole = alive && !job.abort && (link || engine.rng().chance(0.5));
  if (whole) {
    copy->second.holds = from.guests[vm].holds;
    copy->second.life = ++lives_;
    guest_changes(target, vm, DomainState::paused, DomainReason::user);
    guest_writes(target, vm, copy->second.life);
  } else if (alive) {
    guest_ends(target, vm, DomainReason::failed);
  }
  const bool told = whole && net.both_ways(Lan::management, host, target) && from.libvirtd && to.libvirtd;
  if (told) {
    on_machine(host, engine.rng().in(10 * kMs, 500 * kMs), [this, host, vm] {
      guest_ends(host, vm, DomainReason::migrated);
      end_migration(host, vm, {});
    });
    return;
  }
  // Nobody tells the source that its guest has arrived: libvirt lets it run again there, or leaves it standing.
  const bool resumes = !whole || engine.rng().chance(0.7);
  guest_changes(host, vm, resumes ? DomainState::running : DomainState::paused,
                resumes ? DomainReason::migration_cancelled : DomainReason::other);
  end_migration(host, vm, fail(whole ? Errc::outcome_unknown : Errc::refused, "the other libvirtd did not answer"));
}

void Cell::end_migration(const std::string& host, const std::string& vm, core::Result<> result) {
  auto& jobs = machine(host).jobs;
  const auto it = jobs.find(vm);
  if (it == jobs.end()) return;
  it->second.result = std::move(result);
  const auto waiters = std::exchange(it->second.waiters, {});
  for (const auto& tell : waiters) tell();
  jobs.erase(vm);
}

}  // namespace bascule::sim
