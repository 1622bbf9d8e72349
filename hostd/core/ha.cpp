#include "hostd/core/ha.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hostd/core/explain.hpp"
#include "hostd/core/ha_care.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

Mono absence(const HaFacts& facts, const std::string& host) {
  const auto it = facts.absent.find(host);
  return it == facts.absent.end() ? Mono(0) : it->second;
}

Mono takeover_at(const Timing& timing) { return timing.takeover + timing.verifications * timing.renew; }

const Operation* operation_of(const CellView& view, const VmView& vm) {
  if (vm.operation.revision == 0) return nullptr;
  const auto it = view.operations.find(vm.operation.value);
  return it == view.operations.end() ? nullptr : &it->second.value;
}

HaAction submit(const std::string& vm, Verb verb, std::string reason) {
  HaAction a;
  a.vm = vm;
  a.verb = std::move(verb);
  a.reason = std::move(reason);
  return a;
}

/// One VM, from the point of view of one host. `wait` is set when something should run and is not started.
struct Judge {
  const CellView& view;
  const HaFacts& facts;
  const Timing& timing;
  const std::string& self;
  std::string wait{};

  std::optional<HaAction> other_side(const VmView& vm, const LocalVm& local);
  std::optional<HaAction> own_side(const VmView& vm, const LocalVm& local);
  std::optional<HaAction> settle(const VmView& vm, const LocalVm& local) const;
  std::optional<HaAction> evacuate(const VmView& vm, const LocalVm& local);
  std::optional<HaAction> care(const VmView& vm, const LocalVm& local) const;
  bool peer_ready(const VmView& vm, const std::string& peer) const;
};

std::map<std::string, std::string> evidence(const CellView& view, const VmView& vm, const LocalVm& local,
                                            const HaFacts& facts, const std::string& lost) {
  const HostView* host = view.host(lost);
  std::map<std::string, std::string> seen;
  seen["lost_host"] = lost;
  seen["absent_ms"] = std::to_string(absence(facts, lost).count());
  seen["lost_lease_revision"] = std::to_string(host == nullptr ? 0 : host->lease.revision);
  seen["power_off_confirmed"] = known_off(view, lost) ? "yes" : "no";
  seen["witness"] = "etcd confirmed this host's own lease";
  seen["drbd"] = fmt::format("{}, peer {}", local.connection.empty() ? "down" : local.connection,
                             local.peer_role.empty() ? "unknown" : local.peer_role);
  for (const auto& [name, volume] : local.volumes) {
    seen["drbd"] += fmt::format(", {} {}/{}", name, volume.disk, volume.peer_disk);
  }
  const auto last = vm.status.find(lost);
  if (last != vm.status.end()) {
    seen["last_word"] =
        fmt::format("guest {}, disk {}", to_string(last->second.domain),
                    last->second.suspended == "no" ? "not frozen" : "frozen: " + last->second.suspended);
  }
  seen["record"] = fmt::format("epoch {}, revision {}", vm.right.value.epoch, vm.right.revision);
  return seen;
}

std::optional<HaAction> Judge::other_side(const VmView& vm, const LocalVm& local) {
  const auto& spec = vm.spec.value;
  const std::string& lost = vm.right.value.host;
  const HostView* host = view.host(lost);
  if (host == nullptr || (!host->silent && !known_off(view, lost))) return {};
  if (spec.power != Power::on) return {};
  if (const auto* op = operation_of(view, vm); op != nullptr) {
    if (op->kind == OpKind::vm_failover) return {};
    if (!may_supersede(op->kind)) {
      wait = fmt::format("operation {} ({}) holds it and waits for host {}", op->id, to_string(op->kind), lost);
      return {};
    }
  }
  if (spec.protection == Protection::none) return {};  // there is no leg here
  if (spec.protection != Protection::ha) {
    wait =
        fmt::format("its protection is '{}': `hostctl vm failover {}{}` starts it on {}", to_string(spec.protection),
                    spec.name, spec.protection == Protection::backup ? " --host-is-off --sacrifice " + lost : "", self);
    return {};
  }
  if (view.disarmed.revision != 0) {
    wait = disarmed_text(view, lost, spec.name);
    return {};
  }
  if (auto ok = may_take_over(view, vm, local, facts, timing, self, {}); !ok) {
    wait = ok.error().what;
    return {};
  }
  FailoverVm verb;
  verb.vm = spec.name;
  verb.superseded = vm.operation.value;
  verb.seen = evidence(view, vm, local, facts, lost);
  const bool off = known_off(view, lost);
  return submit(
      spec.name, std::move(verb),
      off ? fmt::format("host {} is off: its power switch confirmed it", lost)
          : fmt::format("host {} is lost: its lease has not changed for {} ms", lost, absence(facts, lost).count()));
}

