#include "hostd/core/engine.hpp"

#include <algorithm>
#include <utility>

#include "hostd/core/drills.hpp"

namespace bascule::core {
namespace {

void finish(Operation& op, OpState state, WallMs now) {
  op.state = state;
  op.finished_ms = now;
}

/// The step after whose end there is no way back; nullopt = the operation can always be undone.
std::optional<StepKind> no_return_step(OpKind kind) {
  switch (kind) {
    case OpKind::vm_failback:
    case OpKind::vm_migrate: return StepKind::live_migrate;  // its end commits the hand-over (H)
    case OpKind::vm_remove: return StepKind::drop_right;     // then the data goes
    case OpKind::vm_shutdown:
    case OpKind::vm_update: return StepKind::shutdown;  // a guest that is off is not put back as it was
    case OpKind::vm_power_off: return StepKind::destroy;
    case OpKind::volume_grow: return StepKind::resize_drbd;
    case OpKind::volume_repair: return StepKind::discard_leg;
    case OpKind::watchdog_prove: return StepKind::prove_watchdog;
    case OpKind::image_remove: return StepKind::remove_image;
    case OpKind::vm_reset: return StepKind::reset;
    case OpKind::host_maintenance:
    case OpKind::ha_disarm:
    case OpKind::ha_arm:
    case OpKind::vm_failover:
    case OpKind::vm_restart:
    case OpKind::vm_create:
    case OpKind::vm_start:
    case OpKind::volume_verify:
    case OpKind::vm_copy:
    case OpKind::vm_adopt:  // its last step makes the record, in the transaction that ends it
    case OpKind::image_import: return std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::size_t> last_to_undo(const Operation& op) {
  for (std::size_t i = op.steps.size(); i-- > 0;) {
    if (op.steps[i].state == StepState::done || op.steps[i].state == StepState::failed) return i;
  }
  return std::nullopt;
}

void start_undo(Operation& op, WallMs now) {
  op.state = OpState::undoing;
  if (!last_to_undo(op)) finish(op, OpState::undone, now);
}

}  // namespace

Work next_work(const Operation& op, const std::string& self) {
  if (op.state == OpState::running) {
    const auto it = std::ranges::find(op.steps, StepState::pending, &Step::state);
    if (it == op.steps.end() || it->host != self) return {};
    return {Work::Kind::run, static_cast<std::size_t>(it - op.steps.begin())};
  }
  if (op.state == OpState::undoing) {
    const auto index = last_to_undo(op);
    if (!index || op.steps[*index].host != self) return {};
    return {Work::Kind::undo, *index};
  }
  return {};
}

bool past_no_return(const Operation& op) {
  const auto kind = no_return_step(op.kind);
  return kind &&
         std::ranges::any_of(op.steps, [&](const Step& s) { return s.kind == *kind && s.state == StepState::done; });
}

Operation after_run(Operation op, std::size_t step, const Outcome& outcome, WallMs now) {
  BASCULE_CHECK(op.state == OpState::running && step < op.steps.size());
  auto& s = op.steps[step];
  BASCULE_CHECK(s.state == StepState::pending);
  s.note = outcome.note;
  s.took_ms = outcome.took_ms;
  for (const auto& [key, value] : outcome.result) op.result[key] = value;
  if (!outcome.ok) {
    s.note = outcome.error;
    op.error = outcome.error;
    if (past_no_return(op)) {
      op.todo = outcome.todo.empty() ? "look at step '" + std::string(to_string(s.kind)) + "' on host " + s.host +
                                           ", mend what it names, then settle the VM by hand"
                                     : outcome.todo;
      finish(op, OpState::needs_operator, now);
      return op;
    }
    s.state = StepState::failed;
    start_undo(op, now);
    return op;
  }
  s.state = StepState::done;
  if (op.cancel_requested && !past_no_return(op)) {
    op.error = "cancelled on request";
    start_undo(op, now);
    return op;
  }
  const bool all = std::ranges::all_of(op.steps, [](const Step& x) { return x.state == StepState::done; });
  if (all) finish(op, OpState::done, now);
  return op;
}

Operation after_undo(Operation op, std::size_t step, const Outcome& outcome, WallMs now) {
  BASCULE_CHECK(op.state == OpState::undoing && step < op.steps.size());
  auto& s = op.steps[step];
  if (!outcome.ok) {
    op.error += "; undoing step '" + std::string(to_string(s.kind)) + "' on " + s.host + " failed: " + outcome.error;
    op.todo = outcome.todo.empty() ? "mend what the error names on host " + s.host + "; nothing further was touched"
                                   : outcome.todo;
    finish(op, OpState::needs_operator, now);
    return op;
  }
  if (!outcome.note.empty()) s.note = outcome.note;
  s.state = StepState::undone;
  if (!last_to_undo(op)) finish(op, OpState::undone, now);
  return op;
}

Result<Operation> with_approval(Operation op, const Who& who) {
  const auto next = std::ranges::find(op.steps, StepState::pending, &Step::state);
  if (op.state != OpState::running || next == op.steps.end() || next->kind != StepKind::await_approval) {
    return fail(Errc::conflict, "the operation does not wait for an approval now");
  }
  if (who.name == op.author.name) {
    return fail(Errc::forbidden, "who asked for it cannot approve it: a second operator is needed");
  }
  const auto before = op.result.find("approved_by");
  if (before != op.result.end() && before->second != who.name) {
    return fail(Errc::conflict, before->second + " has approved it already");
  }
  op.result["approved_by"] = who.name;
  return op;
}

Result<Operation> with_cancel(Operation op) {
  if (finished(op.state))
    return fail(Errc::conflict, "the operation has ended (" + std::string(to_string(op.state)) + ")");
  if (op.state == OpState::undoing || op.cancel_requested) return op;
  if (past_no_return(op)) {
    return fail(Errc::conflict, "the operation is past the point where it can be undone; it goes on to its end");
  }
  op.cancel_requested = true;
  return op;
}

namespace {
/// An operation that was stopped or cancelled says nothing about the legs: a verify counts when it has a verdict, a
/// copy that failed is remembered so that it is tried again, an exercise that failed leaves the one before.
std::optional<LastCare> care(const Operation& op) {
  if (proves_other_host(op.kind)) return exercise_of(op);
  const auto verdict = op.result.find("verdict");
  if (care_of(op).empty() || (op.kind == OpKind::volume_verify && verdict == op.result.end())) return {};
  const bool good = op.kind == OpKind::vm_copy ? op.state == OpState::done : verdict->second == "equal";
  return LastCare{op.finished_ms, good, good ? "" : op.error, op.id};
}

}  // namespace

Finish finish_effects(const Operation& op) {
  Finish f;
  f.release_vm = !op.vm.empty();
  f.care = care(op);
  if (op.state == OpState::done) {
    f.put_spec = op.spec;
    f.delete_vm = op.kind == OpKind::vm_remove;
    f.adopted = op.kind == OpKind::vm_adopt;
    f.disarm = op.kind == OpKind::ha_disarm && !op.steps.empty();
    if (op.kind == OpKind::image_remove) f.delete_image = op.object;
  }
  if (op.state == OpState::undone) {
    f.delete_vm = op.kind == OpKind::vm_create;
    f.put_spec = op.restore;
  }
  return f;
}

}  // namespace bascule::core
