#include "hostd/core/alert.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "hostd/core/words.hpp"

namespace bascule::core {
namespace {

constexpr std::array kSeverity{Word<Severity>{Severity::info, "info"}, Word<Severity>{Severity::warning, "warning"},
                               Word<Severity>{Severity::critical, "critical"}};
constexpr std::array kState{Word<DeliveryState>{DeliveryState::claimed, "claimed"},
                            Word<DeliveryState>{DeliveryState::failed, "failed"},
                            Word<DeliveryState>{DeliveryState::sent, "sent"}};
constexpr std::array kKind{Word<AlertKind>{AlertKind::test, "test"},
                           Word<AlertKind>{AlertKind::heartbeat, "heartbeat"},
                           Word<AlertKind>{AlertKind::failover_decided, "failover-decided"},
                           Word<AlertKind>{AlertKind::failover_done, "failover-done"},
                           Word<AlertKind>{AlertKind::failover_failed, "failover-failed"},
                           Word<AlertKind>{AlertKind::needs_operator, "needs-operator"},
                           Word<AlertKind>{AlertKind::host_silent, "host-silent"},
                           Word<AlertKind>{AlertKind::vm_down, "vm-down"},
                           Word<AlertKind>{AlertKind::vm_unprotected, "vm-unprotected"},
                           Word<AlertKind>{AlertKind::split_brain, "split-brain"},
                           Word<AlertKind>{AlertKind::etcd_voter_lost, "etcd-voter-lost"},
                           Word<AlertKind>{AlertKind::certificate_expiring, "certificate-expiring"}};

/// The message that goes to everybody at once and is never held back.
bool exempt(const Alert& a) { return a.kind == AlertKind::test || a.kind == AlertKind::heartbeat; }

bool list_gets(const AlertList& list, const Alert& a) {
  if (a.kind == AlertKind::test) return true;
  if (a.kind == AlertKind::heartbeat) return list.heartbeat;
  return a.severity >= list.least;
}

/// A message of it should have gone to this list by now.
bool due(const AlertList& list, const Alert& a, WallMs wall) {
  if (!list_gets(list, a) || wall - a.created_ms > AlertLimits::give_up_ms) return false;
  if (exempt(a)) return true;
  if (a.acked_ms != 0) return false;
  if (list.after_ms == 0) return true;
  return a.ended_ms == 0 && wall - a.created_ms >= list.after_ms;
}

std::string job_id(const std::string& id, const Delivery& d) { return d.bundle.empty() ? id : d.bundle; }

/// A round of one host. What it changes in a record goes into one write.
class Round {
 public:
  Round(const CellView& view, const AlertBook& book, const AlertRules& rules, const AlertFacts& facts,
        AlertMemory& memory, const std::string& self)
      : view_(view), book_(book), rules_(rules), facts_(facts), memory_(memory), self_(self) {
    for (const auto& [id, h] : view.hosts) rank_ += id < self && h.alive() ? 1 : 0;
  }

  AlertRound run() {
    make_and_end();
    mark();
    for (const auto& list : rules_.lists) deliver(list);
    forget();
    std::erase_if(memory_.deliveries, [&](const auto& m) { return !timed_.contains(m.first); });
    return std::move(out_);
  }