/// The other host could run it now.
bool Judge::peer_ready(const VmView& vm, const std::string& peer) const {
  const HostView* host = view.host(peer);
  return host != nullptr && host->alive() && host->maintenance.revision == 0 &&
         insync_everywhere(vm.right.value, vm.layout.value, peer) &&
         free_memory_mib(view, peer, vm.spec.value.name) >= vm.spec.value.memory_mib;
}

/// Leftovers in the record that only its holder may put right.
std::optional<HaAction> Judge::settle(const VmView& vm, const LocalVm& local) const {
  const Right& right = vm.right.value;
  HaAction a;
  a.kind = HaAction::Kind::settle;
  a.vm = vm.spec.value.name;
  a.revision = vm.right.revision;
  a.right = right;
  if (right.migrating_to) {
    const std::string& target = *right.migrating_to;
    const auto status = vm.status.find(target);
    const HostView* host = view.host(target);
    const bool no_copy = host != nullptr && host->alive() && status != vm.status.end() &&
                         status->second.domain == DomainState::absent && status->second.role != "Primary";
    // safety: S1. No operation is at work, so nothing can bring a copy to the target any more; the target itself says
    // that it has none, or its lease has been absent for the whole takeover time, after which none can run.
    // [model: M_unmark]
    if (!no_copy && absence(facts, target) < takeover_at(timing) && !known_off(view, target)) return {};
    a.right.migrating_to.reset();
    a.reason = "no migration is at work and host " + target + " has no copy: the mark is taken off";
    return a;
  }
  const auto steady = facts.steady.find(a.vm);
  if (right.restarts != 0 && local.domain == DomainState::running && steady != facts.steady.end() &&
      steady->second >= HaLimits::steady_after) {
    a.right.restarts = 0;
    a.reason = "the guest has run steadily: automatic starts count from zero again";
    return a;
  }
  return {};
}

/// This host is in maintenance: its guests leave, live, one after the other.
std::optional<HaAction> Judge::evacuate(const VmView& vm, const LocalVm& local) {
  const HostView* own = view.host(self);
  if (own == nullptr || own->maintenance.revision == 0 || local.domain != DomainState::running) return {};
  const std::string peer = other_host(vm.layout.value, self);
  if (!peer_ready(vm, peer) || local.connection != "Connected") {
    wait = fmt::format("host {} is in maintenance, but {} cannot take it live now", self, peer);
    return {};
  }
  const bool moving = std::ranges::any_of(view.operations, [&](const auto& entry) {
    const Operation& op = entry.second.value;
    return !finished(op.state) && op.kind == OpKind::vm_migrate && op.source_host == self;
  });
  if (moving) return {};
  return submit(vm.spec.value.name, MigrateVm{vm.spec.value.name, peer, {}},
                fmt::format("maintenance of {}, asked by {}: {}", self, own->maintenance.value.author,
                            own->maintenance.value.reason));
}

/// What is due by a calendar: nothing that could not wait.
std::optional<HaAction> Judge::care(const VmView& vm, const LocalVm& local) const {
  auto due = care_due(view, vm, local, facts, peer_ready(vm, other_host(vm.layout.value, self)), self);
  if (!due) return {};
  return submit(vm.spec.value.name, std::move(due->verb), std::move(due->reason));
}

std::optional<HaAction> Judge::own_side(const VmView& vm, const LocalVm& local) {
  const auto& spec = vm.spec.value;
  const Right& right = vm.right.value;
  if (vm.operation.revision != 0) return {};
  if (auto left = settle(vm, local)) return left;
  if (auto move = evacuate(vm, local)) return move;
  if (spec.power != Power::on || local.domain != DomainState::absent) return care(vm, local);
  if (right.migrating_to) {
    wait = "a migration to " + *right.migrating_to + " is marked, and that host has not said that it has no copy";
    return {};
  }
  if (local.reason == DomainReason::guest_shutdown) {
    wait = fmt::format("{}; `hostctl vm start {}` starts it", kOwnAct, spec.name);
    return {};
  }
  const std::string peer = other_host(vm.layout.value, self);
  const bool own = insync_everywhere(right, vm.layout.value, self) && !facts.unfit.contains(spec.name);
  const bool moves = peer_ready(vm, peer);
  if (right.restarts >= HaLimits::restarts_all) {
    wait = fmt::format("its guest ended by itself {} times in a row; look at it, then `hostctl vm start {}`",
                       right.restarts, spec.name);
    return {};
  }
  if (!own && !moves) {
    const auto unfit = facts.unfit.find(spec.name);
    wait = fmt::format(
        "{}; {} cannot take it now",
        unfit != facts.unfit.end() ? unfit->second : "the record does not list its legs on " + self + " as in sync",
        peer);
    return {};
  }
  if (moves && (!own || (right.restarts >= HaLimits::restarts_here && right.restarts % HaLimits::restarts_here == 0))) {
    return submit(spec.name, RestartVm{spec.name, true},
                  own ? fmt::format("its guest ended {} times on {}: tried on {}", right.restarts, self, peer)
                      : "its legs on " + self + " are not in sync, those on " + peer + " are");
  }
  for (const auto& [name, volume] : local.volumes) {
    if (volume.disk != "UpToDate" && volume.disk != "Consistent") {
      wait = fmt::format("the disk of volume {} on {} is {}", name, self, volume.disk);
      return {};
    }
  }
  const bool alone = local.connection != "Connected";
  if (alone && facts.up_for < HaLimits::other_leg_patience && insync_everywhere(right, vm.layout.value, peer)) {
    wait = "this host has just come up: the other leg is given a moment to connect first";
    return {};
  }
  return submit(
      spec.name, RestartVm{spec.name, false},
      fmt::format("there is no guest on {} although the run-right is its own ({})", self, to_string(local.reason)));
}

