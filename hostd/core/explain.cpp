#include "hostd/core/explain.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/plan_rules.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

std::string at_work(const Operation& op) {
  const auto step = std::ranges::find_if(op.steps, [](const Step& s) { return s.state == StepState::pending; });
  std::string where;
  if (op.state == OpState::running && step != op.steps.end()) {
    where = fmt::format(", now at step '{}' on {}", to_string(step->kind), step->host);
  }
  return fmt::format("{} ({}, asked by {}: {}){}", to_string(op.kind), to_string(op.state), op.author.name, op.reason, where);
}

std::string protection(const CellView& view, const VmView& vm) {
  const std::string& host = vm.right.value.host;
  const std::string peer = other_host(vm.layout.value, host);
  if (insync_everywhere(vm.right.value, vm.layout.value, peer)) return "both legs are in sync";
  const auto status = vm.status.find(host);
  std::uint64_t left = 0;
  if (status != vm.status.end()) {
    for (const auto& [name, volume] : status->second.volumes) left += volume.out_of_sync_kib;
  }
  std::string out = "the copy on " + peer + " is NOT in sync, so the VM is not protected";
  const HostView* h = view.host(peer);
  if (h == nullptr || h->silent) return out + ": host " + peer + " is silent";
  if (status != vm.status.end() && status->second.connection != "Connected") {
    return out + ": the replication link is " + status->second.connection;
  }
  return left == 0 ? out : out + fmt::format(": {} MiB left to resync", left / 1024);
}

}  // namespace

std::string why(const CellView& view, const std::string& name) {
  const VmView* vm = view.vm(name);
  if (vm == nullptr || vm->spec.revision == 0) return "There is no VM '" + name + "'.";
  if (vm->operation.revision != 0) {
    const auto op = view.operations.find(vm->operation.value);
    if (op != view.operations.end()) return name + ": at work: " + at_work(op->second.value) + ".";
    return name + ": operation " + vm->operation.value + " holds it.";
  }
  // The last operation that did not end well still explains the state, as long as nothing came after it.
  const Operation* last = nullptr;
  for (const auto& [id, op] : view.operations) {
    if (op.value.vm == name && (last == nullptr || op.value.created_ms >= last->created_ms)) last = &op.value;
  }
  std::string tail;
  if (last != nullptr && last->state == OpState::needs_operator) {
    tail = fmt::format(" The last operation ({}) needs an operator: {} {}", last->id, last->error, last->todo);
  } else if (last != nullptr && last->state == OpState::undone) {
    tail = fmt::format(" The last operation ({}, {}) was undone: {}", last->id, to_string(last->kind), last->error);
  }
  if (vm->right.revision == 0) return name + ": it has no run-right yet; its creation did not end." + tail;
  const std::string& host = vm->right.value.host;
  const HostView* h = view.host(host);
  if (h == nullptr || h->silent) {
    return fmt::format("{}: its host {} does not renew its lease, so its state is not known; automatic failover is not "
                       "part of this version. Look at {} first.{}", name, host, host, tail);
  }
  const auto status = vm->status.find(host);
  if (status == vm->status.end()) return fmt::format("{}: host {} has not reported on it yet.{}", name, host, tail);
  const auto& s = status->second;
  if (s.suspended != "no" && !s.suspended.empty()) {
    return fmt::format("{}: frozen on {} ({}): its disk writes wait, none is lost; the replication link is {}. It goes on "
                       "by itself when the link is back.{}", name, host, s.suspended, s.connection, tail);
  }
  switch (s.domain) {
    case DomainState::running:
    case DomainState::shutting_down: return fmt::format("{}: running on {}, {}.{}", name, host, protection(view, *vm), tail);
    case DomainState::paused: return fmt::format("{}: paused on {} ({}).{}", name, host, s.domain_reason, tail);
    case DomainState::crashed: return fmt::format("{}: its guest crashed on {}; reset or restart it.{}", name, host, tail);
    case DomainState::unknown: return fmt::format("{}: libvirt on {} is not reached; the guest goes on, its state is not known.{}", name, host, tail);
    case DomainState::absent: break;
  }
  if (vm->spec.value.power == Power::on) {
    return fmt::format("{}: it should run, but there is no guest on {}: it ended by itself, or its host restarted. Start it "
                       "with `hostctl vm start {}`; {}.{}", name, host, name, protection(view, *vm), tail);
  }
  return fmt::format("{}: off, as asked; it would start on {}, {}.{}", name, host, protection(view, *vm), tail);
}

}  // namespace bascule::core
