#include "hostd/core/four_eyes.hpp"

#include <algorithm>
#include <charconv>

namespace bascule::core {
namespace {

constexpr WallMs kMinuteMs = 60'000;
constexpr const char* kMinutes = "approve_minutes";
constexpr const char* kLease = "lease_seen";

bool listed(const FourEyes& four_eyes, std::string_view word) {
  return std::ranges::find(four_eyes.verbs, word) != four_eyes.verbs.end();
}

bool waits(const FourEyes& f, const Verb& verb) {
  if (std::holds_alternative<RemoveVm>(verb)) return listed(f, "vm-remove");
  if (const auto* v = std::get_if<SetArmed>(&verb)) return !v->armed && listed(f, "ha-disarm");
  if (const auto* v = std::get_if<FailoverVm>(&verb)) {
    return (!v->sacrifice.empty() && listed(f, "failover-sacrifice")) ||
           (v->host_is_off && listed(f, "failover-host-is-off"));
  }
  return false;
}

std::int64_t number(const Operation& op, const char* key) {
  const auto it = op.result.find(key);
  std::int64_t value = 0;
  if (it != op.result.end()) std::from_chars(it->second.data(), it->second.data() + it->second.size(), value);
  return value;
}

}  // namespace

bool four_eyes_verb(std::string_view word) {
  return std::ranges::find(kFourEyesVerbs, word) != std::end(kFourEyesVerbs);
}

void wait_for_second(Plan& plan, const CellView& view, const Request& request, const std::string& self) {
  if (plan.unchanged || request.caller.role != Role::operator_ || !waits(request.four_eyes, request.verb)) return;
  auto& op = plan.operation;
  Step step;
  step.kind = StepKind::await_approval;
  step.host = op.steps.empty() ? self : op.steps.front().host;
  op.steps.insert(op.steps.begin(), std::move(step));
  op.result[kMinutes] = std::to_string(request.four_eyes.minutes);
  // Disarming has no other step: it is written as the operation ends (finish_effects).
  plan.armed.reset();
  const auto* lost = op.kind == OpKind::vm_failover ? view.host(op.source_host) : nullptr;
  if (lost != nullptr) op.result[kLease] = std::to_string(lost->lease.revision);
}

WallMs approval_time(const Operation& op, WallMs otherwise) {
  const std::int64_t minutes = number(op, kMinutes);
  return minutes > 0 ? minutes * kMinuteMs : otherwise;
}

std::string approval_is_void(const CellView& view, const Operation& op) {
  const std::int64_t seen = number(op, kLease);
  const auto* lost = seen == 0 ? nullptr : view.host(op.source_host);
  if (lost == nullptr || lost->lease.revision == seen) return {};
  return "host " + op.source_host +
         " has renewed its lease since this was asked for: it was not what the first person "
         "spoke of any more. Nothing was changed; look at it, and ask anew";
}

}  // namespace bascule::core
