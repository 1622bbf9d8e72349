// Alerts: what asks for one, when it is told, and when it is over.
#include "hostd/core/alert.hpp"

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
using testing::UnorderedElementsAre;

TEST(Alerts, EveryWordIsReadBack) {
  for (int i = 0; i <= static_cast<int>(AlertKind::certificate_expiring); ++i) {
    const auto kind = static_cast<AlertKind>(i);
    EXPECT_EQ(parse_alert_kind(to_string(kind)), kind) << i;
  }
  for (const auto s : {Severity::info, Severity::warning, Severity::critical})
    EXPECT_EQ(parse_severity(to_string(s)), s);
  for (const auto d : {DeliveryState::claimed, DeliveryState::failed, DeliveryState::sent}) {
    EXPECT_EQ(parse_delivery_state(to_string(d)), d);
  }
  EXPECT_FALSE(parse_alert_kind("unknown") || parse_severity("") || parse_delivery_state("gone"));
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

}  // namespace
}  // namespace bascule::core
