#include "hostd/ha_loop.hpp"

#include <algorithm>

#include "hostd/runtime/background.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/steps/step.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Mono;
using core::Result;

namespace {
constexpr std::chrono::seconds kFirstPause{2};
constexpr std::chrono::seconds kLongestPause{60};
constexpr std::chrono::milliseconds kBreath{50};  // a round looks at every VM: not at every change of a burst

msg::Message decided(const core::Verb& verb) {
  if (std::holds_alternative<core::FailoverVm>(verb)) return msg::failover_decided;
  return std::holds_alternative<core::RestartVm>(verb) ? msg::restart_decided : msg::care_decided;
}
}  // namespace

HaLoop::HaLoop(Node& node, const Guardian& guardian, runtime::PowerPort& power)
    : node_(node), guardian_(guardian), power_(power) {}

core::HaFacts HaLoop::facts() const {
  const auto now = Clock::now();
  core::HaFacts f;
  f.now = std::chrono::duration_cast<Mono>(now.time_since_epoch());
  f.wall = wall_ms();
  f.verify = node_.config.verify;
  f.up_for = std::chrono::duration_cast<Mono>(now - started_);
  // safety: S1. A lease that is renewed beside a view that stands still proves nothing about what the view shows.
  // [model: F_renewed]
  f.renewed = guardian_.renewed() && node_.cell.refusal().empty();
  f.absent = node_.cell.absences();
  for (const auto& [host, absent] : f.absent) {
    const auto pause = pauses_.find(host);
    const bool later = at_work_.contains(host) || (pause != pauses_.end() && now < pause->second.until);
    if (power_.configured(host) && !later) f.can_fence.insert(host);
  }
  f.fenced_lately = static_cast<std::size_t>(
      std::ranges::count_if(fenced_, [&](auto at) { return now - at < core::HaLimits::fence_window; }));
  for (const auto& [vm, since] : node_.running_since) f.steady[vm] = std::chrono::duration_cast<Mono>(now - since);
  for (const auto& [vm, note] : node_.notes.notes().vms) {
    if (auto ok = may_promote(node_, vm); !ok) f.unfit[vm] = ok.error().what;
    if (auto ok = trusted(node_, vm); !ok) f.distrusted[vm] = ok.error().what;
  }
  f.busy = node_.busy;
  f.busy.insert(node_.mending.begin(), node_.mending.end());
  f.busy.insert(at_work_.begin(), at_work_.end());
  for (const auto& [vm, pause] : pauses_) {
    if (now < pause.until) f.busy.insert(vm);
  }
  const auto& view = node_.cell.view();
  // What the record says of a guest that is gone comes before any judgement of it.
  for (const auto& [vm, seen] : view.vms) {
    if (!node_.read.contains(vm) || node_.start_untold(vm)) f.busy.insert(vm);
  }
  for (const auto& id : node_.cell.active_operations()) {
    const auto op = view.operations.find(id);
    if (op == view.operations.end()) continue;
    const auto& o = op->second.value;
    const bool start = o.kind == core::OpKind::vm_failover || o.kind == core::OpKind::vm_restart;
    if (start && o.target_host == node_.self()) ++f.starting;
  }
  return f;
}

asio::awaitable<Result<>> HaLoop::submit(core::HaAction action) {
  core::Request request;
  const auto message = decided(action.verb);
  request.verb = std::move(action.verb);
  request.caller = {core::Role::host, node_.self(), {}};
  request.reason = action.reason.substr(0, core::Limits::reason_bytes);
  auto accepted = co_await node_.cell.submit(std::move(request), wall_ms());
  if (!accepted) co_return accepted.error();
  say(message, {.vm = action.vm, .host = node_.self(), .operation = accepted->operation}, "{}: {} (operation {})",
      action.vm, action.reason, accepted->operation);
  co_return Result<>{};
}

asio::awaitable<void> HaLoop::fence(std::string host, std::string why) {
  fenced_.push_back(Clock::now());
  while (fenced_.size() > core::HaLimits::fences + 1) fenced_.pop_front();
  auto intent = co_await node_.cell.intend_fence(host, why, wall_ms());
  if (!intent) {
    say(msg::host_not_switched_off, {.host = host}, "host {} is not switched off: {}", host, intent.error().what);
    co_return;
  }
  say(msg::host_switching_off, {.host = host}, "switching host {} off: {}", host, why);
  auto off = co_await power_.off(host);
  const std::string words = off ? "its power switch says that it is off" : off.error().what;
  say(off ? msg::host_switched_off : msg::host_not_switched_off, {.host = host}, "host {}: {}", host, words);
  // A definite no switched nobody off: it does not count against the storm limit. Silence does.
  if (!off && off.error().code != core::Errc::outcome_unknown && !fenced_.empty()) fenced_.pop_back();
  // Failure or silence changes nothing: the intent goes, and the takeover time runs on as before.
  auto ended = co_await node_.cell.end_fence(host, *intent, off.has_value(), words, wall_ms());
  if (!ended) {
    say(msg::fence_not_recorded, {.host = host}, "host {}: the end of the power-off is not in the record: {}", host,
        ended.error().what);
  }
}

