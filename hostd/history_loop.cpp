#include "hostd/history_loop.hpp"

#include <algorithm>

#include "hostd/core/right.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::Mono;
using core::Result;
using runtime::Clock;

namespace {
constexpr std::chrono::milliseconds kBreath{500};  // a round looks at every VM: not at every change of a burst
constexpr std::chrono::seconds kTick{1};           // until what stands is seen to stand still
constexpr std::size_t kWritesAtOnce = 4;           // and begun in one round: eight a second at most
constexpr std::chrono::seconds kTidyStep{2};
constexpr std::chrono::minutes kTidyPause{10};  // between two walks over all records

Mono now() { return std::chrono::duration_cast<Mono>(Clock::now().time_since_epoch()); }
}  // namespace

void HistoryLoop::look() {
  const auto& view = cell_.view();
  // What an old view shows was not seen.
  if (!view.synced) return;
  const auto absences = cell_.absences();
  core::HistoryClock clock{now(), runtime::wall_ms(), {}};
  for (const auto& [name, vm] : view.vms) {
    if (core::other_host(vm.layout.value, cell_.self()).empty()) continue;
    const auto seen = core::history_look(view, name);
    if (!seen) continue;
    const auto absent = absences.find(seen->holder);
    clock.heard = absent == absences.end() ? Mono(0) : absent->second;
    Entry& entry = entries_[name];
    if (entry.memory.last && entry.memory.last->incarnation != seen->incarnation) {  // made again under the same name
      entry.newest.reset();
      entry.wrote.reset();
      gone_.insert(name);
    }
    core::history_step(entry.memory, *seen, clock);
  }
  std::erase_if(entries_, [&](const auto& e) {
    const bool gone = view.vm(e.first) == nullptr && !e.second.busy;
    if (gone) gone_.insert(e.first);
    return gone;
  });
}

void HistoryLoop::start_writes() {
  const auto& view = cell_.view();
  if (!view.synced || entries_.empty()) return;
  auto it = entries_.lower_bound(next_);
  for (std::size_t i = 0; i < entries_.size() && writing_ < kWritesAtOnce; ++i) {
    if (it == entries_.end()) it = entries_.begin();
    auto& [name, entry] = *it++;
    const bool writer = core::history_writer(view, name) == cell_.self();
    if (entry.busy || !core::history_due(entry.memory, entry.newest, writer, entry.wrote, now(), view.vms.size()))
      continue;
    entry.busy = true;
    ++writing_;
    next_ = it == entries_.end() ? std::string() : it->first;
    auto task = write(name);
    runtime::run_in_background(cell_.changed().executor(), "the history of " + name, std::move(task));
  }
}

asio::awaitable<Result<>> HistoryLoop::commit(std::string vm, Entry& entry) {
  const core::Revision incarnation = entry.memory.last->incarnation;
  const core::WallMs wall = runtime::wall_ms();
  auto reading = store_.days(vm, incarnation, core::history_day(wall - core::kDayMs), core::history_day(wall));
  auto read = co_await std::move(reading);
  if (!read) co_return read.error();
  if (!entry.memory.last || entry.memory.last->incarnation != incarnation) co_return Result<>{};
  std::vector<core::HistoryDay> before;
  for (const auto& day : *read) before.push_back(day.value);
  const auto changed = core::history_apply(before, entry.memory.spans, cell_.self());
  bool fresh = false;
  runtime::HistoryDays days;
  for (const auto& day : changed) {
    const auto it = std::ranges::find(*read, day.day, [](const auto& d) { return d.value.day; });
    days.push_back({day, 0, it == read->end() ? 0 : it->revision});
    fresh = fresh || it == read->end();
  }
  if (!days.empty()) {
    auto writing = store_.write(vm, incarnation, std::move(days));
    auto done = co_await std::move(writing);
    if (!done) co_return done;
  }
  if (entry.memory.last->incarnation == incarnation) {
    const auto& newest = changed.empty() ? before : changed;
    if (!newest.empty()) entry.newest = newest.back();
    if (!newest.empty()) core::history_written(entry.memory, newest.back().until_ms);
  }
  if (fresh) {
    auto trimming = store_.trim(vm, incarnation, core::history_days_kept(cell_.view().vms.size()));
    auto trimmed = co_await std::move(trimming);
    if (!trimmed && trimmed.error().code != Errc::stale) co_return trimmed.error();
  }
  co_return Result<>{};
}

asio::awaitable<void> HistoryLoop::write(std::string vm) {
  Entry& entry = entries_[vm];  // stays while it is busy
  auto task = commit(vm, entry);
  auto done = co_await std::move(task);
  // Whatever another host wrote, or whether an answer was lost: the next try reads what is there, and counts only what
  // came after it.
  if (!done && done.error().code != Errc::stale)
    say(msg::history_not_recorded, {.vm = vm}, "the history of {}: {}", vm, done.error().what);
  entry.wrote = now();
  entry.busy = false;
  --writing_;
}

asio::awaitable<void> HistoryLoop::run() {
  while (true) {
    const auto seen = cell_.changed().count();
    look();
    start_writes();
    co_await runtime::pause(kBreath);
    co_await cell_.changed().wait(seen, Clock::now() + kTick);
  }
}

/// The first of the alphabet that lives; two for a while do no harm.
bool HistoryLoop::mine_to_tidy() const {
  for (const auto& [id, host] : cell_.view().hosts) {
    if (host.alive()) return id == cell_.self();
  }
  return false;
}

asio::awaitable<void> HistoryLoop::tidy() {
  std::string cursor;
  auto walk_at = Clock::now() + kTidyPause;
  while (true) {
    co_await runtime::pause(kTidyStep);
    if (!cell_.view().synced) continue;
    // A VM that this host saw go: at once. The walk finds those that it did not.
    const bool known = !gone_.empty();
    if (!known && (Clock::now() < walk_at || !mine_to_tidy())) continue;
    const std::string vm = known ? *gone_.begin() : std::string();
    std::string at = known ? store_.cursor(vm) : cursor;
    auto step = store_.sweep(std::move(at), cell_.view());
    auto next = co_await std::move(step);
    if (!next) continue;
    if (known) {
      if (!next->starts_with(store_.cursor(vm))) gone_.erase(vm);
      continue;
    }
    cursor = *next;
    if (cursor.empty()) walk_at = Clock::now() + kTidyPause;
  }
}

}  // namespace bascule
