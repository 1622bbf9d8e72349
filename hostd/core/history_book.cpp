// What was seen, into the records of the days; and the records of many days, for people.
#include <algorithm>

#include "hostd/core/history.hpp"

namespace bascule::core {
namespace {

constexpr std::size_t kHours = 24;

WallMs day_start(WallMs at) { return at / kDayMs * kDayMs; }
WallMs day_end(WallMs at) { return day_start(at) + kDayMs; }

class Book {
 public:
  Book(std::vector<HistoryDay> days, std::string self) : days_(std::move(days)), self_(std::move(self)) {
    written_ = days_;
  }

  void put(const HistorySpan& seen) {
    HistorySpan span = seen;
    if (!days_.empty()) span.from = std::max(span.from, days_.back().until_ms);
    if (span.from >= span.to) return;
    if (!days_.empty() && span.from > days_.back().until_ms) gap(span);
    // From off to on a person waits for it: that is no outage. From down it is one.
    const bool switched_on = span.state == HistoryState::down && span.why == OutageWhy::starting;
    if (switched_on && (days_.empty() || days_.back().state == HistoryState::off)) span.state = HistoryState::off;
    if (!days_.empty()) settle(span);
    add(span);
  }
  std::vector<HistoryDay> changed() const {
    std::vector<HistoryDay> out;
    for (const auto& day : days_) {
      if (std::ranges::find(written_, day) == written_.end()) out.push_back(day);
    }
    return out;
  }

 private:
  HistoryDay& of(WallMs at) {
    const std::string day = history_day(at);
    if (!days_.empty() && days_.back().day == day) return days_.back();
    HistoryDay fresh;
    fresh.day = day;
    fresh.since_ms = fresh.until_ms = at;
    if (!days_.empty()) {
      fresh.last_failover = days_.back().last_failover;
      fresh.epoch = days_.back().epoch;
    }
    return days_.emplace_back(std::move(fresh));
  }

  /// Nobody saw the time up to this span. What must have been is told by its two ends: off on both, or down on both
  /// without a start in between, it was so throughout. Whatever else it was, it was not seen.
  void gap(const HistorySpan& next) {
    const HistoryDay last = days_.back();
    HistorySpan g;
    g.state = HistoryState::unknown;
    g.epoch = last.epoch;
    if (last.state == HistoryState::off && next.state == HistoryState::off) g.state = HistoryState::off;
    if (last.state == HistoryState::down && next.state == HistoryState::down && last.epoch == next.epoch) {
      g.state = HistoryState::down;
      if (!last.outages.empty()) g.why = last.outages.back().why;
    }
    // A day in between has no record: whoever reads it knows that nobody saw it.
    g.from = last.until_ms;
    g.to = std::min(next.from, day_end(std::max<WallMs>(last.until_ms - 1, 0)));
    if (g.from < g.to) add(g);
    const WallMs today = day_start(next.from);
    if (today < g.to && g.to >= next.from) return;
    g.from = std::max(today, g.to);
    g.to = next.from;
    if (g.from < g.to) add(g);
  }

  /// The run of unknown time that ends here was down after all, if what comes says so.
  void settle(const HistorySpan& next) {
    if (days_.back().unsure_ms == 0 || next.state == HistoryState::unknown) return;
    const bool anew = next.state == HistoryState::up && next.epoch != days_.back().epoch && !next.move;
    const bool down = next.state == HistoryState::down || anew;
    for (std::size_t i = days_.size(); i-- > 0;) {
      HistoryDay& d = days_[i];
      const WallMs from = d.until_ms - d.unsure_ms;
      const bool whole = from == day_start(d.until_ms - 1);
      if (down && d.unsure_ms > 0) {
        d.unknown_ms -= d.unsure_ms;
        d.down_ms += d.unsure_ms;
        open(d, from, d.until_ms, anew ? OutageWhy::not_seen : next.why, anew ? std::string() : next.operation, false);
        d.state = HistoryState::down;
        d.by = self_;
      }
      d.unsure_ms = 0;
      const bool goes_on = whole && i > 0 && days_[i - 1].until_ms == from && days_[i - 1].unsure_ms > 0;
      if (!goes_on) break;
    }
  }

  void open(HistoryDay& d, WallMs from, WallMs to, OutageWhy why, const std::string& operation, bool goes_on) {
    if (goes_on && !d.outages.empty() && d.outages.back().to_ms == from) {
      d.outages.back().to_ms = to;
      if (d.outages.back().operation.empty()) d.outages.back().operation = operation;
      return;
    }
    if (goes_on && d.more_outages > 0) return;  // of one that has no room
    if (d.outages.size() < HistoryLimits::outages)
      d.outages.push_back({from, to, why, operation});
    else
      ++d.more_outages;
  }

