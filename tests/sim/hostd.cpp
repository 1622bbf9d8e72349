#include "tests/sim/hostd.hpp"

#include <algorithm>

#include "hostd/arbiter.hpp"
#include "hostd/runtime/background.hpp"

namespace bascule::sim {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

Config config_of(const Cell& cell, const Machine& machine) {
  Config c;
  c.cell = "sim";
  c.host = machine.name;
  c.site = machine.site;
  c.api.listen = machine.name + ":1";
  c.replication.address = machine.site == core::Site::a ? "10.0.0.1" : "10.0.0.2";
  if (machine.name.back() == '2') c.replication.address += "0";
  c.migration_address = c.replication.address;
  c.timing = cell.options.timing;
  c.watchdog.accept_softdog = true;
  return c;
}

/// Images are not simulated: nothing of it is opened.
ImageStore& no_images() {
  static ImageStore images("/nonexistent", 1);
  return images;
}

constexpr Us kEventLeast = 200, kEventMost = 4 * kMs;  // from the kernel or libvirtd to hostd

constexpr Us kNoticeLeast = 5 * kMs, kNoticeMost = 200 * kMs;  // libvirtd is gone, or there again

}  // namespace

Hostd::Hostd(Cell& world, Machine& m)
    : process(world.engine, m.name, m.clock),
      config(config_of(world, m)),
      kv(world.etcd, process, m.name),
      cell(process.executor(), kv, config.cell, config.host, m.name + "-" + std::to_string(m.instances)),
      vms(world, m, process),
      drbd(world, m, process),
      notes(std::make_unique<SimNotes>(m)),
      watchdog(world, m),
      peers(world, m, process),
      power(world, process),
      node(config, cell, vms, drbd, m.pool, no_images(), notes),
      guardian(node, watchdog, peers, m.name + "-" + std::to_string(m.instances), "boot-" + std::to_string(m.boot)),
      ha(node, guardian, power),
      observer(node),
      worker(node),
      world_(world),
      machine_(m) {
  node.facts = [this] { return ha.facts(); };
  node.helpers = [this](const std::string& resource) {
    return static_cast<std::size_t>(std::ranges::count(machine_.questions, resource,
                                                       [](const auto& question) { return question.second.resource; }));
  };
  node.arm = [this] { return guardian.arm(); };
  node.prove_watchdog = [this](bool on) { guardian.prove(on); };
  made_in.reset();
  auto loaded = notes.load();
  BASCULE_CHECK(loaded.has_value());
  kv.expect(notes.notes().cluster_id);
}

void Hostd::start() {
  process.post([this] {
    const auto executor = process.executor();
    runtime::run_in_background(executor, "the view of the cell", cell.run());
    runtime::run_in_background(executor, "the watchdog", guardian.run());
    runtime::run_in_background(executor, "failover", ha.run());
    runtime::run_in_background(executor, "the worker", worker.run());
    runtime::run_in_background(executor, "announcing the host", announce());
  });
}

asio::awaitable<void> Hostd::announce() {
  while (true) {
    if (cell.view().synced) {
      core::HostInfo info;
      info.id = config.host;
      info.site = config.site;
      info.api_address = config.api.listen;
      info.replication_address = config.replication.address;
      info.migration_address = config.migration_address;
      info.hostd_version = "sim";
      info.qemu_version = "10.0.0";
      info.accel = "kvm";
      info.instance = std::to_string(machine_.instances);
      info.cpus = 16;
      info.memory_mib = 16384;
      info.pool_free_mib = 1'000'000;
      auto done = co_await cell.put_info(std::move(info));
      if (done) break;
    }
    co_await runtime::pause(std::chrono::seconds(1));
  }
}

void Hostd::libvirt_changed() {
  const auto handle = process.handle();
  world_.engine.after(world_.engine.rng().in(kNoticeLeast, kNoticeMost), [this, handle] {
    if (handle.expired()) return;
    process.post([this] { vms.notice(); });
  });
}

void Hostd::domain_event(core::DomainEvent event) {
  const auto handle = process.handle();
  world_.engine.after(world_.engine.rng().in(kEventLeast, kEventMost), [this, handle, event = std::move(event)] {
    if (handle.expired()) return;
    process.post([this, event] { vms.deliver(event); });
  });
}

void Hostd::resource_event(const std::string& resource) {
  const auto handle = process.handle();
  world_.engine.after(world_.engine.rng().in(kEventLeast, kEventMost), [this, handle, resource] {
    if (handle.expired()) return;
    process.post([this, resource] { drbd.deliver(resource); });
  });
}

void Hostd::answer_fence(const std::string& resource, std::function<void(int)> tell) {
  process.post([this, resource, tell = std::move(tell)] {
    runtime::run_in_background(process.executor(), "DRBD's question", decide(resource, tell));
  });
}

