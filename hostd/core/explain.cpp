#include "hostd/core/explain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "hostd/core/ha.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

/// The word for a VM while this is at work on it; nullopt = what the guest does says more.
std::optional<VmState> word_of(OpKind kind) {
  switch (kind) {
    case OpKind::vm_create: return VmState::creating;
    case OpKind::vm_failover:
    case OpKind::vm_restart:
    case OpKind::vm_start: return VmState::starting;
    case OpKind::vm_shutdown:
    case OpKind::vm_power_off: return VmState::stopping;
    case OpKind::vm_failback:
    case OpKind::vm_migrate: return VmState::migrating;
    case OpKind::vm_remove: return VmState::removing;
    case OpKind::vm_update: return VmState::updating;
    case OpKind::vm_reset:
    case OpKind::volume_grow:
    case OpKind::volume_repair:
    case OpKind::vm_adopt:
    case OpKind::vm_copy:
    case OpKind::watchdog_prove:
    case OpKind::volume_verify:
    case OpKind::image_import:
    case OpKind::image_remove:
    case OpKind::host_maintenance:
    case OpKind::ha_disarm:
    case OpKind::ha_arm: break;
  }
  return std::nullopt;
}

bool silent(const CellView& view, const std::string& host) {
  const HostView* h = view.host(host);
  return h == nullptr || h->silent;
}
bool frozen(const VmStatus& s) { return io_stands_still(s.suspended); }

/// The step an operation is at: the next one to run, or the next one to undo.
const Step* current(const Operation& op) {
  if (op.state == OpState::running) {
    const auto it = std::ranges::find(op.steps, StepState::pending, &Step::state);
    return it == op.steps.end() ? nullptr : &*it;
  }
  const auto it = std::find_if(op.steps.rbegin(), op.steps.rend(), [](const Step& s) {
    return s.state == StepState::done || s.state == StepState::failed;
  });
  return it == op.steps.rend() ? nullptr : &*it;
}

std::string at_work(const CellView& view, const Operation& op) {
  std::string out = fmt::format("{} is {} (asked by {}: \"{}\")", to_string(op.kind),
                                op.state == OpState::undoing ? "being undone" : "at work", op.author.name, op.reason);
  if (op.state == OpState::undoing && !op.error.empty()) out += " because " + op.error;
  const Step* step = current(op);
  if (step == nullptr) return out;
  out += fmt::format(", now at step {} on {}", to_string(step->kind), step->host);
  if (silent(view, step->host)) return out + ", which is silent: it goes on when that host is back";
  const auto progress = view.progress.find(op.id);
  if (progress != view.progress.end() && progress->second.percent >= 0 &&
      progress->second.step == to_string(step->kind)) {
    out += fmt::format(" ({} %)", progress->second.percent);
  }
  return op.cancel_requested && op.state == OpState::running ? out + "; it was asked to stop" : out;
}

/// How old the cold copy is.
std::string copied(const VmView& vm) {
  const auto last = vm.last.find(std::string(to_string(OpKind::vm_copy)));
  if (last == vm.last.end()) return "never brought up to date yet";
  return last->second.good ? "as of the end of " + last->second.operation : "the last try failed: " + last->second.text;
}

std::string protection(const CellView& view, const VmView& vm) {
  const std::string& host = vm.right.value.host;
  const std::string peer = other_host(vm.layout.value, host);
  const auto status = vm.status.find(host);
  const Protection level = vm.spec.value.protection;
  if (level == Protection::none) return "it has one leg (protection 'none'), so a loss of " + host + " would stop it";
  if (level == Protection::backup && host != vm.spec.value.nominal_host) {
    return "it is away from home; its legs on " + peer + " are as they were when it left (no copy is made by itself)";
  }
  if (level == Protection::backup) return "the copy on " + peer + " is a cold one (" + copied(vm) + ")";
  if (!insync_everywhere(vm.right.value, vm.layout.value, host)) {
    return "its own leg on " + host + " is NOT in sync: it works over the link with the one on " + peer +
           ", so a loss of either host would stop the VM";
  }
  const bool recorded = insync_everywhere(vm.right.value, vm.layout.value, peer);
  if (recorded && silent(view, peer)) return "both legs are in sync, but host " + peer + " is silent";
  if (recorded) return "both legs are in sync";
  std::uint64_t left_kib = 0;
  if (status != vm.status.end()) {
    for (const auto& [name, volume] : status->second.volumes) left_kib += volume.out_of_sync_kib;
  }
  const std::string out = "the copy on " + peer + " is NOT in sync, so a loss of " + host + " would stop the VM";
  if (silent(view, peer)) return out + ": host " + peer + " is silent";
  if (status != vm.status.end() && status->second.connection != "Connected") {
    return fmt::format("{}: the replication link is {}", out,
                       status->second.connection.empty() ? "down" : status->second.connection);
  }
  return left_kib == 0 ? out : fmt::format("{}: {} MiB are left to copy", out, (left_kib + 1023) / 1024);
}