/// Hosts that hold VMs this one would take over, and that a power switch could settle sooner.
std::vector<HaAction> fences(const CellView& view, const std::map<std::string, LocalVm>& locals, const HaFacts& facts,
                             const Timing& timing, const std::string& self) {
  std::vector<HaAction> out;
  std::size_t budget = facts.fenced_lately >= HaLimits::fences ? 0 : HaLimits::fences - facts.fenced_lately;
  for (const auto& host : facts.can_fence) {
    const HostView* seen = view.host(host);
    if (budget == 0) break;
    if (seen == nullptr || seen->lease.revision == 0 || seen->fence.revision != 0) continue;
    if (absence(facts, host) < timing.suspect || absence(facts, host) >= takeover_at(timing)) continue;
    const bool worth = std::ranges::any_of(view.vms, [&](const auto& entry) {
      const VmView& vm = entry.second;
      const auto local = locals.find(entry.first);
      return vm.right.revision != 0 && vm.right.value.host == host && vm.spec.value.power == Power::on &&
             vm.spec.value.protection == Protection::ha && local != locals.end() &&
             !(local->second.connection == "Connected" && local->second.peer_role == "Primary") &&
             insync_everywhere(vm.right.value, vm.layout.value, self);
    });
    if (!worth) continue;
    HaAction a;
    a.kind = HaAction::Kind::fence;
    a.host = host;
    a.reason =
        fmt::format("host {} is silent for {} ms and its VMs would be taken over", host, absence(facts, host).count());
    out.push_back(std::move(a));
    --budget;
  }
  return out;
}

}  // namespace

bool guards(const CellView& view, const std::string& host) {
  const HostView* h = view.host(host);
  return h == nullptr || h->lease.value.guarding;
}

bool known_off(const CellView& view, const std::string& host) {
  const HostView* h = view.host(host);
  return h != nullptr && h->fence.revision != 0 && h->fence.value.confirmed &&
         h->fence.value.boot == h->lease.value.boot;
}

bool may_supersede(OpKind kind) {
  // A creation, removal or growth leaves volumes half-made: it goes on when its host is back, or a person settles it.
  return kind != OpKind::vm_create && kind != OpKind::vm_remove && kind != OpKind::volume_grow;
}

