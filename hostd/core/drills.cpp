#include "hostd/core/drills.hpp"

#include <algorithm>

namespace bascule::core {

std::optional<LastCare> exercise_of(const Operation& op) {
  if (op.state != OpState::done) return {};
  if (!proves_other_host(op.kind)) return {};
  const bool ran = is_move(op.kind)
                       ? op.result.contains(kRanOn)
                       : std::ranges::find(op.steps, StepKind::start_domain, &Step::kind) != op.steps.end();
  if (!ran) return {};
  return LastCare{op.finished_ms, true, op.target_host, op.id};
}

Drill drill(const VmView& vm, WallMs now) {
  Drill out;
  for (const auto& [what, last] : vm.last) {
    const auto kind = parse_op_kind(what);
    if (!kind || !proves_other_host(*kind) || (out.last && last.when_ms <= out.last->when_ms)) continue;
    out.last = Drill::Exercise{*kind, last.text, last.when_ms, last.operation};
  }
  const WallMs every = vm.spec.value.drill_every_days * kDayMs;
  if (every == 0) return out;
  if (out.last) out.due_ms = out.last->when_ms + every;
  out.overdue = !out.due_ms || *out.due_ms <= now;
  return out;
}

}  // namespace bascule::core
