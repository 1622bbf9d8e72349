#include <algorithm>

#include "tests/sim/ports.hpp"

namespace bascule::sim {
namespace asio = boost::asio;
using core::DomainReason;
using core::DomainState;
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr Us kQuestionLeast = kMs, kQuestionMost = 15 * kMs;
constexpr Us kStartLeast = 200 * kMs, kStartMost = 2500 * kMs;
constexpr Us kKillLeast = 20 * kMs, kKillMost = 300 * kMs;
constexpr Us kUnkillable = 2 * kSecond;  // libvirt gives up on a process that waits in the kernel

core::Error away(bool change) {
  return fail(change ? Errc::outcome_unknown : Errc::unavailable, "the connection to libvirt was lost in mid-call");
}
}  // namespace

void SimVmHost::deliver(const core::DomainEvent& event) {
  using Kind = core::DomainEvent::Kind;
  if (event.kind == Kind::connected) connected_ = true;
  if (event.kind == Kind::disconnected) connected_ = false;
  if (!connected_ && event.kind == Kind::changed) return;
  for (const auto& sink : sinks_) sink(event);
}

void SimVmHost::notice() {
  if (connected_ == machine_.libvirtd) return;
  core::DomainEvent event;
  event.kind = machine_.libvirtd ? core::DomainEvent::Kind::connected : core::DomainEvent::Kind::disconnected;
  for (const auto& [name, guest] : machine_.guests) event.all.push_back(guest.info);
  deliver(event);
}

Guest* SimVmHost::find(const std::string& name) {
  const auto it = machine_.guests.find(name);
  return it == machine_.guests.end() ? nullptr : &it->second;
}

asio::awaitable<Result<>> SimVmHost::reach(bool change) {
  if (!connected_) co_return fail(Errc::unavailable, "libvirt is not reached now; nothing was sent");
  auto way = process_.sleep(cell_.engine.rng().in(kQuestionLeast, kQuestionMost));
  co_await std::move(way);
  if (!machine_.libvirtd) co_return away(change);
  co_return Result<>{};
}

SimVmHost::Answer<> SimVmHost::act(Us length, std::function<Result<>()> what) {
  auto slot = std::make_shared<Result<>>(fail(Errc::internal, "no answer"));
  auto started = [this, length, what = std::move(what), slot](Process::Token token) {
    cell_.on_machine(machine_.name, length, [handle = process_.handle(), token, what, slot] {
      *slot = what();
      if (const auto alive = handle.lock()) (*alive)->resume(token);
    });
  };
  auto parked = process_.park(started);
  co_await std::move(parked);
  if (!machine_.libvirtd) co_return away(true);
  co_return *slot;
}

SimVmHost::Answer<> SimVmHost::start(core::DomainSpec spec, core::StartProof proof) {
  if (auto ok = core::check(proof, spec.name, machine_.name); !ok) co_return ok;
  if (auto ok = co_await reach(true); !ok) co_return ok;
  auto& cell = cell_;
  const std::string host = machine_.name;
  auto begin = [&cell, host, spec]() -> Result<> {
    Machine& m = cell.machine(host);
    if (!m.libvirtd) return away(true);
    if (m.guests.contains(spec.name)) return fail(Errc::conflict, "it exists and was left as it is");
    const std::string resource = storage::resource_name(spec.name);
    if (cell.drbd.pair(resource) == nullptr || cell.drbd.side(resource, host).role != storage::Role::primary) {
      return fail(Errc::refused, "could not be started: its disk: Read-only file system");
    }
    cell.guest_starts(host, spec.name, spec);
    return {};
  };
  co_return co_await act(cell_.engine.rng().in(kStartLeast, kStartMost), begin);
}

SimVmHost::Answer<std::vector<core::DomainInfo>> SimVmHost::list() {
  if (auto ok = co_await reach(false); !ok) co_return ok.error();
  std::vector<core::DomainInfo> all;
  for (const auto& [name, guest] : machine_.guests) all.push_back(guest.info);
  co_return all;
}

SimVmHost::Answer<core::DomainInfo> SimVmHost::observe(std::string name) {
  if (auto ok = co_await reach(false); !ok) co_return ok.error();
  if (const auto* guest = find(name)) co_return guest->info;
  core::DomainInfo absent;
  absent.name = name;
  absent.state = DomainState::absent;
  co_return absent;
}

SimVmHost::Answer<> SimVmHost::request_shutdown(std::string name) {
  if (auto ok = co_await reach(true); !ok) co_return ok;
  if (find(name) == nullptr) co_return fail(Errc::not_found, "no such domain");
  cell_.on_machine(machine_.name, cell_.engine.rng().in(500 * kMs, 3 * kSecond),
                   [cell = &cell_, host = machine_.name, name, life = find(name)->life] {
                     auto& m = cell->machine(host);
                     const auto it = m.guests.find(name);
                     if (it == m.guests.end() || it->second.life != life || it->second.writing) return;
                     if (cell->runs(host, name)) cell->guest_ends(host, name, DomainReason::guest_shutdown);
                   });
  co_return Result<>{};
}