asio::awaitable<void> Hostd::decide(std::string resource, std::function<void(int)> tell) {
  const auto answer = co_await decide_fence(node, resource);
  tell(static_cast<int>(answer));
}

void Hostd::ask_for(core::Request request, std::function<void(const Result<runtime::CellStore::Accepted>&)> told) {
  process.post([this, request = std::move(request), told = std::move(told)] {
    runtime::run_in_background(process.executor(), "a request", submit(request, told));
  });
}

asio::awaitable<void> Hostd::submit(core::Request request,
                                    std::function<void(const Result<runtime::CellStore::Accepted>&)> told) {
  auto done = co_await cell.submit(std::move(request), runtime::wall_ms());
  told(done);
}

void Hostd::restore(std::vector<core::RestoreStep> parts, std::function<void(const Result<>&)> told) {
  process.post([this, parts = std::move(parts), told = std::move(told)] {
    runtime::run_in_background(process.executor(), "a restore", restore_all(parts, told));
  });
}

asio::awaitable<void> Hostd::restore_all(std::vector<core::RestoreStep> parts,
                                         std::function<void(const Result<>&)> told) {
  Result<> all{};
  for (const auto& part : parts) {
    core::RestoreStep step = part;
    const core::Who who{"olga", "operator", {}};
    auto done = co_await cell.restore(std::move(step), who, "all of etcd was lost", runtime::wall_ms());
    if (done) continue;
    all = done.error();
    break;
  }
  told(all);
}

void Hostd::approve(const std::string& operation) {
  process.post([this, operation] { runtime::run_in_background(process.executor(), "an approval", steer(operation)); });
}

asio::awaitable<void> Hostd::steer(std::string operation) {
  const core::Who who{"otto", "operator", {}};
  auto done =
      co_await cell.steer(std::move(operation), core::Steer::approve, who, "looked at both", runtime::wall_ms());
  static_cast<void>(done);  // asked again while it waits
}

Result<runtime::WatchdogInfo> SimWatchdog::arm(std::uint32_t timeout_s, bool) {
  const bool handed_over = machine_.watchdog.armed;
  cell_.arm_watchdog(machine_.name, timeout_s * kSecond, !handed_over);
  runtime::WatchdogInfo info;
  info.timeout_s = timeout_s;
  info.handed_over = handed_over;
  return info;
}

Result<> SimWatchdog::pet() {
  if (!machine_.watchdog.armed || machine_.watchdog.expired) return fail(Errc::conflict, "not armed");
  cell_.pet_watchdog(machine_.name);
  return {};
}

Result<> SimWatchdog::disarm() {
  machine_.watchdog.armed = false;
  return {};
}

Result<> SimWatchdog::expire_now() {
  machine_.watchdog.expired = true;
  cell_.arm_watchdog(machine_.name, kSecond, true);
  return {};
}

asio::awaitable<Result<>> SimPeers::ask_promise(std::string host, std::string, core::HostLease lease,
                                                runtime::Deadline deadline) {
  auto& engine = cell_.engine;
  auto slot = std::make_shared<std::optional<Result<>>>();
  auto started = [this, &engine, slot, host, lease, deadline](Process::Token token) {
    const auto wake = [handle = process_.handle(), token] {
      if (const auto alive = handle.lock()) (*alive)->resume(token);
    };
    engine.at(process_.clock().until(deadline), wake);
    engine.after(cell_.net.delay(), [cell = &cell_, slot, self = machine_.name, host, lease, wake] {
      Machine& there = cell->machine(host);
      if (!there.running() || !there.hostd || !cell->net.both_ways(Lan::management, self, host)) return;
      there.hostd->process.post([cell, slot, self, host, lease, wake] {
        auto given = cell->machine(host).hostd->guardian.promise(self, lease);
        cell->engine.after(cell->net.delay(), [cell, slot, self, host, given, wake] {
          if (!cell->net.one_way(Lan::management, host, self)) return;
          *slot = given;
          wake();
        });
      });
    });
  };
  auto parked = process_.park(started);
  co_await std::move(parked);
  if (!*slot || runtime::Clock::now() >= deadline) co_return fail(Errc::outcome_unknown, "no answer in time");
  co_return **slot;
}

bool SimPower::configured(const std::string& host) const {
  return cell_.options.power_switch && cell_.machines.contains(host);
}

asio::awaitable<Result<>> SimPower::off(std::string host) {
  auto& rng = cell_.engine.rng();
  auto work = process_.sleep(rng.in(300 * kMs, 1500 * kMs));
  co_await std::move(work);
  const auto dice = rng.in(0, 9);
  if (dice == 0) co_return fail(Errc::refused, "it said no");
  if (dice != 1) {
    cell_.switch_off(host);
  }
  if (dice <= 2) co_return fail(Errc::outcome_unknown, "no answer in time");
  co_return Result<>{};
}

}  // namespace bascule::sim