asio::awaitable<void> HaLoop::carry_out(core::HaAction action) {
  using Kind = core::HaAction::Kind;
  const std::string object = action.kind == Kind::fence ? action.host : action.vm;
  Result<> done{};
  if (action.kind == Kind::fence) {
    co_await fence(action.host, action.reason);
  } else if (action.kind == Kind::settle) {
    // safety: R6. core::ha_round settles nothing on a record that is not trusted. [model: R6_distrust]
    auto wrote = co_await node_.cell.commit_right(action.vm, action.right, action.revision, action.reason, wall_ms());
    if (!wrote) done = wrote.error();
  } else {
    const auto* vm = node_.cell.view().vm(action.vm);
    const std::string lost =
        std::holds_alternative<core::FailoverVm>(action.verb) && vm != nullptr ? vm->right.value.host : "";
    // safety: S1. From before the request is sent no promise is given to that host (Guardian::promise).
    // [model: F_refuse]
    if (!lost.empty()) ++node_.taking_over[lost];
    done = co_await submit(action);
    // Of unknown outcome: it may still be accepted, so the host stays refused until this hostd knows better.
    const bool unknown = !done && done.error().code == core::Errc::outcome_unknown;
    if (!lost.empty() && unknown) node_.takeover_open[lost] = node_.cell.view().audit.revision;
    if (!lost.empty() && --node_.taking_over[lost] == 0) node_.taking_over.erase(lost);
  }
  if (done) {
    // Also after success: an operation that ends undone at once is not asked for again in the same instant.
    auto& pause = pauses_[object];
    const bool again = Clock::now() < pause.until + kLongestPause;
    pause.length = again && pause.length.count() != 0 ? std::min(pause.length * 2, kLongestPause) : kFirstPause;
    pause.until = Clock::now() + pause.length;
  } else {
    say(msg::decision_not_taken, {.vm = action.vm}, "{}: {}: {}", object, action.reason, done.error().what);
    pauses_[object] = {Clock::now() + kFirstPause, kFirstPause};
  }
  at_work_.erase(object);
  node_.cell.changed().notify();
}

Mono HaLoop::next_look() const {
  const auto& t = node_.config.timing;
  Mono next = t.renew;
  for (const auto& [host, absent] : node_.cell.absences()) {
    for (const Mono due : {t.suspect, t.takeover + t.verifications * t.renew}) {
      if (absent <= due) next = std::min(next, due - absent + Mono(1));
    }
  }
  for (const auto& [vm, pause] : pauses_) {
    const auto left = std::chrono::duration_cast<Mono>(pause.until - Clock::now());
    if (left > Mono(0)) next = std::min(next, left + Mono(1));
  }
  return next;
}

/// What is waited for, in the log and, through the VM's status, for whoever asks why.
void HaLoop::tell(std::map<std::string, std::string> waits) {
  if (!guardian_.renewed() || !node_.cell.view().synced) return;  // nothing was decided: what was said stands
  for (const auto& [vm, why] : waits) {
    const auto before = node_.waits.find(vm);
    if (before != node_.waits.end() && before->second == why) continue;
    say(msg::start_waits, {.vm = vm, .host = node_.self()}, "{}: not started here: {}", vm, why);
    node_.touched.insert(vm);
  }
  for (const auto& [vm, why] : node_.waits) {
    if (!waits.contains(vm)) node_.touched.insert(vm);
  }
  const bool changed = node_.waits != waits;
  node_.waits = std::move(waits);
  if (changed) node_.cell.changed().notify();
}

asio::awaitable<void> HaLoop::run() {
  while (true) {
    const auto seen = node_.cell.changed().count();
    node_.cell.mark_hosts(node_.config.timing.suspect, core::steady_after(node_.config.timing));
    auto round = core::ha_round(node_.cell.view(), node_.local, facts(), node_.config.timing, node_.self());
    tell(std::move(round.waits));
    for (auto& action : round.actions) {
      const std::string object = action.kind == core::HaAction::Kind::fence ? action.host : action.vm;
      if (!at_work_.insert(object).second) continue;
      auto task = carry_out(std::move(action));
      runtime::run_in_background(node_.cell.changed().executor(), "failover of " + object, std::move(task));
    }
    co_await steps::pause(kBreath);
    co_await node_.cell.changed().wait(seen, Clock::now() + next_look());
  }
}

}  // namespace bascule