Result<> may_take_over(const CellView& view, const VmView& vm, const LocalVm& local, const HaFacts& facts,
                       const Timing& timing, const std::string& self, Signed by_hand) {
  const Right& right = vm.right.value;
  const std::string& lost = right.host;
  if (!view.synced || !facts.renewed) {
    return fail(Errc::unavailable,
                "this host's own lease is not confirmed by etcd now: it decides nothing about others");
  }
  if (vm.right.revision == 0 || lost == self) return fail(Errc::conflict, "the run-right is not another host's");
  const HostView* own = view.host(self);
  if (own != nullptr && own->fence.revision != 0) return fail(Errc::conflict, "this host is being switched off itself");
  if (own != nullptr && own->maintenance.revision != 0)
    return fail(Errc::refused, "host " + self + " is in maintenance");
  // safety: S2, S3 (R2). The record, not DRBD's word, says that every acknowledged write is here; without it only a
  // person goes on, who has named the host whose writes are given up. [model: R2_take]
  if (!by_hand.sacrifice && !insync_everywhere(right, vm.layout.value, self)) {
    return fail(Errc::refused, "the record does not list the legs on " + self +
                                   " as in sync on every volume: writes may be missing, a person must decide");
  }
  const bool off = by_hand.host_is_off || known_off(view, lost);
  // safety: S1. A connected primary is alive, whatever its lease says.
  if (!off && local.connection == "Connected" && local.peer_role == "Primary") {
    return fail(Errc::conflict, "DRBD is connected to " + lost + " and primary there: that host lives");
  }
  // safety: S1. A guest whose record lists no other host is stopped by no lost lease: its host may run it for ever.
  if (by_hand.sacrifice && !off) {
    return fail(Errc::refused, "host " + lost +
                                   " does not stop a VM that no other host is in sync with, however long it "
                                   "is silent: its power must be confirmed off, or stated to be (--host-is-off)");
  }
  // safety: S1. A statement that is wrong: the host renews its lease, so it lives.
  if (by_hand.host_is_off && !known_off(view, lost) && absence(facts, lost) < timing.suspect) {
    return fail(Errc::conflict, "host " + lost + " was stated to be off, but its lease is renewed");
  }
  if (!off && absence(facts, lost) < takeover_at(timing)) {
    return fail(Errc::conflict, fmt::format("host {} is silent, but not yet for {} ms: its watchdog may still run",
                                            lost, takeover_at(timing).count()));
  }
  // safety: S1. A host that does not stop its guests by itself may run them for ever, however long it is silent.
  if (!off && !guards(view, lost)) {
    return fail(Errc::refused, "failover was disarmed when host " + lost +
                                   " was last heard, so its guests may still run: its power must be confirmed off, or "
                                   "stated to be (`hostctl vm failover " +
                                   vm.spec.value.name + " --host-is-off`)");
  }
  for (const auto& volume : vm.layout.value.volumes) {
    const auto seen = local.volumes.find(volume.name);
    const std::string disk = seen == local.volumes.end() ? "not attached" : seen->second.disk;
    if (disk != "UpToDate" && disk != "Consistent" && !(by_hand.sacrifice && disk == "Outdated")) {
      return fail(Errc::refused, "the disk of volume " + volume.name + " on " + self + " is " + disk);
    }
  }
  const std::uint64_t memory = free_memory_mib(view, self, vm.spec.value.name);
  if (memory < vm.spec.value.memory_mib) {
    return fail(Errc::exhausted, fmt::format("host {} has {} MiB of memory free, the VM needs {}", self, memory,
                                             vm.spec.value.memory_mib));
  }
  return {};
}

HaRound ha_round(const CellView& view, const std::map<std::string, LocalVm>& locals, const HaFacts& facts,
                 const Timing& timing, const std::string& self) {
  HaRound round;
  if (!view.synced || !facts.renewed) return round;
  std::vector<const VmView*> order;
  for (const auto& [name, vm] : view.vms) {
    if (vm.layout.revision != 0 && vm.right.revision != 0 && vm.spec.revision != 0 && locals.contains(name) &&
        !facts.busy.contains(name)) {
      order.push_back(&vm);
    }
  }
  std::ranges::sort(order, [](const VmView* a, const VmView* b) {
    const auto& x = a->spec.value;
    const auto& y = b->spec.value;
    return x.priority != y.priority ? x.priority > y.priority : x.name < y.name;
  });
  std::size_t room = facts.starting >= HaLimits::parallel_starts ? 0 : HaLimits::parallel_starts - facts.starting;
  bool leaving = false;                    // maintenance: one guest at a time
  const auto at_work = [&](OpKind kind) {  // asked for by this host: one copy and one verify at a time, too
    return std::ranges::any_of(view.operations, [&](const auto& entry) {
      const Operation& op = entry.second.value;
      return !finished(op.state) && op.kind == kind && op.author.name == self;
    });
  };
  bool copying = at_work(OpKind::vm_copy);
  bool comparing = at_work(OpKind::volume_verify);
  for (const VmView* vm : order) {
    const std::string& name = vm->spec.value.name;
    const LocalVm& local = locals.at(name);
    // safety: R6. On a record of the past nothing is started, moved or written, by whatever way. [model: R6_distrust]
    if (const auto why = facts.distrusted.find(name); why != facts.distrusted.end()) {
      round.waits[name] = why->second;
      continue;
    }
    Judge judge{view, facts, timing, self};
    auto action = vm->right.value.host == self ? judge.own_side(*vm, local) : judge.other_side(*vm, local);
    if (action && std::holds_alternative<MigrateVm>(action->verb)) {
      if (std::exchange(leaving, true)) action.reset();
    } else if (action && std::holds_alternative<CopyVm>(action->verb)) {
      if (std::exchange(copying, true)) action.reset();
    } else if (action && std::holds_alternative<VerifyVolume>(action->verb)) {
      if (std::exchange(comparing, true)) action.reset();
    } else if (action && action->kind == HaAction::Kind::submit) {
      if (room == 0) {
        judge.wait = "others are started first";
        action.reset();
      } else {
        --room;
      }
    }
    if (action) round.actions.push_back(std::move(*action));
    if (!judge.wait.empty()) round.waits[name] = judge.wait;
  }
  for (auto& a : fences(view, locals, facts, timing, self)) round.actions.push_back(std::move(a));
  return round;
}

}  // namespace bascule::core