 private:
  using Group = std::vector<const Versioned<Alert>*>;
  Mono turn() const { return rank_ * AlertLimits::rank_pause; }
  bool silent(const std::string& host) const {
    const HostView* h = view_.host(host);
    return h == nullptr || !h->alive();
  }
  /// No write on it is under way. Several records that must change together are not part of another write.
  bool free(const Group& group) const {
    return std::ranges::none_of(group, [&](const auto* a) {
      const std::string& id = a->value.id;
      return facts_.busy.contains(id) || (group.size() > 1 && pending_.contains(id));
    });
  }
  Mono since(std::map<std::string, AlertMemory::Seen>& in, const std::string& key, const std::string& what) const {
    auto& seen = in.try_emplace(key, AlertMemory::Seen{what, facts_.now}).first->second;
    if (seen.what != what) seen = {what, facts_.now};
    return facts_.now - seen.since;
  }
  void write(AlertWrite changes) {
    for (std::size_t i = 0; i < changes.size(); ++i) pending_[changes[i].id] = {out_.writes.size(), i};
    out_.writes.push_back(std::move(changes));
  }
  /// The alert with what this round changes in it so far.
  Alert& change(const Versioned<Alert>& a) {
    const std::string& id = a.value.id;
    if (!pending_.contains(id)) write({{id, a.revision, a.value}});
    const auto [write, index] = pending_.at(id);
    return *out_.writes[write][index].next;
  }
  /// All of them in one transaction, if there are several.
  template <class Edit>
  void change_all(const Group& group, Edit edit) {
    if (group.size() > 1) {
      AlertWrite changes;
      for (const auto* a : group) changes.push_back({a->value.id, a->revision, a->value});
      write(std::move(changes));
    }
    for (const auto* a : group) edit(change(*a));
  }
  Delivery claim(const Delivery& before, bool repeat) const {
    Delivery d = before;
    d.state = DeliveryState::claimed;
    d.by = self_;
    d.instance = facts_.instance;
    d.when_ms = facts_.wall;
    d.repeat = d.repeat || repeat;
    return d;
  }

  void make_and_end();
  void make(const AlertEvent& event);
  void mark();
  void deliver(const AlertList& list);
  void claim_new(const AlertList& list, Group waiting);
  void go_on(const AlertList& list, const std::string& job, const Group& group);
  std::size_t messages_lately(const AlertList& list, bool bundles) const;
  void take(const AlertList& list, const Group& group, bool repeat, const std::string& bundle);
  void forget();

