// One schedule from the first boot to the verdict.
#include <algorithm>

#include "hostd/core/right.hpp"
#include "tests/sim/hostd.hpp"
#include "tests/sim/recovery.hpp"
#include "tests/sim/schedule.hpp"

namespace bascule::sim {
namespace {

constexpr Us kSetup = 90 * kSecond;    // until all VMs run for the first time
constexpr Us kSettle = 400 * kSecond;  // until all is well after the last fault was healed: L1 to L3's bound
constexpr Us kLook = 500 * kMs;
constexpr int kCalmLooks = 6;

struct Runner {
  const Schedule& schedule;
  Cell cell;
  Recovery recovery{cell};
  Rng rng;  ///< apart from the cell's: what a person does must not shift what happens by chance

  explicit Runner(const Schedule& s) : schedule(s), cell(s.options), rng(s.options.seed ^ 0xa5a5a5a5ULL) {}

  std::vector<std::string> others(const std::string& host) const {
    std::vector<std::string> out{"witness"};
    for (const auto& [name, m] : cell.machines) out.push_back(name);
    std::erase(out, host);
    return out;
  }
  void cut(Lan lan, const std::string& host, bool out, bool in, bool on) {
    for (const auto& other : others(host)) {
      if (out && on) cell.net.cut(lan, host, other);
      if (in && on) cell.net.cut(lan, other, host);
      if (out && !on) cell.net.join(lan, host, other);
      if (in && !on) cell.net.join(lan, other, host);
    }
    cell.topology_changed();
  }
  void fibre(bool on) {
    for (const auto& [a, left] : cell.machines) {
      for (const auto& [b, right] : cell.machines) {
        if (left->site == right->site) continue;
        for (const Lan lan : {Lan::management, Lan::replication}) {
          if (on)
            cell.net.cut(lan, a, b);
          else
            cell.net.join(lan, a, b);
        }
      }
    }
    cell.topology_changed();
  }

  /// A person asks one of the hosts that answer.
  void ask(core::Verb verb) {
    std::vector<Hostd*> up;
    for (const auto& [name, m] : cell.machines) {
      if (m->running() && m->hostd && !m->hostd->process.hung()) up.push_back(m->hostd.get());
    }
    if (up.empty()) return;
    core::Request request;
    request.verb = std::move(verb);
    request.caller = {core::Role::operator_, "olga", ""};
    request.reason = "simulated";
    auto* hostd = up[static_cast<std::size_t>(rng.in(0, static_cast<std::int64_t>(up.size()) - 1))];
    hostd->ask_for(std::move(request), [this, on = hostd->config.host](const auto& accepted) {
      cell.engine.say("operator", accepted ? "asked " + on + ": operation " + accepted->operation
                                           : "asked " + on + ": " + accepted.error().what);
    });
  }

  void person(const Act& act) {
    const auto& view = cell.view();
    const auto vm = view.vms.find(act.where);
    if (act.kind == "maintenance") return ask(core::SetMaintenance{act.where, true});
    if (vm == view.vms.end()) return;
    if (act.kind == "stop") return ask(core::PowerOffVm{act.where});
    if (act.kind == "start") return ask(core::StartVm{act.where});
    if (act.kind == "failback") return ask(core::FailbackVm{act.where, {}});
    if (act.kind == "failover") return ask(core::FailoverVm{act.where, false, {}, {}, {}});
    ask(core::MigrateVm{act.where, core::other_host(vm->second.layout.value, vm->second.right.value.host), {}});
  }

