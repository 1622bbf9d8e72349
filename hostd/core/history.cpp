#include "hostd/core/history.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "hostd/core/alert_text.hpp"
#include "hostd/core/explain.hpp"
#include "hostd/core/right.hpp"
#include "hostd/core/words.hpp"

namespace bascule::core {
namespace {

const Operation* at_work(const CellView& view, const VmView& vm) {
  if (vm.operation.revision == 0) return nullptr;
  const auto it = view.operations.find(vm.operation.value);
  return it == view.operations.end() ? nullptr : &it->second.value;
}

OutageWhy why_of(const Operation& op) {
  if (op.kind == OpKind::vm_failover) return OutageWhy::host_lost;
  if (op.kind == OpKind::vm_restart) return OutageWhy::guest_ended;
  if (op.kind == OpKind::vm_start) return OutageWhy::starting;
  return is_move(op.kind) ? OutageWhy::moving : OutageWhy::operation;
}

/// As its holder, which is not silent, tells of it.
void told(HistoryLook& look, const VmView& vm, const Operation* op) {
  const auto status = vm.status.find(look.holder);
  if (status == vm.status.end()) return;
  const VmStatus& s = status->second;
  for (const auto& [name, volume] : s.volumes) {
    look.behind_kib += volume.out_of_sync_kib;
    look.resync = look.resync || volume.replication.starts_with("Sync") || volume.replication.starts_with("PausedSync");
  }
  if (look.state == HistoryState::off) return;
  const bool frozen = io_stands_still(s.suspended);
  if (s.domain == DomainState::unknown) return;
  const bool runs = s.domain == DomainState::running || s.domain == DomainState::shutting_down;
  look.state = runs && !frozen ? HistoryState::up : HistoryState::down;
  if (look.state == HistoryState::up) return;
  look.why = op != nullptr                     ? why_of(*op)
             : frozen                          ? OutageWhy::frozen
             : s.domain == DomainState::paused ? OutageWhy::paused
                                               : OutageWhy::guest_ended;
}

HistorySpan span_of(const HistoryLook& look, WallMs from, WallMs to) {
  HistorySpan s;
  s.from = from;
  s.to = to;
  s.state = look.state;
  s.why = look.why;
  s.operation = look.operation;
  s.failover = look.failover;
  s.both_legs = look.both_legs;
  s.resync = look.resync;
  s.move = look.move;
  s.behind_kib = look.behind_kib;
  s.epoch = look.epoch;
  return s;
}

/// It only goes on what stood before, in the same hour.
bool extends(const HistorySpan& old, const HistorySpan& next) {
  HistorySpan same = next;
  same.from = old.from;
  same.to = old.to;
  same.behind_kib = old.behind_kib;
  return old.to == next.from && old.from / kHourMs == (next.to - 1) / kHourMs && same == old;
}

void remember(HistoryMemory& m, const HistoryLook& look, WallMs from, WallMs to) {
  while (from < to) {
    const WallMs end = std::min(to, (from / kHourMs + 1) * kHourMs);
    HistorySpan next = span_of(look, from, end);
    if (!m.spans.empty() && extends(m.spans.back(), next)) {
      m.spans.back().to = end;
      m.spans.back().behind_kib = std::max(m.spans.back().behind_kib, next.behind_kib);
    } else {
      m.spans.push_back(std::move(next));
    }
    from = end;
  }
}

/// By how much was seen since, and not by the wall clock: one that jumps must not take what was seen with it.
void forget(HistoryMemory& m) {
  std::size_t keep = 0;
  for (WallMs time = 0; keep < std::min(m.spans.size(), HistoryLimits::spans); ++keep) {
    if (time > HistoryLimits::remembered_ms) break;
    const auto& s = m.spans[m.spans.size() - 1 - keep];
    time += s.to - s.from;
  }
  m.spans.erase(m.spans.begin(), m.spans.end() - static_cast<std::ptrdiff_t>(keep));
}

}  // namespace

std::optional<HistoryLook> history_look(const CellView& view, const std::string& name) {
  const VmView* vm = view.vm(name);
  if (vm == nullptr || vm->spec.revision == 0 || vm->right.revision == 0) return std::nullopt;
  HistoryLook look;
  look.holder = vm->right.value.host;
  look.incarnation = vm->spec.created;
  look.epoch = vm->right.value.epoch;
  look.both_legs = vm_protected(*vm);
  const HostView* host = view.host(look.holder);
  look.silent = host == nullptr || !host->alive();
  if (host != nullptr) look.instance = host->lease.value.instance;
  const Operation* op = at_work(view, *vm);
  if (op != nullptr) {
    look.operation = op->id;
    look.move = is_move(op->kind);
    if (op->kind == OpKind::vm_failover && !look.silent) look.failover = op->id;
  }
  const bool not_there = op != nullptr && (op->kind == OpKind::vm_create || op->kind == OpKind::vm_remove);
  const bool wanted = vm->spec.value.power == Power::on && !not_there;
  look.state = wanted ? HistoryState::unknown : HistoryState::off;
  if (look.silent)
    look.why = OutageWhy::host_lost;
  else
    told(look, *vm, op);
  return look;
}

std::string history_writer(const CellView& view, const std::string& name) {
  const VmView* vm = view.vm(name);
  if (vm == nullptr || vm->right.revision == 0) return {};
  const auto lives = [&](const std::string& id) {
    const HostView* host = view.host(id);
    return host != nullptr && host->alive();
  };
  const std::string& holder = vm->right.value.host;
  if (lives(holder)) return holder;
  const std::string other = other_host(vm->layout.value, holder);
  return lives(other) ? other : std::string();
}

void history_step(HistoryMemory& m, const HistoryLook& look, const HistoryClock& clock) {
  // What another host told counts up to its last sign of life.
  const WallMs to = look.silent ? clock.wall : clock.wall - std::max<WallMs>(clock.heard.count(), 0);
  if (!m.last || m.last->incarnation != look.incarnation) {
    m = {};
    m.began = clock.now;
    m.until = to;
  } else {
    const Mono passed = clock.now - m.at;
    const WallMs shown = clock.wall - m.wall;
    const WallMs step = shown - passed.count();
    const bool restarted = m.last->holder == look.holder && m.last->instance != look.instance;
    m.restarted = m.restarted || restarted;
    if (step > HistoryLimits::jump_ms && passed <= HistoryLimits::hole) {
      // The clock was put forward: only what really passed was seen.
      remember(m, *m.last, m.until, std::min(to, m.until + passed.count()));
    } else if (look.silent && passed <= HistoryLimits::hole) {
      remember(m, look, m.until, to);
    } else if (passed <= HistoryLimits::hole && !restarted) {
      remember(m, *m.last, m.until, to);
    }
    // Put back by much: it was wrong before, and what was seen then belongs nowhere.
    if (m.until - to > HistoryLimits::back_ms) {
      m.spans.clear();
      m.until = to;
    }
    m.until = std::max(m.until, to);
  }
  m.last = look;
  m.at = clock.now;
  m.wall = clock.wall;
  forget(m);
}

void history_written(HistoryMemory& m, WallMs until) {
  std::erase_if(m.spans, [&](const auto& s) { return s.to <= until; });
  m.restarted = false;
}

bool history_due(const HistoryMemory& m, const std::optional<HistoryDay>& newest, bool writer,
                 std::optional<Mono> wrote, Mono now, std::size_t vms) {
  if (!m.last || m.spans.empty() || (!writer && !m.restarted)) return false;
  if (wrote && now - *wrote < HistoryLimits::settle) return false;
  if (m.restarted) return true;
  if (!m.last->silent && now - m.began < HistoryLimits::first) return false;
  const HistorySpan& s = m.spans.back();
  const bool news = !newest || newest->state != s.state || newest->both_legs != s.both_legs ||
                    (!s.failover.empty() && newest->last_failover != s.failover);
  const Mono pace = std::max(HistoryLimits::pace, HistoryLimits::pace_per_vm * static_cast<std::int64_t>(vms));
  return news || !wrote || now - *wrote >= pace;
}

std::size_t history_days_kept(std::size_t vms) {
  return std::clamp<std::size_t>(HistoryLimits::records / std::max<std::size_t>(vms, 1), 1, HistoryLimits::days);
}

std::string history_day(WallMs at) { return utc_text(at).substr(0, 10); }

std::optional<WallMs> history_day_start(std::string_view day) {
  if (day.size() != 10 || day[4] != '-' || day[7] != '-') return std::nullopt;
  const auto number = [&](std::size_t from, std::size_t size) {
    int value = -1;
    const auto* end = day.data() + from + size;
    const auto read = std::from_chars(day.data() + from, end, value);
    return read.ec == std::errc() && read.ptr == end && day[from] != '-' ? value : -1;
  };
  using namespace std::chrono;
  const int month = number(5, 2);
  const int date = number(8, 2);
  if (number(0, 4) < 0 || month < 0 || date < 0) return std::nullopt;
  const year_month_day ymd{year(number(0, 4)), std::chrono::month(static_cast<unsigned>(month)),
                           std::chrono::day(static_cast<unsigned>(date))};
  if (!ymd.ok()) return std::nullopt;
  return duration_cast<milliseconds>(sys_days(ymd).time_since_epoch()).count();
}

namespace {
constexpr std::array kStates{Word<HistoryState>{HistoryState::off, "off"}, Word<HistoryState>{HistoryState::up, "up"},
                             Word<HistoryState>{HistoryState::down, "down"},
                             Word<HistoryState>{HistoryState::unknown, "unknown"}};
constexpr std::array kWhys{
    Word<OutageWhy>{OutageWhy::not_seen, "not-seen"},       Word<OutageWhy>{OutageWhy::host_lost, "host-lost"},
    Word<OutageWhy>{OutageWhy::guest_ended, "guest-ended"}, Word<OutageWhy>{OutageWhy::starting, "starting"},
    Word<OutageWhy>{OutageWhy::moving, "moving"},           Word<OutageWhy>{OutageWhy::frozen, "frozen"},
    Word<OutageWhy>{OutageWhy::paused, "paused"},           Word<OutageWhy>{OutageWhy::operation, "operation"}};
}  // namespace

std::string_view to_string(HistoryState v) { return word<HistoryState>(kStates, v); }
std::string_view to_string(OutageWhy v) { return word<OutageWhy>(kWhys, v); }
std::optional<HistoryState> parse_history_state(std::string_view s) { return value<HistoryState>(kStates, s); }
std::optional<OutageWhy> parse_outage_why(std::string_view s) { return value<OutageWhy>(kWhys, s); }

}  // namespace bascule::core