/// The last operation when it did not end well: it still explains the state.
std::string last_trouble(const CellView& view, const std::string& name) {
  const Operation* last = nullptr;
  for (const auto& [id, op] : view.operations) {
    if (op.value.vm == name && (last == nullptr || op.value.created_ms >= last->created_ms)) last = &op.value;
  }
  if (last == nullptr) return {};
  if (last->state == OpState::needs_operator) {
    return fmt::format("; its last operation ({}) needs an operator: {}; to do: {}", last->id, last->error, last->todo);
  }
  if (last->state == OpState::undone) {
    return fmt::format("; its last operation ({}, {}) was undone: {}", last->id, to_string(last->kind), last->error);
  }
  return {};
}

/// Silence does not say that its guests have ended: it did not guard them when it was last heard.
bool may_run_on(const CellView& view, const std::string& lost) { return !guards(view, lost) && !known_off(view, lost); }

/// What a person does who does not wait.
std::string by_hand(const CellView& view, const std::string& lost, const std::string& vm) {
  return may_run_on(view, lost)
             ? "cut the power of host " + lost + ", then `hostctl vm failover " + vm + " --host-is-off`"
             : "`hostctl vm failover " + vm + "`";
}

/// The holder is silent: what happens now, and what a person can do.
std::string lost_host(const CellView& view, const std::string& name, const VmView& vm) {
  const std::string& lost = vm.right.value.host;
  const std::string peer = other_host(vm.layout.value, lost);
  const std::string out = "its host " + lost + " does not renew its lease, so its state is not known; ";
  if (vm.spec.value.power == Power::off) return out + "it should be off";
  if (vm.spec.value.protection == Protection::none) return out + "its only leg is there (protection 'none')";
  if (vm.spec.value.protection == Protection::backup) {
    return out + "bring " + lost + " back, or start the cold copy (" + copied(vm) +
           ") and give up what was written since: `hostctl vm failover " + name + " --host-is-off --sacrifice " + lost +
           "`";
  }
  if (silent(view, peer)) return out + "so is " + peer + "'s: nothing can start it";
  if (!insync_everywhere(vm.right.value, vm.layout.value, peer)) {
    return out + "its copy on " + peer + " is NOT in sync, so nothing starts it by itself: bring " + lost +
           " back, or, once its power is off, give up what only its leg has: `hostctl vm failover " + name +
           " --host-is-off --sacrifice " + lost + "`";
  }
  if (vm.spec.value.protection != Protection::ha) {
    return out + "its protection is '" + std::string(to_string(vm.spec.value.protection)) +
           "': " + by_hand(view, lost, name) + " starts it on " + peer;
  }
  if (view.disarmed.revision != 0) return out + disarmed_text(view, lost, name);
  const HostView* h = view.host(peer);
  if (h != nullptr && h->maintenance.revision != 0) return out + peer + " is in maintenance: nothing starts it there";
  const auto status = vm.status.find(peer);
  if (status != vm.status.end() && !status->second.waits.empty()) return out + peer + " waits: " + status->second.waits;
  return out + peer + " starts it when the takeover time has passed";
}

