// A cell with four hosts that make and send alerts, each write applied as etcd would.
#pragma once

#include <fmt/format.h>

#include "core_fixture.hpp"
#include "hostd/core/alert.hpp"

namespace bascule::core::test {

inline constexpr WallMs kNow = 1'790'000'000'000;  // 2026-09-21 14:13:20 UTC

/// The records, and hosts that look at them; a write is applied as etcd would.
struct AlertCell {
  CellView view = cell();
  AlertBook book;
  AlertRules rules;
  Mono now{1'000'000};
  Revision revision{5000};

  struct Host {
    AlertMemory memory;
    AlertFacts facts;
  };
  std::map<std::string, Host> hosts;

  AlertCell() {
    rules.lists = {{"mail", Severity::warning, 0, false}, {"sms", Severity::critical, 0, false}};
    for (const auto* id : {"a1", "a2", "b1", "b2"}) hosts[id].facts.instance = std::string(id) + "-1";
  }
  AlertRound look(const std::string& id) {
    auto& h = hosts[id];
    h.facts.now = now;
    h.facts.wall = kNow + (now - Mono(1'000'000)).count();
    return alert_round(view, book, rules, h.facts, h.memory, id);
  }
  bool apply(const AlertWrite& write) {
    for (const auto& c : write) {
      const auto it = book.find(c.id);
      if ((it == book.end() ? 0 : it->second.revision) != c.revision) return false;
    }
    ++revision;
    for (const auto& c : write) {
      if (!c.next) {
        book.erase(c.id);
        continue;
      }
      auto& slot = book[c.id];
      slot = {*c.next, slot.created == 0 ? revision : slot.created, revision};
    }
    return true;
  }
  /// One round of a host, its writes applied; what it sends is confirmed and marked when `confirm`.
  std::vector<AlertMessage> act(const std::string& id, bool confirm = true) {
    for (const auto& w : look(id).writes) apply(w);
    auto sends = look(id).sends;
    if (confirm) {
      for (const auto& m : sends) hosts[id].facts.outcomes[m.job] = {true, {}, {}};
      for (const auto& w : look(id).writes) apply(w);
      for (const auto& job : look(id).settled) hosts[id].facts.outcomes.erase(job);
    }
    return sends;
  }
  void fail(const std::string& id, const AlertJob& job) {
    hosts[id].facts.outcomes[job] = {false, "no", {}};
    for (const auto& w : look(id).writes) apply(w);
    for (const auto& j : look(id).settled) hosts[id].facts.outcomes.erase(j);
  }
  void pass(Mono time) { now += time; }
  WallMs wall() const { return kNow + (now - Mono(1'000'000)).count(); }
  const Delivery& delivery(const std::string& id, const std::string& list) {
    return book.at(id).value.deliveries.at(list);
  }
  Operation& failover(const std::string& id, const std::string& vm = "vm1", const std::string& host = "b1") {
    auto& op = view.operations[id];
    op.revision = ++revision;
    op.value.id = id;
    op.value.kind = OpKind::vm_failover;
    op.value.vm = vm;
    op.value.target_host = host;
    op.value.author = {host, "host", {}};
    op.value.writer.host = host;
    op.value.reason = "host a1 is lost: its lease has not changed for 5012 ms";
    op.value.result["lost_host"] = "a1";
    op.value.created_ms = wall();
    return op.value;
  }
};

inline std::vector<std::string> lists_of(const std::vector<AlertMessage>& sends) {
  std::vector<std::string> out;
  for (const auto& m : sends) out.push_back(m.job.first);
  std::ranges::sort(out);
  return out;
}

}  // namespace bascule::core::test
