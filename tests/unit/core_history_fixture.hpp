// One host that looks at a VM, as its loop does, and the records as etcd keeps them.
#pragma once

#include <algorithm>
#include <map>

#include "core_fixture.hpp"
#include "hostd/core/history.hpp"

namespace bascule::core::test {

inline constexpr WallMs kTen = 1'795'860'000'000;  // 2026-11-28 10:00 UTC
inline constexpr WallMs kSecond = 1000;
inline constexpr WallMs kMinute = 60 * kSecond;
inline constexpr WallMs kHour = 60 * kMinute;
inline constexpr WallMs kMidnight = kTen + 14 * kHour;

inline HistoryLook running(const std::string& holder = "a1", std::int64_t epoch = 3) {
  HistoryLook l;
  l.holder = holder;
  l.instance = holder + "-1";
  l.incarnation = 10;
  l.state = HistoryState::up;
  l.both_legs = true;
  l.epoch = epoch;
  return l;
}
inline HistoryLook down(OutageWhy why = OutageWhy::guest_ended, std::int64_t epoch = 3) {
  HistoryLook l = running("a1", epoch);
  l.state = HistoryState::down;
  l.why = why;
  return l;
}
inline HistoryLook off() {
  HistoryLook l = running();
  l.state = HistoryState::off;
  return l;
}
inline HistoryLook silent() {
  HistoryLook l = running();
  l.silent = true;
  l.state = HistoryState::unknown;
  l.why = OutageWhy::host_lost;
  return l;
}

/// The records as etcd keeps them, and who wrote when.
struct Records {
  std::map<std::string, HistoryDay> days;
  std::vector<HistoryDay> of(WallMs wall) const {
    std::vector<HistoryDay> out;
    for (const auto at : {wall - 24 * kHour, wall}) {
      const auto it = days.find(history_day(at));
      if (it != days.end()) out.push_back(it->second);
    }
    return out;
  }
  HistoryDay sum() const {
    HistoryDay s;
    for (const auto& [day, d] : days) {
      EXPECT_EQ(d.up_ms + d.down_ms + d.unknown_ms + d.off_ms, d.until_ms - d.since_ms) << day;
      EXPECT_EQ(history_day(d.until_ms - 1), day);
      s.up_ms += d.up_ms;
      s.down_ms += d.down_ms;
      s.unknown_ms += d.unknown_ms;
      s.off_ms += d.off_ms;
      s.protected_ms += d.protected_ms;
      s.resync_ms += d.resync_ms;
      s.failovers += d.failovers;
      for (const auto& o : d.outages) s.outages.push_back(o);
    }
    return s;
  }
};

/// One host that looks at the VM, as its loop does.
struct Host {
  std::string id;
  HistoryMemory memory{};
  HistoryClock clock{Mono(1'000'000), kTen, Mono(0)};

  void look(const HistoryLook& at) { history_step(memory, at, clock); }
  /// Time passes with a look each second; `at` stands throughout.
  void see(const HistoryLook& at, WallMs time) {
    look(at);
    for (WallMs left = time; left > 0; left -= kSecond) {
      pass(std::min(left, kSecond));
      look(at);
    }
  }
  void pass(WallMs time) {
    clock.now += Mono(time);
    clock.wall += time;
  }
  void write(Records& to) {
    const auto before = to.of(clock.wall);
    const auto changed = history_apply(before, memory.spans, id);
    for (const auto& d : changed) to.days[d.day] = d;
    const auto& newest = changed.empty() ? before : changed;
    if (!newest.empty()) history_written(memory, newest.back().until_ms);
  }
};

}  // namespace bascule::core::test