  void begin(const Act& act);
  void end(const Act& act);
  void heal();
  bool create();
  bool calm();
  bool calm_until(Us until);
};

void Runner::begin(const Act& act) {
  const auto& k = act.kind;
  const auto& w = act.where;
  cell.engine.say("fault", k + " " + w);
  if (k == "power-cut") {
    cell.machine(w).kept_off = true;
    cell.power_cut(w);
  } else if (k == "hang")
    cell.hang(w, true);
  else if (k == "hostd-kill")
    cell.kill_hostd(w);
  else if (k == "hostd-hang")
    cell.hang_hostd(w, true);
  else if (k == "libvirtd-kill")
    cell.kill_libvirtd(w);
  else if (k == "qemu-kill") {
    for (const auto& [host, m] : cell.machines) {
      if (cell.runs(host, w) && m->running()) {
        cell.guest_ends(host, w, core::DomainReason::failed);
        break;
      }
    }
  } else if (k == "link-repl")
    cut(Lan::replication, w, true, true, true);
  else if (k == "link-repl-out")
    cut(Lan::replication, w, true, false, true);
  else if (k == "link-mgmt")
    cut(Lan::management, w, true, true, true);
  else if (k == "link-mgmt-out")
    cut(Lan::management, w, true, false, true);
  else if (k == "link-mgmt-in")
    cut(Lan::management, w, false, true, true);
  else if (k == "links-all") {
    cut(Lan::management, w, true, true, true);
    cut(Lan::replication, w, true, true, true);
  } else if (k == "fibre")
    fibre(true);
  else if (k == "witness-off")
    cell.etcd.stop_member("witness", true);
  else if (k == "etcd-stop")
    cell.etcd.stop_member(w, true);
  else if (k == "etcd-away")
    cell.etcd.stop_all(true);
  else if (k == "etcd-slow")
    cell.etcd.slow = rng.in(50 * kMs, 1500 * kMs);
  else if (k == "etcd-answers-lost")
    cell.etcd.lose_answer = 0.3;
  else if (k == "watch-lag")
    cell.etcd.watch_lag = rng.in(100 * kMs, 5 * kSecond);
  else if (k == "compact")
    cell.etcd.compact();
  else if (k == "disk-error")
    cell.break_disk(w, true);
  else if (k == "clock-jump")
    cell.machine(w).clock.wall_offset_ms += rng.in(-3'600'000, 3'600'000);
  else if (k == "loss")
    cell.net.loss = 0.2;
  else if (k == "delay")
    cell.net.added_delay = rng.in(10 * kMs, 120 * kMs);
  else if (k == "helper-kill")
    cell.kill_helpers(w);
  else if (k == "backup")
    recovery.backup();
  else if (k == "etcd-lost")
    recovery.lose();
  else
    person(act);
}

void Runner::end(const Act& act) {
  const auto& k = act.kind;
  const auto& w = act.where;
  if (k == "power-cut") {
    cell.machine(w).kept_off = false;
    cell.boot(w);
  } else if (k == "hang")
    cell.hang(w, false);
  else if (k == "hostd-hang")
    cell.hang_hostd(w, false);
  else if (k == "link-repl")
    cut(Lan::replication, w, true, true, false);
  else if (k == "link-repl-out")
    cut(Lan::replication, w, true, false, false);
  else if (k == "link-mgmt")
    cut(Lan::management, w, true, true, false);
  else if (k == "link-mgmt-out")
    cut(Lan::management, w, true, false, false);
  else if (k == "link-mgmt-in")
    cut(Lan::management, w, false, true, false);
  else if (k == "links-all") {
    cut(Lan::management, w, true, true, false);
    cut(Lan::replication, w, true, true, false);
  } else if (k == "fibre")
    fibre(false);
  else if (k == "witness-off")
    cell.etcd.stop_member("witness", false);
  else if (k == "etcd-stop")
    cell.etcd.stop_member(w, false);
  else if (k == "etcd-away")
    cell.etcd.stop_all(false);
  else if (k == "etcd-slow")
    cell.etcd.slow = 0;
  else if (k == "etcd-answers-lost")
    cell.etcd.lose_answer = 0;
  else if (k == "watch-lag")
    cell.etcd.watch_lag = 0;
  else if (k == "disk-error")
    cell.break_disk(w, false);
  else if (k == "loss")
    cell.net.loss = 0;
  else if (k == "delay")
    cell.net.added_delay = 0;
  else if (k == "etcd-lost")
    recovery.begin();
  else if (k == "maintenance")
    ask(core::SetMaintenance{w, false});
}

void Runner::heal() {
  cell.engine.say("fault", "all is healed");
  cell.net.heal();
  cell.etcd.stop_all(false);
  cell.etcd.slow = cell.etcd.watch_lag = 0;
  cell.etcd.lose_answer = 0;
  for (auto& [host, m] : cell.machines) {
    m->kept_off = m->disk_broken = false;
    cell.hang(host, false);
    cell.hang_hostd(host, false);
    cell.boot(host);
  }
  cell.topology_changed();
  for (const auto& act : schedule.acts) {
    if (act.kind == "maintenance") {
      cell.engine.after(5 * kSecond, [this, where = act.where] { ask(core::SetMaintenance{where, false}); });
    }
  }
}

bool Runner::calm() {
  const auto& view = cell.view();
  if (static_cast<int>(view.vms.size()) < schedule.vms) return false;
  const bool idle = std::ranges::all_of(view.operations, [&](const auto& op) {
    const auto* vm = view.vm(op.second.value.vm);
    return core::finished(op.second.value.state) || (vm != nullptr && cell.out_of_legs(*vm));
  });
  if (!idle) return false;
  return std::ranges::all_of(view.vms, [&](const auto& entry) {
    const auto& [name, vm] = entry;
    if (cell.out_of_legs(vm)) return true;
    if (vm.operation.revision != 0 || vm.right.revision == 0) return false;
    const auto& layout = vm.layout.value;
    for (const auto& leg : layout.volumes.front().legs) {
      if (!core::insync_everywhere(vm.right.value, layout, leg.host)) return false;
      const bool should = vm.spec.value.power == core::Power::on && vm.right.value.host == leg.host;
      if (should != cell.runs(leg.host, name)) return false;
      if (!storage::in_sync(cell.drbd.state(storage::resource_name(name), leg.host))) return false;
      if (!Cell::told_in_sync(vm, leg.host)) return false;
      const auto* pair = cell.drbd.pair(storage::resource_name(name));
      if (pair->sides[0].two_primaries || pair->sides[1].two_primaries) return false;
    }
    return !vm.right.value.migrating_to;
  });
}

bool Runner::calm_until(Us until) {
  int looks = 0;
  while (cell.engine.now_us() < until && cell.violations.empty()) {
    cell.run_until(cell.engine.now_us() + kLook);
    looks = calm() ? looks + 1 : 0;
    if (looks >= kCalmLooks) return true;
  }
  return false;
}

bool Runner::create() {
  for (const auto& [host, m] : cell.machines) cell.boot(host);
  cell.run_until(4 * kSecond);
  for (int i = 1; i <= schedule.vms; ++i) {
    core::VmSpec spec;
    spec.name = "vm" + std::to_string(i);
    spec.project = "sim";
    spec.memory_mib = 512;
    spec.power = core::Power::on;
    const bool second = schedule.options.four_hosts && i == 2;
    spec.nominal_host = i == 3 ? "b1" : second ? "a2" : "a1";
    spec.peer_host = i == 3 ? "a1" : second ? "b2" : "b1";
    for (int v = 1; v <= schedule.volumes; ++v) spec.volumes.push_back({"v" + std::to_string(v), 64, {}});
    ask(core::PutVm{spec});
    cell.run_until(cell.engine.now_us() + 200 * kMs);
  }
  return calm_until(kSetup);
}

}  // namespace

Report run(const Schedule& schedule, const Tell& tell) {
  Runner r(schedule);
  if (tell) r.cell.engine.tell(tell);
  auto& cell = r.cell;
  if (auto ok = core::check(schedule.options.timing); !ok) cell.violate("S8", ok.error().what);
  if (!r.create() && cell.violations.empty()) cell.violate("setup", "the VMs do not come up without a fault");
  const Us start = cell.engine.now_us();
  Us last = start;
  for (const auto& act : schedule.acts) {
    cell.engine.at(start + act.at, [&r, &act] { r.begin(act); });
    cell.engine.at(start + act.at + act.length, [&r, &act] { r.end(act); });
    last = std::max(last, start + act.at + act.length);
  }
  cell.run_until(last + kMs);
  if (cell.violations.empty()) {
    r.heal();
    const bool well = r.calm_until(cell.engine.now_us() + kSettle);
    if (cell.violations.empty()) {
      for (auto& c : cell.checkers) c->end(cell);
      if (!well && cell.violations.empty()) cell.violate("L2", "the cell does not come to rest");
    }
  }
  Report report;
  report.violations = cell.violations;
  report.simulated = cell.engine.now_us();
  report.events = cell.engine.events();
  report.acknowledged = cell.acknowledged_count;
  for (const auto& [id, op] : cell.view().operations) {
    ++report.operations;
    if (op.value.state == core::OpState::needs_operator) ++report.asked;
  }
  return report;
}

}  // namespace bascule::sim