std::string standing(const CellView& view, const std::string& name, const VmView& vm) {
  if (vm.right.revision == 0 && vm.restored.revision != 0) {
    return fmt::format("it was restored from a backup, where its run-right was {}'s, and has none: nothing touches its "
                       "legs until it is adopted (`hostctl vm adopt {} --host HOST`)",
                       vm.restored.value.host, name);
  }
  if (vm.right.revision == 0) return "it has no run-right: its creation did not end";
  const std::string& host = vm.right.value.host;
  const auto status = vm.status.find(host);
  if (silent(view, host)) {
    return lost_host(view, name, vm);
  }
  if (status == vm.status.end()) return fmt::format("host {} has not reported on it yet", host);
  const VmStatus& s = status->second;
  if (frozen(s) && waits_for_disk(vm)) {
    return fmt::format(
        "frozen on {} ({}): no leg of it has a disk that answers; its disk writes wait and none is lost. "
        "{}here the disk on {} answers again, `hostctl vm start {} --with-failed-disk`",
        host, s.suspended,
        replicates(vm.spec.value.protection) ? "Bring back the leg on " + other_host(vm.layout.value, host) + ", or, w"
                                             : "W",
        host, name);
  }
  if (frozen(s)) {
    return fmt::format("frozen on {} ({}): its disk writes wait and none is lost, the replication link is {}", host,
                       s.suspended, s.connection.empty() ? "down" : s.connection);
  }
  switch (s.domain) {
    case DomainState::running: return fmt::format("running on {}, {}", host, protection(view, vm));
    case DomainState::shutting_down: return fmt::format("its guest is shutting down on {}", host);
    case DomainState::paused:
      return fmt::format("paused on {}{}", host, s.domain_reason.empty() ? "" : " (" + s.domain_reason + ")");
    case DomainState::crashed: return fmt::format("its guest crashed on {}; reset it, or stop and start it", host);
    case DomainState::unknown:
      return fmt::format("libvirt on {} is not reached; the guest goes on, but its state is not known", host);
    case DomainState::absent: break;
  }
  if (vm.spec.value.power == Power::on && !s.waits.empty()) {
    return fmt::format("it should run, but there is no guest on {}: {}; {}", host, s.waits, protection(view, vm));
  }
  if (vm.spec.value.power == Power::on) {
    return fmt::format("it should run, but there is no guest on {}: it ended by itself or the host restarted; start it "
                       "with `hostctl vm start {}`; {}",
                       host, name, protection(view, vm));
  }
  return fmt::format("off, as asked; it would start on {}, {}", host, protection(view, vm));
}

}  // namespace

std::string_view to_string(VmState v) {
  static constexpr std::array<std::string_view, 13> kWords{"creating", "starting", "stopping", "migrating", "removing",
                                                           "updating", "running",  "off",      "down",      "paused",
                                                           "frozen",   "crashed",  "unknown"};
  return kWords.at(static_cast<std::size_t>(v));
}

VmState vm_state(const CellView& view, const VmView& vm) {
  if (vm.operation.revision != 0) {
    const auto op = view.operations.find(vm.operation.value);
    const auto word = op == view.operations.end() ? std::nullopt : word_of(op->second.value.kind);
    if (word) return *word;
  }
  const std::string& host = vm.right.value.host;
  if (vm.right.revision == 0 || silent(view, host)) return VmState::unknown;
  const auto status = vm.status.find(host);
  const bool wanted = vm.spec.value.power == Power::on;
  if (status == vm.status.end()) return wanted ? VmState::unknown : VmState::off;
  if (frozen(status->second)) return VmState::frozen;
  switch (status->second.domain) {
    case DomainState::running: return VmState::running;
    case DomainState::paused: return VmState::paused;
    case DomainState::shutting_down: return VmState::stopping;
    case DomainState::crashed: return VmState::crashed;
    case DomainState::absent: return wanted ? VmState::down : VmState::off;
    case DomainState::unknown: break;
  }
  return VmState::unknown;
}

bool vm_protected(const VmView& vm) {
  if (vm.right.revision == 0 || vm.layout.value.volumes.empty()) return false;
  return std::ranges::all_of(vm.layout.value.volumes.front().legs, [&](const Leg& leg) {
    return insync_everywhere(vm.right.value, vm.layout.value, leg.host);
  });
}

std::string disarmed_text(const CellView& view, const std::string& lost, const std::string& vm) {
  return fmt::format("failover is disarmed by {} (\"{}\"): {}{}", view.disarmed.value.author,
                     view.disarmed.value.reason, may_run_on(view, lost) ? "" : "`hostctl ha arm`, or ",
                     by_hand(view, lost, vm));
}

bool own_act(const VmStatus& status) { return status.waits.starts_with(kOwnAct); }

std::string why(const CellView& view, const std::string& name) {
  const VmView* vm = view.vm(name);
  if (vm == nullptr || vm->spec.revision == 0) return "There is no VM '" + name + "'.";
  if (vm->operation.revision != 0) {
    const auto op = view.operations.find(vm->operation.value);
    if (op != view.operations.end()) return name + ": " + at_work(view, op->second.value) + ".";
    return name + ": operation " + vm->operation.value + " holds it.";
  }
  return name + ": " + standing(view, name, *vm) + last_trouble(view, name) + ".";
}

}  // namespace bascule::core
