// Alerts on their way: claims, retries, escalation, storms, what is forgotten; each once.
#include <random>

#include "core_alert_fixture.hpp"

namespace bascule::core {
namespace {

using Cell = test::AlertCell;
using test::lists_of;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;
using testing::SizeIs;

TEST(AlertsSent, ATryThatFailedIsRepeatedWithGrowingPauses) {
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

TEST(AlertsSent, AnotherHostTriesSoonerThanTheOneThatFailed) {
  Cell c;
  c.failover("op-1");
  for (const auto& m : c.act("b1", false)) c.fail("b1", m.job);
  c.act("a1");
  c.pass(retry_pause(1) / 2);
  EXPECT_THAT(c.act("b1"), IsEmpty());
  EXPECT_THAT(c.act("a1"), SizeIs(2));
}

TEST(AlertsSent, AfterADayNobodyTriesAnyMore) {
  Cell c;
  c.failover("op-1");
  for (const auto& m : c.act("b1", false)) c.fail("b1", m.job);
  c.act("b1");
  c.pass(Mono(AlertLimits::give_up_ms + 1));
  EXPECT_THAT(c.act("b1"), IsEmpty());
}

TEST(AlertsSent, AClaimOfAHostdThatDiedIsTakenOverAndSaysSo) {
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

TEST(AlertsSent, AClaimOfAnotherHostIsTakenOverOnlyWhenItCannotBeSendingAnyMore) {
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

TEST(AlertsSent, AMarkThatComesTooLateChangesNothing) {
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

TEST(AlertsSent, AStateThatComesAgainWaitsForTheMessageOfTheTimeBefore) {
  Cell c;
  c.view.hosts["b2"].silent = true;
  const auto first = c.act("a1", false);
  ASSERT_THAT(first, SizeIs(1));
  c.hosts["a1"].facts.sending = {first.front().job};  // for longer than the state lasts
  c.view.hosts["b2"].silent = false;
  c.act("a1", false);
  c.pass(AlertLimits::calm);
  c.act("a1", false);
  ASSERT_NE(c.book.at("host-silent-b2").value.ended_ms, 0);
  c.view.hosts["b2"].silent = true;
  EXPECT_THAT(c.act("a1", false), IsEmpty());
  c.hosts["a1"].facts.sending.clear();
  c.hosts["a1"].facts.outcomes[first.front().job] = {true, {}, {}};
  EXPECT_THAT(c.act("a1", false), IsEmpty()) << "that one is marked first";
  for (const auto& job : c.look("a1").settled) c.hosts["a1"].facts.outcomes.erase(job);
  const auto again = c.act("a1");
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_NE(again.front().key, first.front().key);
}

TEST(AlertsSent, WhatNobodyAcknowledgesGoesToTheNextList) {
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

TEST(AlertsSent, ATestGoesToEveryListAtOnce) {
  Cell c;
  c.rules.lists.push_back({"boss", Severity::critical, 30 * 60'000, false});
  c.apply({{"test-1", 0, test_alert("test-1", "olga", "does it arrive", "a1", c.wall())}});
  EXPECT_THAT(lists_of(c.act("a1")), ElementsAre("boss", "mail", "sms"));
}

TEST(AlertsSent, OneHeartbeatADayForTheWholeCell) {
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

TEST(AlertsSent, AStormIsBundled) {
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

TEST(AlertsSent, TheNextBundleOfAStormTakesItsTime) {
  Cell c;
  c.rules.lists = {{"sms", Severity::critical, 0, false}};
  c.rules.storm_messages = 1;
  const auto until = [&](Mono time) {
    std::vector<std::size_t> sizes;
    for (; c.now < Mono(1'000'000) + time; c.pass(Mono(10'000))) {
      for (const auto& m : c.act("b1")) sizes.push_back(m.alerts.size());
    }
    return sizes;
  };
  for (int i = 0; i < 3; ++i) c.failover(fmt::format("op-{}", i));
  EXPECT_THAT(until(Mono(60'000)), ElementsAre(1U, 2U));
  for (int i = 3; i < 8; ++i) c.failover(fmt::format("op-{}", i));
  EXPECT_THAT(until(Mono(600'000)), IsEmpty());
  EXPECT_THAT(until(Mono(700'000)), testing::UnorderedElementsAre(1U, 4U))
      << "the window of the first message and the bundle is over";
}

TEST(AlertsSent, ABundleThatFailedIsTheSameBundleAgain) {
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

TEST(AlertsSent, OldOnesAreForgottenAndTheirNumberIsLimited) {
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
TEST(AlertsSent, EachIsAcceptedOnceUnlessTheSenderDiedBeforeItsMark) {
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