  const CellView& view_;
  const AlertBook& book_;
  const AlertRules& rules_;
  const AlertFacts& facts_;
  AlertMemory& memory_;
  const std::string& self_;
  std::map<std::string, std::pair<std::size_t, std::size_t>> pending_;  ///< by alert: where in out_.writes
  std::set<std::string> timed_;
  int rank_{};
  AlertRound out_;
};

void Round::make(const AlertEvent& event) {
  const auto it = book_.find(event.alert.id);
  const bool again = it != book_.end() && is_state(event.alert.kind) && it->second.value.ended_ms != 0;
  if ((it != book_.end() && !again) || facts_.busy.contains(event.alert.id)) return;
  if (book_.size() + out_.writes.size() >= AlertLimits::most) return;
  // What is on its way of the time before has the same name: its end first, or it would count for this one.
  const auto on_its_way = [&](const auto& d) {
    return d.second.state == DeliveryState::claimed && facts_.wall - d.second.when_ms < AlertLimits::give_up_ms;
  };
  if (again && std::ranges::any_of(it->second.value.deliveries, on_its_way)) return;
  Alert a = event.alert;
  a.created_ms = facts_.wall;
  a.reporter = self_;
  for (const auto& list : rules_.lists) {
    // The host that writes it sends it: one way to etcd, not two.
    const bool held = !exempt(a) && messages_lately(list, false) >= rules_.storm_messages;
    if (due(list, a, facts_.wall) && !held) a.deliveries[list.name] = claim({}, false);
  }
  const std::string id = a.id;
  write({{id, again ? it->second.revision : 0, std::move(a)}});
}

void Round::make_and_end() {
  std::set<std::string> seen;
  for (const auto& event : alert_events(view_, book_, rules_, facts_, self_)) {
    const std::string& id = event.alert.id;
    seen.insert(id);
    memory_.calm.erase(id);
    const Mono stands = since(memory_.events, id, "");
    // Whoever caused it writes it at once; when that host is lost or slow, the others do, one after the other.
    const bool first = event.first.empty() ? rank_ == 0 : event.first == self_;
    const Mono wait = first ? Mono(0) : turn() + AlertLimits::rank_pause;
    if (stands >= event.patience + wait) make(event);
  }
  std::erase_if(memory_.events, [&](const auto& m) { return !seen.contains(m.first); });
  for (const auto& [id, a] : book_) {
    if (!is_state(a.value.kind) || a.value.ended_ms != 0 || seen.contains(id)) continue;
    const bool mine = a.value.reporter == self_ || silent(a.value.reporter);
    const Mono wait = AlertLimits::calm + (a.value.reporter == self_ ? Mono(0) : turn());
    if (since(memory_.calm, id, "") < wait || !mine || !free({&a})) continue;
    change(a).ended_ms = facts_.wall;
  }
  std::erase_if(memory_.calm, [&](const auto& m) { return !book_.contains(m.first); });
}

/// What this host has sent, or tried to, goes into the record; an outcome of a claim that is another's by now goes
/// away.
void Round::mark() {
  for (const auto& [job, outcome] : facts_.outcomes) {
    Group group;
    for (const auto& [id, a] : book_) {
      const auto d = a.value.deliveries.find(job.first);
      if (d == a.value.deliveries.end() || job_id(id, d->second) != job.second) continue;
      const bool ours =
          d->second.state == DeliveryState::claimed && d->second.by == self_ && d->second.instance == facts_.instance;
      if (ours) group.push_back(&a);
    }
    if (group.empty()) out_.settled.push_back(job);
    if (group.empty() || !free(group)) continue;
    change_all(group, [&](Alert& next) {
      Delivery& to = next.deliveries[job.first];
      to.state = outcome.sent ? DeliveryState::sent : DeliveryState::failed;
      to.when_ms = facts_.wall;
      to.error = outcome.error;
      to.accepted = outcome.accepted;
      if (!outcome.sent) ++to.tries;
    });
  }
}

std::size_t Round::messages_lately(const AlertList& list, bool bundles) const {
  std::set<std::string> jobs;
  for (const auto& [id, a] : book_) {
    const auto d = a.value.deliveries.find(list.name);
    if (d == a.value.deliveries.end() || exempt(a.value) || facts_.wall - d->second.when_ms >= rules_.storm_ms)
      continue;
    if (!bundles || !d->second.bundle.empty()) jobs.insert(job_id(id, d->second));
  }
  for (const auto& w : out_.writes) {  // made or claimed in this very round
    for (const auto& c : w) {
      if (!c.next || exempt(*c.next)) continue;
      const auto d = c.next->deliveries.find(list.name);
      if (d == c.next->deliveries.end() || facts_.wall - d->second.when_ms >= rules_.storm_ms) continue;
      if (!bundles || !d->second.bundle.empty()) jobs.insert(job_id(c.id, d->second));
    }
  }
  return jobs.size();
}

void Round::take(const AlertList& list, const Group& group, bool repeat, const std::string& bundle) {
  change_all(group, [&](Alert& next) {
    Delivery d = claim(next.deliveries[list.name], repeat);
    if (!bundle.empty()) d.bundle = bundle;
    next.deliveries[list.name] = std::move(d);
  });
}

/// Alerts that are due and that nobody has claimed: alone, or what is too much in one message.
void Round::claim_new(const AlertList& list, Group waiting) {
  Group held;
  for (const auto* a : waiting) {
    const std::string key = list.name + '/' + a->value.id;
    timed_.insert(key);
    const Mono wait = a->value.reporter == self_ ? Mono(0) : turn() + AlertLimits::rank_pause;
    if (since(memory_.deliveries, key, "due") < wait) continue;
    if (!exempt(a->value) && messages_lately(list, false) >= rules_.storm_messages)
      held.push_back(a);
    else if (free({a}))
      take(list, {a}, false, {});
  }
  if (held.size() > AlertLimits::bundle) held.resize(AlertLimits::bundle);
  if (held.empty() || !free(held) || messages_lately(list, true) != 0) return;
  std::ranges::sort(held, {}, [](const auto* a) { return std::pair(a->created, a->value.id); });
  if (facts_.wall - held.front()->value.created_ms < AlertLimits::gather_ms) return;
  take(list, held, false, held.size() == 1 ? "" : "bundle-" + held.front()->value.id);
}

/// A message that somebody has claimed or tried.
void Round::go_on(const AlertList& list, const std::string& job, const Group& group) {
  const Delivery& d = group.front()->value.deliveries.at(list.name);
  const std::string key = list.name + '/' + job;
  timed_.insert(key);
  const Mono stands =
      since(memory_.deliveries, key, fmt::format("{} {} {} {}", to_string(d.state), d.by, d.tries, d.when_ms));
  if (d.state == DeliveryState::failed) {
    const bool wanted = std::ranges::any_of(group, [&](const auto* a) { return due(list, a->value, facts_.wall); });
    // Another host may have a better way to the server: it tries sooner.
    const Mono pause = d.by == self_ ? retry_pause(d.tries) : retry_pause(d.tries) / 2 + turn();
    if (wanted && stands >= pause && free(group)) take(list, group, false, d.bundle);
    return;
  }
  if (d.by == self_ && d.instance == facts_.instance) {
    const AlertJob id{list.name, job};
    if (facts_.sending.contains(id) || facts_.outcomes.contains(id)) return;
    AlertMessage m{id, {}, {}, d.repeat, d.accepted};
    for (const auto* a : group) m.alerts.push_back(a->value);
    m.key = fmt::format("{}.{}.{}", job, m.alerts.front().created_ms, list.name);
    out_.sends.push_back(std::move(m));
    return;
  }
  // Its sender is gone or stands still. What the server has got of it is not known.
  const bool own = d.by == self_;
  const Mono patience = own ? Mono(0) : (silent(d.by) ? AlertLimits::claim_of_silent : AlertLimits::claim) + turn();
  if (stands >= patience && free(group)) take(list, group, true, d.bundle);
}

void Round::deliver(const AlertList& list) {
  Group waiting;
  std::map<std::string, Group> at_work;
  for (const auto& [id, a] : book_) {
    const auto d = a.value.deliveries.find(list.name);
    if (d == a.value.deliveries.end()) {
      if (due(list, a.value, facts_.wall)) waiting.push_back(&a);
    } else if (d->second.state != DeliveryState::sent) {
      at_work[job_id(id, d->second)].push_back(&a);
    }
  }
  for (auto& [job, group] : at_work) {
    std::ranges::sort(group, {}, [](const auto* a) { return std::pair(a->created, a->value.id); });
    go_on(list, job, group);
  }
  claim_new(list, std::move(waiting));
}

void Round::forget() {
  if (rank_ != 0) return;
  std::vector<const Versioned<Alert>*> all;
  for (const auto& [id, a] : book_) all.push_back(&a);
  std::ranges::sort(all, {}, [](const auto* a) { return std::pair(a->created, a->value.id); });
  AlertWrite gone;
  for (std::size_t i = 0; i < all.size() && gone.size() < AlertLimits::forget_batch; ++i) {
    const Alert& a = all[i]->value;
    const bool too_many = all.size() - i > AlertLimits::standing;
    const bool lasts = is_state(a.kind) && a.ended_ms == 0;
    const bool old = facts_.wall - std::max(a.created_ms, a.ended_ms) > AlertLimits::kept_ms;
    if ((too_many || (old && !lasts)) && !facts_.busy.contains(a.id) && !pending_.contains(a.id))
      gone.push_back({a.id, all[i]->revision, {}});
  }
  if (!gone.empty()) write(std::move(gone));
}

}  // namespace

AlertRound alert_round(const CellView& view, const AlertBook& book, const AlertRules& rules, const AlertFacts& facts,
                       AlertMemory& memory, const std::string& self) {
  if (!view.synced || rules.lists.empty()) return {};
  return Round(view, book, rules, facts, memory, self).run();
}

Mono retry_pause(std::uint32_t tries) {
  const std::uint32_t doublings = std::min<std::uint32_t>(tries == 0 ? 0 : tries - 1, 10);
  return std::min(AlertLimits::first_retry * (1 << doublings), AlertLimits::longest_retry);
}

bool valid_alert_id(std::string_view id) {
  return !id.empty() && id.size() <= 140 &&
         std::ranges::all_of(id, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

std::string_view to_string(Severity v) { return word<Severity>(kSeverity, v); }
std::string_view to_string(AlertKind v) { return word<AlertKind>(kKind, v); }
std::string_view to_string(DeliveryState v) { return word<DeliveryState>(kState, v); }
std::optional<Severity> parse_severity(std::string_view s) { return value<Severity>(kSeverity, s); }
std::optional<AlertKind> parse_alert_kind(std::string_view s) { return value<AlertKind>(kKind, s); }
std::optional<DeliveryState> parse_delivery_state(std::string_view s) { return value<DeliveryState>(kState, s); }

}  // namespace bascule::core