SimVmHost::Answer<> SimVmHost::force_off(std::string name) {
  if (auto ok = co_await reach(true); !ok) co_return ok;
  auto& cell = cell_;
  const std::string host = machine_.name;
  if (find(name) != nullptr && cell.drbd.waits(storage::resource_name(name), host)) {
    find(name)->dying = true;
    auto wait = process_.sleep(kUnkillable);
    co_await std::move(wait);
    if (find(name) != nullptr) co_return fail(Errc::refused, "its process waits for disk I/O");
    co_return Result<>{};
  }
  auto kill = [&cell, host, name]() -> Result<> {
    Guest* guest = cell.machine(host).guests.contains(name) ? &cell.machine(host).guests[name] : nullptr;
    if (guest == nullptr) return {};
    if (cell.drbd.waits(storage::resource_name(name), host)) {
      guest->dying = true;
      return fail(Errc::refused, "its process waits for disk I/O");
    }
    cell.guest_ends(host, name, DomainReason::destroyed);
    return {};
  };
  co_return co_await act(cell_.engine.rng().in(kKillLeast, kKillMost), kill);
}

SimVmHost::Answer<> SimVmHost::reset(std::string name) {
  if (auto ok = co_await reach(true); !ok) co_return ok;
  if (find(name) == nullptr) co_return fail(Errc::not_found, "no such domain");
  co_return Result<>{};
}

SimVmHost::Answer<> SimVmHost::resume(std::string name, core::ResumeProof proof) {
  if (auto ok = core::check(proof, name, machine_.name); !ok) co_return ok;
  if (auto ok = co_await reach(true); !ok) co_return ok;
  auto& cell = cell_;
  const std::string host = machine_.name;
  auto go = [&cell, host, name]() -> Result<> {
    auto& guests = cell.machine(host).guests;
    const auto it = guests.find(name);
    if (it == guests.end()) return fail(Errc::not_found, "no such domain");
    if (it->second.info.state == DomainState::running) return {};
    if (it->second.info.reason == DomainReason::migrating) return fail(Errc::conflict, "a migration is under way");
    cell.guest_changes(host, name, DomainState::running, DomainReason::user);
    return {};
  };
  co_return co_await act(cell_.engine.rng().in(kQuestionLeast, kQuestionMost), go);
}

SimVmHost::Answer<> SimVmHost::migrate(std::string name, std::string host, core::MigrationParams) {
  if (auto ok = co_await reach(true); !ok) co_return ok;
  if (find(name) == nullptr) co_return fail(Errc::not_found, "no such domain");
  auto slot = std::make_shared<std::optional<Result<>>>();
  auto started = [this, name, host, slot](Process::Token token) {
    cell_.migrate(machine_.name, name, host, [slot, handle = process_.handle(), token](Result<> ended) {
      *slot = std::move(ended);
      if (const auto alive = handle.lock()) (*alive)->resume(token);
    });
  };
  auto parked = process_.park(started);
  co_await std::move(parked);
  if (!machine_.libvirtd || !*slot) co_return away(true);
  co_return **slot;
}

SimVmHost::Answer<> SimVmHost::abort_migration(std::string name) {
  if (auto ok = co_await reach(true); !ok) co_return ok;
  const auto job = machine_.jobs.find(name);
  if (job == machine_.jobs.end()) co_return fail(Errc::conflict, "no migration is under way");
  job->second.abort = true;
  co_return Result<>{};
}

SimVmHost::Answer<core::MigrationStats> SimVmHost::migration_progress(std::string name) {
  if (auto ok = co_await reach(false); !ok) co_return ok.error();
  if (find(name) == nullptr) co_return fail(Errc::not_found, "no such domain");
  core::MigrationStats stats;
  if (machine_.jobs.contains(name)) stats.job = core::MigrationStats::Job::running;
  co_return stats;
}

SimVmHost::Answer<core::MigrationStats> SimVmHost::completed_migration(std::string) {
  if (auto ok = co_await reach(false); !ok) co_return ok.error();
  co_return core::MigrationStats{};
}

SimVmHost::Answer<> SimVmHost::set_max_downtime(std::string, std::uint64_t) { co_return co_await reach(true); }
SimVmHost::Answer<> SimVmHost::set_bandwidth(std::string, std::uint64_t) { co_return co_await reach(true); }
SimVmHost::Answer<> SimVmHost::block_resize(std::string, std::uint32_t, std::uint64_t) {
  co_return co_await reach(true);
}

SimVmHost::Answer<core::HostCapacity> SimVmHost::capacity() {
  co_return core::HostCapacity{16384, 16384, 16, "9.0.0", "10.0.0"};
}

}  // namespace bascule::sim
