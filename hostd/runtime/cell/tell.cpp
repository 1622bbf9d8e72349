#include "hostd/runtime/cell/tell.hpp"

#include <set>
#include <utility>

#include "hostd/runtime/say.hpp"

namespace bascule::runtime {
namespace {
using core::OpKind;
using core::OpState;

About about(const core::Operation& op) {
  const bool of_volume = op.kind == OpKind::volume_grow || op.kind == OpKind::volume_verify;
  return {.vm = op.vm,
          .host = op.target_host.empty() ? op.source_host : op.target_host,
          .operation = op.id,
          .volume = of_volume ? std::string_view(op.object) : std::string_view(),
          .caller = op.author.name};
}

std::string object_of(const core::Operation& op) {
  if (!op.vm.empty()) return "VM " + op.vm;
  if (op.kind == OpKind::host_maintenance) return "host " + op.target_host + " (" + op.object + ")";
  if (!op.object.empty()) return op.object;
  return op.target_host.empty() ? "the cell" : "host " + op.target_host;
}

msg::Message done_of(OpKind kind) {
  if (core::is_move(kind)) return msg::migration_done;
  if (kind == OpKind::vm_failover) return msg::failover_done;
  if (kind == OpKind::vm_restart) return msg::vm_restarted;
  if (kind == OpKind::vm_start) return msg::vm_started;
  if (kind == OpKind::vm_shutdown || kind == OpKind::vm_power_off) return msg::vm_stopped;
  if (kind == OpKind::watchdog_prove) return msg::watchdog_proved;
  if (kind == OpKind::host_maintenance) return msg::maintenance_changed;
  if (kind == OpKind::ha_disarm) return msg::ha_disarmed;
  if (kind == OpKind::ha_arm) return msg::ha_armed;
  return msg::operation_done;
}

using LegsIn = std::set<std::pair<std::string, std::string>>;  // volume and host
LegsIn legs_in(const core::Right& right) {
  LegsIn out;
  for (const auto& [volume, legs] : right.insync) {
    for (const auto& leg : legs) out.emplace(volume, leg.host);
  }
  return out;
}

}  // namespace

msg::Message begin_of(const core::Operation& op) {
  return core::is_move(op.kind) ? msg::migration_begun : msg::operation_begun;
}

msg::Message end_of(const core::Operation& op) {
  if (op.state == OpState::needs_operator) return msg::operation_needs_person;
  if (op.state == OpState::done) return done_of(op.kind);
  if (core::is_move(op.kind)) return msg::migration_undone;
  if (op.kind == OpKind::vm_failover) return msg::failover_failed;
  if (op.kind == OpKind::watchdog_prove) return msg::watchdog_not_proved;
  return msg::operation_undone;
}

void tell_begun(const core::Operation& op) {
  say(begin_of(op), about(op), "{}: {} of {}, asked for by {} {}: {}", op.id, core::to_string(op.kind), object_of(op),
      op.author.role, op.author.name, op.reason);
}

void tell_ended(const core::Operation& op) {
  say(end_of(op), about(op), "{}: {} of {} ended {}{}{}{}{}", op.id, core::to_string(op.kind), object_of(op),
      core::to_string(op.state), op.error.empty() ? "" : ": ", op.error, op.todo.empty() ? "" : ". To do: ", op.todo);
}

void tell_right(const std::string& vm, const core::Right& before, const core::Right& after, const std::string& why) {
  if (before.insync.empty()) return;  // a VM that is being made
  const auto was = legs_in(before);
  const auto is = legs_in(after);
  const auto tell = [&](const msg::Message& message, const LegsIn& these, const LegsIn& others, const char* how) {
    for (const auto& leg : these) {
      if (others.contains(leg)) continue;
      say(message, {.vm = vm, .host = leg.second, .epoch = after.epoch, .volume = leg.first},
          "{}: the leg of volume {} on {} is {} the record: {}", vm, leg.first, leg.second, how, why);
    }
  };
  tell(msg::leg_left, was, is, "out of");
  tell(msg::leg_back, is, was, "in");
}

}  // namespace bascule::runtime
