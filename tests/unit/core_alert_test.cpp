// Who is told what by whom: events, claims, retries, escalation, storms, what is forgotten.
#include "hostd/core/alert.hpp"

#include <fmt/format.h>

#include <random>

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr WallMs kNow = 1'790'000'000'000;  // 2026-09-21 14:13:20 UTC

/// The records, and hosts that look at them; a write is applied as etcd would.
struct Cell {
  CellView view = test::cell();
  AlertBook book;
  AlertRules rules;
  Mono now{1'000'000};
  Revision revision{5000};

  struct Host {
    AlertMemory memory;
    AlertFacts facts;
  };
  std::map<std::string, Host> hosts;

  Cell() {
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

std::vector<std::string> lists_of(const std::vector<AlertMessage>& sends) {
  std::vector<std::string> out;
  for (const auto& m : sends) out.push_back(m.job.first);
  std::ranges::sort(out);
  return out;
}

TEST(Alerts, NothingIsMadeWithoutListsOrWithoutEtcd) {
  Cell c;
  c.failover("op-1");
  c.view.synced = false;
  EXPECT_THAT(c.look("b1").writes, IsEmpty());
  c.view.synced = true;
  c.rules.lists.clear();
  EXPECT_THAT(c.look("b1").writes, IsEmpty());
}

TEST(Alerts, TheHostThatDecidedAFailoverWritesClaimsAndSendsAtOnce) {
  Cell c;
  c.failover("op-1");
  EXPECT_THAT(c.look("a2").writes, IsEmpty());
  const auto sends = c.act("b1");
  EXPECT_THAT(lists_of(sends), ElementsAre("mail", "sms"));
  const auto& a = c.book.at("failover-decided-op-1").value;
  EXPECT_EQ(a.severity, Severity::critical);
  EXPECT_EQ(a.vm + a.host + a.site, "vm1b1B");
  EXPECT_THAT(a.what, testing::HasSubstr("lease has not changed for 5012 ms"));
  EXPECT_THAT(a.todo, testing::HasSubstr("hostctl vm failback vm1"));
  EXPECT_EQ(c.delivery(a.id, "mail").state, DeliveryState::sent);
  c.pass(Mono(60'000));
  for (const auto* host : {"a1", "a2", "b1", "b2"}) EXPECT_THAT(c.act(host), IsEmpty()) << host;
}

TEST(Alerts, OthersWriteItWhenThatHostDoesNot) {
  Cell c;
  c.failover("op-1");
  EXPECT_THAT(c.act("a1"), IsEmpty());
  c.pass(AlertLimits::rank_pause);
  EXPECT_THAT(c.act("a2"), IsEmpty());
  EXPECT_THAT(c.act("a1"), SizeIs(2));
}

TEST(Alerts, EachEndOfAFailoverHasItsOwn) {
  const struct {
    OpState state;
    const char* id;
    Severity severity;
  } table[] = {{OpState::done, "failover-done-op-1", Severity::info},
               {OpState::undone, "failover-failed-op-1", Severity::critical},
               {OpState::needs_operator, "needs-operator-op-1", Severity::critical}};
  for (const auto& row : table) {
    Cell c;
    c.failover("op-1").state = row.state;
    c.act("b1");
    ASSERT_THAT(c.book, UnorderedElementsAre(Key("failover-decided-op-1"), Key(row.id)));
    EXPECT_EQ(c.book.at(row.id).value.severity, row.severity) << row.id;
    EXPECT_EQ(c.book.at(row.id).value.deliveries.empty(), row.severity == Severity::info) << "quiet for information";
  }
}

TEST(Alerts, APersonsFailoverAndHistoryAreQuiet) {
  Cell c;
  c.failover("op-1").author = {"olga", "operator", {}};
  c.failover("op-2").created_ms = c.wall() - AlertLimits::fresh_ms - 1;
  EXPECT_THAT(c.act("b1"), IsEmpty());
  EXPECT_THAT(c.book, ElementsAre(Key("failover-decided-op-1")));
}

TEST(Alerts, StatesAreToldAfterTheirPatienceAndEndWhenTheyAreOver) {
  const struct {
    const char* id;
    std::function<void(Cell&, bool)> set;
    Mono patience;
  } table[] = {
      {"host-silent-b2", [](Cell& c, bool on) { c.view.hosts["b2"].silent = on; }, Mono(0)},
      {"vm-down-vm1",
       [](Cell& c, bool on) {
         c.view.vms["vm1"].status["a1"].domain = on ? DomainState::absent : DomainState::running;
       },
       Mono(120'000)},
      {"vm-unprotected-vm1",
       [](Cell& c, bool on) {
         c.view.vms["vm1"].right.value.insync["root"] =
             on ? std::vector<Leg>{test::kLegA} : std::vector<Leg>{test::kLegA, test::kLegB};
       },
       Mono(900'000)},
      {"split-brain-vm1",
       [](Cell& c, bool on) { c.view.vms["vm1"].status["a1"].connection = on ? "StandAlone" : "Connected"; },
       AlertLimits::split_patience},
      {"etcd-voter-lost-https-w-2379",
       [](Cell& c, bool on) {
         c.hosts["a1"].facts.voters_lost = on ? std::set<std::string>{"https://w:2379"} : std::set<std::string>{};
       },
       AlertLimits::voter_patience},
  };
  for (const auto& row : table) {
    Cell c;
    row.set(c, true);
    c.act("a1");
    if (row.patience > Mono(0)) {
      EXPECT_THAT(c.book, IsEmpty()) << row.id;
      c.pass(row.patience - Mono(1));
      c.act("a1");
      EXPECT_THAT(c.book, IsEmpty()) << row.id;
      c.pass(Mono(1));
      EXPECT_FALSE(c.act("a1").empty()) << row.id;
    }
    ASSERT_THAT(c.book, ElementsAre(Key(row.id)));
    const auto first = c.book.at(row.id).value.created_ms;
    row.set(c, false);
    c.act("a1");
    EXPECT_EQ(c.book.at(row.id).value.ended_ms, 0) << "a moment is no end: " << row.id;
    c.pass(AlertLimits::calm);
    EXPECT_THAT(c.act("a1"), IsEmpty());
    EXPECT_NE(c.book.at(row.id).value.ended_ms, 0) << row.id;
    // Again it is a new alert under the same id.
    row.set(c, true);
    c.act("a1");
    c.pass(row.patience);
    if (row.patience > Mono(0)) EXPECT_FALSE(c.act("a1").empty()) << row.id;
    EXPECT_GT(c.book.at(row.id).value.created_ms, first) << row.id;
    EXPECT_EQ(c.book.at(row.id).value.ended_ms, 0) << row.id;
  }
}

TEST(Alerts, AFlapMakesNoSecondMessage) {
  Cell c;
  c.view.hosts["b2"].silent = true;
  EXPECT_THAT(c.act("a1"), SizeIs(1));
  for (int i = 0; i < 20; ++i) {
    c.view.hosts["b2"].silent = i % 2 == 1;
    c.pass(Mono(20'000));
    EXPECT_THAT(c.act("a1"), IsEmpty());
  }
}

TEST(Alerts, ASilentHostInMaintenanceAndAGuestThatSwitchedItselfOffAreInformation) {
  Cell c;
  c.view.hosts["b2"].silent = true;
  c.view.hosts["b2"].maintenance.revision = 7;
  auto& status = c.view.vms["vm1"].status["a1"];
  status.domain = DomainState::absent;
  status.waits = "the guest switched itself off; `hostctl vm start vm1` starts it";
  c.act("a1");
  c.pass(Mono(120'000));
  EXPECT_THAT(c.act("a1"), IsEmpty());
  ASSERT_THAT(c.book, SizeIs(2));
  for (const auto& [id, a] : c.book) EXPECT_EQ(a.value.severity, Severity::info) << id;
}

TEST(Alerts, ACertificateThatEndsSoonIsItsOwnHostsMatter) {
  Cell c;
  c.hosts["b1"].facts.certificates["/etc/pki/host.pem"] = c.wall() + WallMs{15} * 86'400'000;
  EXPECT_THAT(c.act("b1"), IsEmpty());
  c.hosts["b1"].facts.certificates["/etc/pki/host.pem"] = c.wall() + WallMs{13} * 86'400'000;
  EXPECT_THAT(lists_of(c.act("b1")), ElementsAre("mail"));
  EXPECT_THAT(c.book.at("certificate-expiring-b1-etc-pki-host-pem").value.title, testing::HasSubstr("in 13 days"));
}

TEST(Alerts, ATryThatFailedIsRepeatedWithGrowingPauses) {
  EXPECT_EQ(retry_pause(1), Mono(5'000));
  EXPECT_EQ(retry_pause(3), Mono(20'000));
  EXPECT_EQ(retry_pause(50), AlertLimits::longest_retry);
  Cell c;
  c.failover("op-1");
  const auto first = c.act("b1", false);
  ASSERT_THAT(first, SizeIs(2));
  for (const auto& m : first) c.fail("b1", m.job);
  EXPECT_EQ(c.delivery("failover-decided-op-1", "sms").state, DeliveryState::failed);
  EXPECT_EQ(c.delivery("failover-decided-op-1", "sms").error, "no");
  EXPECT_THAT(c.act("b1"), IsEmpty());
  c.pass(retry_pause(1));
  const auto again = c.act("b1", false);
  ASSERT_THAT(again, SizeIs(2));
  EXPECT_EQ(again.front().key, first.front().key) << "the same message, whoever sends it";
  EXPECT_FALSE(again.front().repeat) << "the server said no: it is no repeat";
  for (const auto& m : again) c.fail("b1", m.job);
  c.act("b1");
  c.pass(retry_pause(1));
  EXPECT_THAT(c.act("b1"), IsEmpty());
  c.pass(retry_pause(1));
  EXPECT_THAT(c.act("b1"), SizeIs(2));
}

TEST(Alerts, AnotherHostTriesSoonerThanTheOneThatFailed) {
  Cell c;
  c.failover("op-1");
  for (const auto& m : c.act("b1", false)) c.fail("b1", m.job);
  c.act("a1");
  c.pass(retry_pause(1) / 2);
  EXPECT_THAT(c.act("b1"), IsEmpty());
  EXPECT_THAT(c.act("a1"), SizeIs(2));
}

TEST(Alerts, AfterADayNobodyTriesAnyMore) {
  Cell c;
  c.failover("op-1");
  for (const auto& m : c.act("b1", false)) c.fail("b1", m.job);
  c.act("b1");
  c.pass(Mono(AlertLimits::give_up_ms + 1));
  EXPECT_THAT(c.act("b1"), IsEmpty());
}

TEST(Alerts, AClaimOfAHostdThatDiedIsTakenOverAndSaysSo) {
  Cell c;
  c.failover("op-1");
  const auto first = c.act("b1", false);
  c.hosts["b1"] = {};
  c.hosts["b1"].facts.instance = "b1-2";
  const auto again = c.act("b1");
  ASSERT_THAT(again, SizeIs(2));
  EXPECT_TRUE(again.front().repeat);
  EXPECT_EQ(again.front().key, first.front().key);
  EXPECT_TRUE(c.delivery("failover-decided-op-1", "sms").repeat);
}

TEST(Alerts, AClaimOfAnotherHostIsTakenOverOnlyWhenItCannotBeSendingAnyMore) {
  for (const bool silent : {false, true}) {
    Cell c;
    c.failover("op-1");
    c.act("b1", false);
    c.act("a1");
    c.view.hosts["b1"].silent = silent;
    c.pass((silent ? AlertLimits::claim_of_silent : AlertLimits::claim) - Mono(1));
    EXPECT_THAT(c.act("a1", false), testing::Not(Contains(testing::Field(&AlertMessage::repeat, true)))) << silent;
    c.pass(Mono(1));
    EXPECT_THAT(c.act("a1"), Contains(testing::Field(&AlertMessage::repeat, true))) << silent;
  }
}

TEST(Alerts, AMarkThatComesTooLateChangesNothing) {
  Cell c;
  c.failover("op-1");
  const auto first = c.act("b1", false);
  c.act("a1");
  c.pass(AlertLimits::claim);
  EXPECT_THAT(c.act("a1"), SizeIs(2));
  c.hosts["b1"].facts.outcomes[first.front().job] = {false, "late", {}};
  const auto round = c.look("b1");
  EXPECT_THAT(round.writes, IsEmpty());
  EXPECT_THAT(round.settled, ElementsAre(first.front().job));
}

TEST(Alerts, WhatNobodyAcknowledgesGoesToTheNextList) {
  Cell c;
  c.rules.lists.push_back({"boss", Severity::critical, 30 * 60'000, false});
  c.failover("op-1");
  EXPECT_THAT(lists_of(c.act("b1")), ElementsAre("mail", "sms"));
  c.pass(Mono(30 * 60'000 - 1));
  EXPECT_THAT(c.act("b1"), IsEmpty());
  Cell acked = c;
  auto next = acknowledged(acked.book.begin()->second.value, "olga", "on it", acked.wall());
  ASSERT_TRUE(next);
  acked.apply({{next->id, acked.book.begin()->second.revision, *next}});
  for (Cell* cell : {&c, &acked}) {
    cell->pass(Mono(1));
    cell->look("b1");
  }
  EXPECT_THAT(lists_of(c.act("b1")), ElementsAre("boss"));
  EXPECT_THAT(acked.act("b1"), IsEmpty());
  EXPECT_EQ(acknowledged(*next, "ute", "me too", 1).error().code, Errc::conflict);
}

TEST(Alerts, ATestGoesToEveryListAtOnce) {
  Cell c;
  c.rules.lists.push_back({"boss", Severity::critical, 30 * 60'000, false});
  c.apply({{"test-1", 0, test_alert("test-1", "olga", "does it arrive", "a1", c.wall())}});
  EXPECT_THAT(lists_of(c.act("a1")), ElementsAre("boss", "mail", "sms"));
}

TEST(Alerts, OneHeartbeatADayForTheWholeCell) {
  Cell c;
  c.rules.lists.push_back({"daily", Severity::critical, 0, true});
  c.rules.heartbeat_minute = 14 * 60 + 14;  // 40 s from now
  for (const auto* host : {"a1", "b1"}) EXPECT_THAT(c.act(host), IsEmpty());
  c.pass(Mono(40'000));
  std::size_t sent = 0;
  for (int i = 0; i < 100; ++i) {
    for (const auto* host : {"b2", "b1", "a1", "a2"}) sent += c.act(host).size();
    c.pass(Mono(60'000));
  }
  EXPECT_EQ(sent, 1U);
  ASSERT_THAT(c.book, ElementsAre(Key("heartbeat-2026-09-21")));
  EXPECT_EQ(c.book.begin()->second.value.title, "all is well");
  c.view.hosts["b2"].silent = true;
  c.pass(Mono(86'400'000 - 100 * 60'000));
  c.act("a1");
  c.pass(Mono(60'000));
  c.act("a1");
  ASSERT_THAT(c.book, Contains(Key("heartbeat-2026-09-22")));
  EXPECT_THAT(c.book.at("heartbeat-2026-09-22").value.title, testing::HasSubstr("NOT"));
}

TEST(Alerts, AStormIsBundled) {
  Cell c;
  c.rules.lists = {{"sms", Severity::critical, 0, false}};
  c.rules.storm_messages = 5;
  for (int i = 0; i < 30; ++i) c.failover(fmt::format("op-{:02}", i), fmt::format("vm{}", i));
  std::vector<AlertMessage> all;
  for (int i = 0; i < 120; ++i) {
    for (const auto* host : {"a1", "b1"}) {
      for (auto& m : c.act(host)) all.push_back(std::move(m));
    }
    c.pass(Mono(1'000));
  }
  ASSERT_THAT(all, SizeIs(6));
  std::set<std::string> told;
  for (const auto& m : all) {
    for (const auto& a : m.alerts) EXPECT_TRUE(told.insert(a.id).second) << "twice: " << a.id;
  }
  EXPECT_THAT(told, SizeIs(30));
  EXPECT_THAT(all.back().alerts, SizeIs(25));
}

TEST(Alerts, ABundleThatFailedIsTheSameBundleAgain) {
  Cell c;
  c.rules.lists = {{"sms", Severity::critical, 0, false}};
  c.rules.storm_messages = 1;
  for (int i = 0; i < 4; ++i) c.failover(fmt::format("op-{}", i), fmt::format("vm{}", i));
  c.act("b1");
  c.pass(Mono(AlertLimits::gather_ms));
  const auto bundle = c.act("b1", false);
  ASSERT_THAT(bundle, SizeIs(1));
  c.fail("b1", bundle.front().job);
  c.act("b1");
  c.pass(retry_pause(1));
  const auto again = c.act("b1");
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_EQ(again.front().key, bundle.front().key);
  EXPECT_THAT(again.front().alerts, SizeIs(3));
}

TEST(Alerts, OldOnesAreForgottenAndTheirNumberIsLimited) {
  Cell c;
  for (std::size_t i = 0; i < AlertLimits::standing + 5; ++i) {
    Alert a;
    a.id = fmt::format("failover-done-{:04}", i);
    a.kind = AlertKind::failover_done;
    a.created_ms = c.wall() - (i == 2 ? AlertLimits::kept_ms + 1 : 1);
    c.apply({{a.id, 0, a}});
  }
  Alert lasting;
  lasting.id = "host-silent-b2";
  lasting.kind = AlertKind::host_silent;
  lasting.created_ms = 1;
  lasting.reporter = "a1";
  c.view.hosts["b2"].silent = true;
  c.apply({{lasting.id, 0, lasting}});
  EXPECT_THAT(c.look("b1").writes, IsEmpty()) << "the first host forgets for all";
  c.act("a1");
  EXPECT_THAT(c.book, SizeIs(AlertLimits::standing));
  for (const auto* gone : {"failover-done-0000", "failover-done-0002", "failover-done-0005"}) {
    EXPECT_FALSE(c.book.contains(gone)) << gone;
  }
  EXPECT_TRUE(c.book.contains("host-silent-b2")) << "it still lasts";
}

/// Random hosts die, fail, and are slow; the server counts what it has accepted.
TEST(Alerts, EachIsAcceptedOnceUnlessTheSenderDiedBeforeItsMark) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 random(seed);
    const auto one_in = [&](unsigned n) { return random() % n == 0; };
    Cell c;
    c.rules.storm_messages = seed % 3 == 0 ? 3 : 100;
    std::map<std::string, int> accepted;    // by key
    std::map<std::string, int> lost_marks;  // by key: the sender died after the server's word
    std::map<std::string, std::map<AlertJob, AlertMessage>> sending;
    for (int step = 0; step < 900; ++step) {
      if (step < 200 && one_in(25)) c.failover(fmt::format("op-{}", step), "vm1", one_in(2) ? "b1" : "a2");
      for (auto& [id, host] : c.hosts) {
        if (one_in(150)) {  // hostd dies and comes back
          for (const auto& [job, outcome] : host.facts.outcomes) {
            if (outcome.sent) ++lost_marks[fmt::format("{}", sending[id].at(job).key)];
          }
          sending[id].clear();
          host = {};
          host.facts.instance = fmt::format("{}-{}", id, step);
        }
        const auto round = c.look(id);
        for (const auto& job : round.settled) {
          host.facts.outcomes.erase(job);
          sending[id].erase(job);
        }
        for (const auto& w : round.writes) {
          if (!one_in(5)) c.apply(w);  // else it never arrives
        }
        for (const auto& m : round.sends) {
          host.facts.sending.insert(m.job);
          sending[id][m.job] = m;
        }
        for (auto it = host.facts.sending.begin(); it != host.facts.sending.end();) {
          if (!one_in(3)) {
            ++it;
            continue;
          }
          const bool good = step > 500 || !one_in(4);
          if (good) ++accepted[sending[id].at(*it).key];
          host.facts.outcomes[*it] = {good, {}, {}};
          it = host.facts.sending.erase(it);
        }
      }
      c.pass(Mono(1'000));
    }
    for (const auto& [id, a] : c.book) {
      for (const auto& [list, d] : a.value.deliveries) EXPECT_EQ(d.state, DeliveryState::sent) << seed << ' ' << id;
    }
    for (const auto& [key, times] : accepted) {
      EXPECT_LE(times, 1 + lost_marks[key]) << "seed " << seed << ": " << key;
    }
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace bascule::core
