// Machines: power, hangs, watchdogs, processes, the fence-peer helpers.
#include "tests/sim/cell.hpp"

#include <algorithm>

#include "hostd/codec/codec.hpp"
#include "hostd/core/right.hpp"
#include "tests/sim/hostd.hpp"

namespace bascule::sim {
namespace {
constexpr Us kHostdStarts = 1500 * kMs;  // systemd's RestartSec, and its own start
constexpr Us kLibvirtdStarts = 1500 * kMs;
constexpr Us kBootLeast = 2 * kSecond, kBootMost = 6 * kSecond;
constexpr Us kSwitchedOnLeast = 5 * kSecond, kSwitchedOnMost = 40 * kSecond;
constexpr Us kHelperLeast = 2 * kMs, kHelperMost = 60 * kMs;  // drbdadm, and two fsyncs
constexpr Us kHungAgain = 50 * kMs;
constexpr Us kOffset = 100 * kSecond;  // machines were booted within so long of each other
constexpr double kRate = 0.008;        // below core::Timing::clock_rate_error_percent
}  // namespace

Cell::Cell(const CellOptions& o)
    : engine(o.seed), etcd(engine, net, {"a1", "b1", "witness"}), checkers(all_checkers()), options(o) {
  auto& rng = engine.rng();
  std::vector<std::string> names{"a1", "b1"};
  if (o.four_hosts) names.insert(names.end(), {"a2", "b2"});
  for (const auto& name : names) {
    auto m = std::make_unique<Machine>();
    m->name = name;
    m->site = name.front() == 'a' ? core::Site::a : core::Site::b;
    m->clock.offset = rng.in(0, kOffset);
    m->clock.rate = 1.0 + kRate * (static_cast<double>(rng.in(-1000, 1000)) / 1000.0);
    m->watchdog_works = o.watchdogs_fire;
    machines[name] = std::move(m);
  }
  etcd.committed = [this](const core::kv::Event& event) {
    for (auto& c : checkers) c->committed(*this, event);
  };
  drbd.hooks.changed = [this](const std::string& host, const std::string& resource) {
    const auto it = machines.find(host);
    if (it == machines.end()) return;
    Machine& m = *it->second;
    const std::string vm(storage::vm_of(resource));
    const auto guest = m.guests.find(vm);
    if (guest != m.guests.end() && guest->second.dying && !drbd.waits(resource, host)) {
      on_machine(host, kMs, [this, host, vm] { guest_ends(host, vm, core::DomainReason::destroyed); });
    }
    if (m.hostd) m.hostd->resource_event(resource);
  };
  drbd.hooks.ask = [this](const std::string& host, const std::string& resource, std::function<void(int)> answer) {
    ask_helper(host, resource, std::move(answer));
  };
  drbd.hooks.disk_lost = [this](const std::string& host, const std::string& resource, std::uint16_t volume,
                                std::function<void()> done) {
    on_machine(host, engine.rng().in(kHelperLeast, kHelperMost), [this, host, resource, volume, done] {
      machine(host).lost_disks.emplace(std::string(storage::vm_of(resource)), volume);
      done();
    });
  };
  drbd.hooks.held_open = [this](const std::string& host, const std::string& resource) {
    return machine(host).guests.contains(std::string(storage::vm_of(resource)));
  };
  drbd.hooks.disk_broken = [this](const std::string& host) { return machine(host).disk_broken; };
  drbd.hooks.running = [this](const std::string& host) { return machine(host).running(); };
  drbd.hooks.promoted = [this](const std::string& host, const std::string& resource) {
    for (auto& c : checkers) c->promoted(*this, host, std::string(storage::vm_of(resource)));
  };
  drbd.hooks.resync = [this](const std::string& resource, std::uint16_t volume, const DrbdKernel::Leg& from,
                             const DrbdKernel::Leg& to) {
    for (auto& c : checkers) c->resync(*this, std::string(storage::vm_of(resource)), volume, from, to);
  };
}

Cell::~Cell() {
  for (auto& [name, m] : machines) m->hostd.reset();
}

void Cell::run_until(Us until) {
  while (violations.empty() && engine.step(until)) {
  }
}

void Cell::violate(std::string invariant, std::string what) {
  engine.say("checker", invariant + ": " + what);
  violations.push_back({std::move(invariant), std::move(what), engine.now_us()});
}

void Cell::on_machine(const std::string& host, Us length, std::function<void()> what) {
  Machine& m = machine(host);
  engine.after(length, [this, host, boot = m.boot, what = std::move(what)] {
    const Machine& now = machine(host);
    if (!now.on || now.boot != boot) return;
    if (now.hung) return on_machine(host, kHungAgain, what);
    what();
  });
}

void Cell::topology_changed() {
  etcd.refresh();
  drbd.net_changed();
}

void Cell::boot(const std::string& host) {
  Machine& m = machine(host);
  if (m.on) return;
  m.on = true;
  m.hung = false;
  ++m.boot;
  m.watchdog = {};
  engine.say(host, "boots");
  net.silence(host, false);
  topology_changed();
  on_machine(host, engine.rng().in(300 * kMs, kLibvirtdStarts), [this, host] { libvirtd_up(host); });
  on_machine(host, engine.rng().in(500 * kMs, kHostdStarts), [this, host] { start_hostd(host); });
}

void Cell::power_cut(const std::string& host) {
  Machine& m = machine(host);
  if (!m.on) return;
  engine.say(host, "loses its power");
  m.on = m.hung = m.libvirtd = false;
  for (const auto& entry : m.jobs) {
    // The target's libvirtd notices by its keepalive, and ends what will never be whole.
    on_machine(entry.second.target, engine.rng().in(2 * kSecond, 35 * kSecond),
               [this, vm = entry.first, target = entry.second.target] {
                 const auto copy = machine(target).guests.find(vm);
                 if (copy == machine(target).guests.end()) return;
                 if (copy->second.info.reason == core::DomainReason::migrating)
                   guest_ends(target, vm, core::DomainReason::failed);
               });
  }
  m.hostd.reset();
  m.guests.clear();
  m.jobs.clear();
  m.questions.clear();
  m.watchdog = {};
  drbd.machine_off(host);
  net.silence(host, true);
  topology_changed();
}

void Cell::switch_off(const std::string& host) {
  machine(host).kept_off = true;
  power_cut(host);
  engine.after(engine.rng().in(kSwitchedOnLeast, kSwitchedOnMost), [this, host] {
    machine(host).kept_off = false;
    boot_again(host);
  });
}

void Cell::hang(const std::string& host, bool on) {
  Machine& m = machine(host);
  if (!m.on || m.hung == on) return;
  engine.say(host, on ? "stands still" : "goes on");
  m.hung = on;
  if (m.hostd) m.hostd->process.hang(on);
  net.silence(host, on);
  topology_changed();
  if (on) return;
  m.woke = engine.now_us();
  for (const auto& [vm, guest] : m.guests) {
    for (auto& c : checkers) c->guest_wakes(*this, host, vm);
  }
  drbd.machine_wakes(host);
}

void Cell::kill_hostd(const std::string& host) {
  Machine& m = machine(host);
  if (!m.hostd) return;
  engine.say(host, "hostd is killed");
  m.hostd.reset();
  on_machine(host, kHostdStarts, [this, host] { start_hostd(host); });
}

void Cell::start_hostd(const std::string& host) {
  Machine& m = machine(host);
  if (m.hostd) return;
  engine.say(host, "hostd starts");
  ++m.instances;
  m.hostd = std::make_unique<Hostd>(*this, m);
  m.hostd->start();
  m.hostd->libvirt_changed();
  for (const auto& entry : m.questions) {
    on_machine(host, 100 * kMs, [this, host, id = entry.first] { deliver(machine(host), id); });
  }
}

void Cell::hang_hostd(const std::string& host, bool on) {
  Machine& m = machine(host);
  if (m.hostd && !m.hung) m.hostd->process.hang(on);
}

void Cell::kill_libvirtd(const std::string& host) {
  Machine& m = machine(host);
  if (!m.libvirtd) return;
  engine.say(host, "libvirtd is killed");
  m.libvirtd = false;
  for (auto& [vm, job] : m.jobs) job.abort = true;
  for (auto& [name, other] : machines) {
    for (auto& [vm, job] : other->jobs) {
      if (job.target == host) job.abort = true;
    }
  }
  if (m.hostd) m.hostd->libvirt_changed();
  on_machine(host, kLibvirtdStarts, [this, host] { libvirtd_up(host); });
}

void Cell::libvirtd_up(const std::string& host) {
  machine(host).libvirtd = true;
  if (machine(host).hostd) machine(host).hostd->libvirt_changed();
}

void Cell::break_disk(const std::string& host, bool broken) {
  machine(host).disk_broken = broken;
  engine.say(host, broken ? "its disk fails" : "its disk is whole again");
  if (broken) drbd.disk_fails(host);
}

void Cell::arm_watchdog(const std::string& host, Us timeout, bool pet) {
  Machine& m = machine(host);
  m.watchdog.timeout = timeout;
  if (!m.watchdog.armed || pet) m.watchdog.last_pet = engine.now_us();
  m.watchdog.armed = true;
  watchdog_due(host, m.watchdog.last_pet);
}

void Cell::pet_watchdog(const std::string& host) {
  Machine& m = machine(host);
  m.watchdog.last_pet = engine.now_us();
  watchdog_due(host, m.watchdog.last_pet);
}

void Cell::watchdog_due(const std::string& host, Us pet) {
  Machine& m = machine(host);
  // The device counts on its own clock, which is the machine's.
  const auto length = static_cast<Us>(static_cast<double>(m.watchdog.timeout) / m.clock.rate);
  engine.at(pet + length, [this, host, pet, boot = m.boot] {
    Machine& now = machine(host);
    if (!now.on || now.boot != boot || !now.watchdog.armed || now.watchdog.last_pet != pet || !now.watchdog_works)
      return;
    engine.say(host, "its watchdog fires");
    const Us reset = engine.rng().in(0, options.timing.reset_time.count() * kMs - 50 * kMs);
    engine.after(reset, [this, host, boot] {
      if (machine(host).on && machine(host).boot == boot) {
        power_cut(host);
        engine.after(engine.rng().in(kBootLeast, kBootMost), [this, host] { boot_again(host); });
      }
    });
  });
}

void Cell::boot_again(const std::string& host) {
  if (!machine(host).on && !machine(host).kept_off) boot(host);
}

void Cell::ask_helper(const std::string& host, const std::string& resource, std::function<void(int)> answer) {
  Machine& m = machine(host);
  const auto id = ++ids_;
  m.questions[id] = {resource, std::move(answer)};
  on_machine(host, engine.rng().in(kMs, 30 * kMs), [this, host, id] { deliver(machine(host), id); });
}

void Cell::deliver(Machine& m, std::uint64_t id) {
  const auto it = m.questions.find(id);
  if (it == m.questions.end() || !m.hostd) return;  // asked again when hostd is there
  m.hostd->answer_fence(it->second.resource, [this, host = m.name, id, boot = m.boot](int code) {
    // The helper exits, unless it or the machine is gone meanwhile.
    engine.after(engine.rng().in(kMs, 20 * kMs), [this, host, id, boot, code] {
      Machine& now = machine(host);
      if (!now.on || now.boot != boot) return;
      const auto question = now.questions.find(id);
      if (question == now.questions.end()) return;
      const auto tell = std::move(question->second.answer);
      now.questions.erase(question);
      tell(code);
    });
  });
}

void Cell::kill_helpers(const std::string& host) {
  auto gone = std::exchange(machine(host).questions, {});
  for (auto& [id, question] : gone) question.answer(1);
}

bool Cell::out_of_legs(const core::VmView& vm) {
  if (vm.right.revision == 0) return false;  // being made: nothing is lost
  const std::string resource = storage::resource_name(vm.spec.value.name);
  std::uint16_t index = 0;
  for (const auto& volume : vm.layout.value.volumes) {
    const auto listed = vm.right.value.insync.find(volume.name);
    bool good = false;
    for (const auto& leg : volume.legs) {
      const bool in =
          listed != vm.right.value.insync.end() && std::ranges::find(listed->second, leg) != listed->second.end();
      const auto& own = drbd.side(resource, leg.host).legs[index];
      // The primary without a disk works on it: the record can change over to it.
      const auto& other = drbd.side(resource, core::other_host(vm.layout.value, leg.host));
      const bool worked_on =
          other.role == storage::Role::primary && other.linked && own.attached && own.disk == storage::Disk::up_to_date;
      good = good || (in && !own.failed && own.consistent) || worked_on;
    }
    if (!good) return true;
    ++index;
  }
  return false;
}

bool Cell::told_in_sync(const core::VmView& vm, const std::string& host) {
  const auto told = vm.status.find(host);
  return told != vm.status.end() && told->second.volumes.size() == vm.layout.value.volumes.size() &&
         std::ranges::all_of(told->second.volumes, [](const auto& volume) {
           return volume.second.disk == "UpToDate" && volume.second.replication == "Established";
         });
}

const core::CellView& Cell::view() const {
  const auto& state = etcd.state();
  if (state.revision < viewed_) {  // etcd went back in time
    view_ = {};
    viewed_ = 0;
  }
  const auto& history = state.history;
  auto news = std::ranges::upper_bound(history, viewed_, {}, [](const auto& event) { return event.kv.mod_revision; });
  for (; news != history.end(); ++news) look_at(*news);
  viewed_ = state.revision;
  return view_;
}

void Cell::look_at(const core::kv::Event& event) const {
  constexpr std::string_view kRoot = "/bascule/sim/";
  std::string_view rest = event.kv.key;
  if (!rest.starts_with(kRoot)) return;
  rest.remove_prefix(kRoot.size());
  const bool gone = event.kind == core::kv::Event::Kind::del;
  const auto read = [&]<class T>(core::Versioned<T>& slot) {
    slot = {};
    if (gone) return;
    if (auto value = codec::decode<T>(event.kv.value))
      slot = {std::move(*value), event.kv.create_revision, event.kv.mod_revision};
  };
  if (rest.starts_with("ops/")) {
    const std::string id(rest.substr(4));
    read(view_.operations[id]);
    if (gone) view_.operations.erase(id);
    return;
  }
  if (!rest.starts_with("vms/")) return;
  rest.remove_prefix(4);
  const auto slash = rest.find('/');
  auto& vm = view_.vms[std::string(rest.substr(0, slash))];
  const auto field = rest.substr(slash + 1);
  if (field == "spec") read(vm.spec);
  if (field == "layout") read(vm.layout);
  if (field == "right") read(vm.right);
  if (field == "restored") read(vm.restored);
  if (field.starts_with("status/")) {
    core::Versioned<core::VmStatus> status;
    read(status);
    vm.status[std::string(field.substr(7))] = std::move(status.value);
  }
  if (field == "op") vm.operation = {event.kv.value, event.kv.create_revision, gone ? 0 : event.kv.mod_revision};
}

}  // namespace bascule::sim