  void add(const HistorySpan& s) {
    HistoryDay& d = of(s.from);
    const std::int64_t took = s.to - s.from;
    const bool seen = s.state == HistoryState::up || s.state == HistoryState::down;
    if (s.state == HistoryState::up) d.up_ms += took;
    if (s.state == HistoryState::off) d.off_ms += took;
    if (s.state == HistoryState::unknown) d.unknown_ms += took;
    d.unsure_ms = s.state == HistoryState::unknown ? d.unsure_ms + took : 0;
    if (s.state == HistoryState::down) {
      d.down_ms += took;
      open(d, s.from, s.to, s.why, s.operation, d.state == HistoryState::down && d.until_ms == s.from);
    }
    if (seen && s.both_legs) d.protected_ms += took;
    if (seen && s.resync) d.resync_ms += took;
    if (s.behind_kib > 0 && s.state != HistoryState::unknown) {
      d.behind_kib.resize(kHours);
      auto& most = d.behind_kib[static_cast<std::size_t>((s.from - day_start(s.from)) / kHourMs)];
      most = std::max(most, s.behind_kib);
    }
    if (!s.failover.empty() && s.failover != d.last_failover) {
      ++d.failovers;
      d.last_failover = s.failover;
    }
    d.until_ms = s.to;
    d.state = s.state;
    d.both_legs = s.both_legs;
    if (s.state != HistoryState::unknown) d.epoch = s.epoch;
    d.by = self_;
  }

  std::vector<HistoryDay> days_, written_;
  std::string self_;
};

std::int64_t counted(const HistoryDay& d) { return d.up_ms + d.down_ms + d.unknown_ms + d.off_ms; }

void add_up(History& h) {
  WallMs outage_end = -1;  // of the last outage, when it reached midnight
  std::int64_t length = 0;
  for (const auto& d : h.days) {
    h.sum.up_ms += d.up_ms;
    h.sum.down_ms += d.down_ms;
    h.sum.unknown_ms += d.unknown_ms;
    h.sum.off_ms += d.off_ms;
    h.sum.protected_ms += d.protected_ms;
    h.sum.resync_ms += d.resync_ms;
    h.sum.failovers += d.failovers;
    h.outages += d.more_outages;
    for (const auto& o : d.outages) {
      const bool same = o.from_ms == outage_end && o.from_ms == day_start(o.from_ms);
      length = (same ? length : 0) + o.to_ms - o.from_ms;
      if (!same) ++h.outages;
      outage_end = o.to_ms;
      h.longest_ms = std::max(h.longest_ms, length);
    }
  }
}

}  // namespace

std::vector<HistoryDay> history_apply(std::vector<HistoryDay> days, const std::vector<HistorySpan>& spans,
                                      const std::string& self) {
  Book book(std::move(days), self);
  for (const auto& span : spans) book.put(span);
  return book.changed();
}

History history_of(const std::vector<HistoryDay>& records, const std::string& began, WallMs now, std::size_t days) {
  History h;
  days = std::clamp<std::size_t>(days, 1, HistoryLimits::days);
  WallMs end = now;
  if (!records.empty() && now - records.back().until_ms < HistoryLimits::fresh_ms) end = records.back().until_ms;
  const WallMs first = day_start(now) - static_cast<WallMs>(days - 1) * kDayMs;
  auto next = records.begin();
  for (WallMs at = first; at < end && !began.empty(); at += kDayMs) {
    const std::string day = history_day(at);
    if (day < began) continue;
    while (next != records.end() && next->day < day) ++next;
    const bool there = next != records.end() && next->day == day;
    HistoryDay d = there ? *next : HistoryDay{};
    d.day = day;
    if (day != began || !there) d.since_ms = at;
    d.until_ms = std::min(end, at + kDayMs);
    d.unknown_ms += std::max<std::int64_t>(0, d.until_ms - d.since_ms - counted(d));
    h.days.push_back(std::move(d));
  }
  add_up(h);
  if (!h.days.empty()) {
    h.sum.since_ms = h.days.front().since_ms;
    h.sum.until_ms = h.days.back().until_ms;
  }
  const auto seen = static_cast<double>(h.sum.up_ms + h.sum.down_ms);
  const auto wanted = seen + static_cast<double>(h.sum.unknown_ms);
  if (seen > 0) h.available = static_cast<double>(h.sum.up_ms) / seen;
  if (seen > 0) h.protection = static_cast<double>(h.sum.protected_ms) / seen;
  if (wanted > 0) h.available_least = static_cast<double>(h.sum.up_ms) / wanted;
  return h;
}

}  // namespace bascule::core
