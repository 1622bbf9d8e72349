// What a fake cell has of the past: how VMs fared, alerts, and a backup file that is written back.
#include <algorithm>

#include "tests/testkit/fake_cell.hpp"

namespace bascule::test {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr core::WallMs kMinute = 60'000;
constexpr core::WallMs kHour = 60 * kMinute;
constexpr core::WallMs kDay = 24 * kHour;

void down(core::HistoryDay& d, core::WallMs at, core::WallMs took, core::OutageWhy why, const char* operation) {
  d.outages.push_back({d.since_ms + at, d.since_ms + at + took, why, operation});
  d.up_ms -= took;
  d.down_ms += took;
}

/// The last `days` days up to `now`, oldest first: mostly well, with a failover, a resync, a time that nobody saw.
std::vector<core::HistoryDay> fake_history(core::WallMs now, int days) {
  std::vector<core::HistoryDay> out;
  for (int ago = std::max(days, 1) - 1; ago >= 0; --ago) {
    core::HistoryDay d;
    d.since_ms = (now / kDay - ago) * kDay;
    d.until_ms = std::min(now, d.since_ms + kDay);
    d.day = core::history_day(d.since_ms);
    d.up_ms = d.until_ms - d.since_ms;
    d.protected_ms = d.up_ms;
    d.state = core::HistoryState::up;
    d.both_legs = true;
    if (ago % 29 == 12) {
      down(d, 3 * kHour + 12 * kMinute, 14'200, core::OutageWhy::host_lost, "op-failover");
      d.failovers = 1;
      d.protected_ms -= 9 * kHour;
      d.resync_ms = 2 * kHour;
      d.behind_kib.assign(24, 0);
      for (std::uint64_t hour = 3; hour < 12; ++hour)
        d.behind_kib[hour] = hour < 10 ? (hour - 2) * 40'000 : (13 - hour) * 90'000;
    }
    if (ago % 29 == 5) {
      d.up_ms -= 40 * kMinute;
      d.protected_ms -= 40 * kMinute;
      d.unknown_ms = 40 * kMinute;
    }
    if (ago % 29 == 20) {
      d.up_ms -= 6 * kHour;
      d.protected_ms -= 6 * kHour;
      d.off_ms = 6 * kHour;
      down(d, 20 * kHour, 4 * kMinute, core::OutageWhy::guest_ended, "op-restart");
    }
    out.push_back(std::move(d));
  }
  return out;
}

}  // namespace

void FakeCell::add_alert(const std::string& id, const std::string& kind, const std::string& severity, bool over) {
  core::Alert a;
  a.id = id;
  a.kind = *core::parse_alert_kind(kind);
  a.severity = *core::parse_severity(severity);
  a.title = "the title of " + id;
  a.what = "What happened, of " + id + ".";
  a.did = "What Bascule did, of " + id + ".";
  a.todo = "Look at it: docs/runbooks/host-dead.md";
  a.hint = "hostctl why web";
  a.host = "b1";
  a.vm = kind.starts_with("failover") ? "web" : "";
  a.reporter = "a1";
  a.created_ms = kNow - 60'000;
  if (over) a.ended_ms = kNow;
  core::Delivery sent{core::DeliveryState::sent, "a1", "i", "", 0, kNow, {}, false, ""};
  core::Delivery failed{core::DeliveryState::failed, "b1", "i", "", 3, kNow, {}, false, "connection refused"};
  a.deliveries = {{"mail", sent}, {"oncall", failed}};
  const auto revision = changed("alert.changed", id, {});
  alerts_[id] = {a, revision, revision};
}

void FakeCell::set_history(const std::string& vm, int days) { histories_[vm] = fake_history(kNow, days); }

asio::awaitable<Result<core::History>> FakeCell::history(std::string vm, core::Revision, std::size_t days) {
  if (!view_.synced) co_return fail(Errc::unavailable, "etcd is not reached; ask another host");
  const auto& all = histories_[vm];
  const std::string first = core::history_day(kNow - static_cast<core::WallMs>(days - 1) * 24 * 3'600'000);
  std::vector<core::HistoryDay> window;
  for (const auto& day : all) {
    if (day.day >= first) window.push_back(day);
  }
  co_return core::history_of(window, all.empty() ? std::string() : all.front().day, kNow, days);
}

asio::awaitable<Result<core::RestorePlan>> FakeCell::restore(core::RestoreStep step, core::Request request) {
  ++submitted;
  if (next_failure_) co_return *std::exchange(next_failure_, std::nullopt);
  auto plan = core::plan_restore(view_, step);
  if (!plan || plan->unchanged || step.dry_run) co_return plan;
  const bool vm = step.kind == core::RestoreStep::Kind::vm;
  const auto at = changed(vm ? "vm.changed" : "audit.appended", vm ? step.spec.name : "", step.spec.project);
  if (vm) {
    auto& made = view_.vms[step.spec.name];
    made.spec = {step.spec, at, at};
    made.layout = {step.layout, at, at};
    made.restored = {step.restored, at, at};
  }
  view_.restore = {plan->next, at, at};
  core::AuditRecord record;
  record.who = {request.caller.name, "operator", {}};
  record.why = request.reason;
  record.what = plan->what;
  record.object = vm ? "vm/" + step.spec.name : "cell";
  record.project = step.spec.project;
  record.result = plan->result;
  append_audit(std::move(record));
  co_return plan;
}

}  // namespace bascule::test
