// Who is started where, and when: one line per state of the cell, from the point of view of one host.
#include "hostd/core/ha.hpp"

#include <functional>

#include "core_ha_fixture.hpp"

namespace bascule::core {
namespace {

using test::Cell;
using test::fenced;
using test::kTakeover;
using test::operation;

std::string said(const HaAction& a) {
  switch (a.kind) {
    case HaAction::Kind::settle: return "settle";
    case HaAction::Kind::fence: return "fence " + a.host;
    case HaAction::Kind::submit: break;
  }
  if (std::holds_alternative<FailoverVm>(a.verb)) return "failover";
  if (const auto* r = std::get_if<RestartVm>(&a.verb)) return r->elsewhere ? "restart elsewhere" : "restart";
  if (std::holds_alternative<MigrateVm>(a.verb)) return "migrate";
  return "?";
}

/// The first action, or "wait: why", or "nothing".
std::string verdict(const Cell& c) {
  const auto round = ha_round(c.view, c.locals, c.facts, Timing{}, c.self);
  if (!round.actions.empty()) return said(round.actions.front());
  const auto wait = round.waits.find("vm1");
  return wait == round.waits.end() ? "nothing" : "wait: " + wait->second;
}

struct Row {
  const char* name;
  std::function<void(Cell&)> change;
  const char* verdict;  ///< its beginning
};

TEST(TheOtherSide, OneLinePerState) {
  const Row table[] = {
      {"the whole takeover time has passed", [](Cell&) {}, "failover"},
      {"one ms is missing", [](Cell& c) { c.facts.absent["a1"] = kTakeover - Mono(1); },
       "wait: host a1 is silent, but not yet for 17000 ms"},
      {"alive", [](Cell& c) { c.view.hosts["a1"].silent = false; }, "nothing"},
      {"alive, whatever was timed",
       [](Cell& c) { c.view.hosts["a1"].silent = false, c.facts.absent["a1"] = Mono(99'999); }, "nothing"},
      {"never timed", [](Cell& c) { c.facts.absent.clear(); }, "wait: host a1 is silent, but not yet"},
      {"this host is cut off itself", [](Cell& c) { c.facts.renewed = false; }, "nothing"},
      {"this host does not see etcd", [](Cell& c) { c.view.synced = false; }, "nothing"},
      {"the record is of the past", [](Cell& c) { c.facts.distrusted["vm1"] = "etcd has gone back"; },
       "wait: etcd has gone back"},
      {"should be off", [](Cell& c) { c.vm().spec.value.power = Power::off; }, "nothing"},
      {"a person starts it", [](Cell& c) { c.vm().spec.value.protection = Protection::mirror; },
       "wait: its protection is 'mirror'"},
      {"disarmed", [](Cell& c) { c.view.disarmed = {{"olga", "network work", 1}, 5, 5}; },
       "wait: failover is disarmed by olga"},
      {"the record does not list this leg", [](Cell& c) { c.vm().right.value.insync["root"] = {test::kLegA}; },
       "wait: the record does not list the legs on b1"},
      {"the record lists a leg of another making", [](Cell& c) { c.vm().right.value.insync["root"] = {{"b1", "old"}}; },
       "wait: the record does not list the legs on b1"},
      {"DRBD is connected to a primary: it lives",
       [](Cell& c) {
         c.local().connection = "Connected";
         c.local().peer_role = "Primary";
       },
       "wait: DRBD is connected to a1 and primary there"},
      {"connected to a secondary: its guest has ended there",
       [](Cell& c) {
         c.local().connection = "Connected";
         c.local().peer_role = "Secondary";
       },
       "failover"},
      {"after a reboot the disk reads Consistent", [](Cell& c) { c.local().volumes["root"].disk = "Consistent"; },
       "failover"},
      {"Outdated", [](Cell& c) { c.local().volumes["root"].disk = "Outdated"; },
       "wait: the disk of volume root on b1 is Outdated"},
      {"Inconsistent", [](Cell& c) { c.local().volumes["root"].disk = "Inconsistent"; }, "wait: the disk of"},
      {"not attached", [](Cell& c) { c.local().volumes.clear(); },
       "wait: the disk of volume root on b1 is not attached"},
      {"no memory", [](Cell& c) { c.view.hosts["b1"].info.value.memory_mib = 255; },
       "wait: host b1 has 255 MiB of memory free, the VM needs 256"},
      {"in maintenance", [](Cell& c) { c.view.hosts["b1"].maintenance = {{"olga", "disks", 1}, 5, 5}; },
       "wait: host b1 is in maintenance"},
      {"this host is being switched off",
       [](Cell& c) { c.view.hosts["b1"].fence = {{"a1", "x", "", false, {}}, 5, 5}; },
       "wait: this host is being switched off itself"},
      {"a migration was at work", [](Cell& c) { operation(c, OpKind::vm_migrate); }, "failover"},
      {"a creation is half made", [](Cell& c) { operation(c, OpKind::vm_create); },
       "wait: operation op-1 (vm-create) holds it"},
      {"a removal is half made", [](Cell& c) { operation(c, OpKind::vm_remove); }, "wait: operation op-1"},
      {"a failover is at work already", [](Cell& c) { operation(c, OpKind::vm_failover); }, "nothing"},
      {"something of ours is still at work on it", [](Cell& c) { c.facts.busy = {"vm1"}; }, "nothing"},
      {"many are starting", [](Cell& c) { c.facts.starting = HaLimits::parallel_starts; },
       "wait: others are started first"},
      {"its power is confirmed off", [](Cell& c) { fenced(c, true), c.facts.absent["a1"] = Mono(2000); }, "failover"},
      {"confirmed off, though DRBD has not noticed",
       [](Cell& c) {
         fenced(c, true);
         c.facts.absent["a1"] = Mono(2000);
         c.local().connection = "Connected";
         c.local().peer_role = "Primary";
       },
       "failover"},
      {"it did not guard when it was last heard", [](Cell& c) { c.view.hosts["a1"].lease.value.guarding = false; },
       "wait: failover was disarmed when host a1 was last heard"},
      {"it did not guard, and is off",
       [](Cell& c) { c.view.hosts["a1"].lease.value.guarding = false, fenced(c, true); }, "failover"},
      {"asked, not confirmed", [](Cell& c) { fenced(c, false), c.facts.absent["a1"] = Mono(5000); },
       "wait: host a1 is silent"},
      {"confirmed off, and booted since",
       [](Cell& c) { fenced(c, true, "boot-before"), c.facts.absent["a1"] = Mono(5000); },
       "wait: host a1 is silent, but not yet"},
  };
  for (const auto& row : table) {
    Cell c;
    row.change(c);
    EXPECT_THAT(verdict(c), testing::StartsWith(row.verdict)) << row.name;
  }
}

/// a1 itself, with the right, back or still there; its guest is gone.
Cell at_home() {
  Cell c;
  c.self = "a1";
  c.view.hosts["a1"].silent = false;
  c.facts.absent = {{"b1", Mono(100)}};
  c.local().connection = "Connected";
  c.local().peer_role = "Secondary";
  c.vm().status["b1"].role = "Secondary";
  return c;
}

TEST(TheOwnSide, OneLinePerState) {
  const Row table[] = {
      {"the guest is gone", [](Cell&) {}, "restart"},
      {"it runs", [](Cell& c) { c.local().domain = DomainState::running; }, "nothing"},
      {"it stands paused", [](Cell& c) { c.local().domain = DomainState::paused; }, "nothing"},
      {"the record is of the past", [](Cell& c) { c.facts.distrusted["vm1"] = "etcd has gone back"; },
       "wait: etcd has gone back"},
      {"libvirt is not heard", [](Cell& c) { c.local().domain = DomainState::unknown; }, "nothing"},
      {"should be off", [](Cell& c) { c.vm().spec.value.power = Power::off; }, "nothing"},
      {"an operation is at work", [](Cell& c) { operation(c, OpKind::vm_start); }, "nothing"},
      {"the guest switched itself off", [](Cell& c) { c.local().reason = DomainReason::guest_shutdown; },
       "wait: the guest switched itself off"},
      {"three times in a row: the other side", [](Cell& c) { c.vm().right.value.restarts = 3; }, "restart elsewhere"},
      {"three times, and nobody there",
       [](Cell& c) { c.vm().right.value.restarts = 3, c.view.hosts["b1"].silent = true; }, "restart"},
      {"three times, the other leg is old",
       [](Cell& c) {
         c.vm().right.value.restarts = 3;
         c.vm().right.value.insync["root"] = {test::kLegA};
       },
       "restart"},
      {"six times: a person", [](Cell& c) { c.vm().right.value.restarts = 6; },
       "wait: its guest ended by itself 6 times"},
      {"its own leg is not in sync", [](Cell& c) { c.vm().right.value.insync["root"] = {test::kLegB}; },
       "restart elsewhere"},
      {"its own leg is not in sync and nobody there",
       [](Cell& c) {
         c.vm().right.value.insync["root"] = {test::kLegB};
         c.view.hosts["b1"].silent = true;
       },
       "wait: the record does not list its legs on a1"},
      {"its own leg has lost its disk before", [](Cell& c) { c.facts.unfit["vm1"] = "its leg failed"; },
       "restart elsewhere"},
      {"its own leg has lost its disk before and nobody there",
       [](Cell& c) { c.facts.unfit["vm1"] = "its leg failed", c.view.hosts["b1"].silent = true; },
       "wait: its leg failed; b1 cannot take it now"},
      {"just booted, the other leg not heard",
       [](Cell& c) {
         c.local().connection = "Connecting";
         c.facts.up_for = Mono(9'999);
       },
       "wait: this host has just come up"},
      {"booted ten seconds ago",
       [](Cell& c) {
         c.local().connection = "Connecting";
         c.facts.up_for = Mono(10'000);
       },
       "restart"},
      {"just booted, the record lists this side alone",
       [](Cell& c) {
         c.local().connection = "Connecting";
         c.facts.up_for = Mono(0);
         c.vm().right.value.insync["root"] = {test::kLegA};
       },
       "restart"},
      {"a mark is left, the target has no copy", [](Cell& c) { c.vm().right.value.migrating_to = "b1"; }, "settle"},
      {"a mark is left, the target has a copy",
       [](Cell& c) {
         c.vm().right.value.migrating_to = "b1";
         c.vm().status["b1"].domain = DomainState::paused;
       },
       "wait: a migration to b1 is marked"},
      {"a mark is left, the target is silent",
       [](Cell& c) {
         c.vm().right.value.migrating_to = "b1";
         c.view.hosts["b1"].silent = true;
         c.facts.absent["b1"] = kTakeover - Mono(1);
       },
       "wait: a migration to b1 is marked"},
      {"a mark is left, the target is dead",
       [](Cell& c) {
         c.vm().right.value.migrating_to = "b1";
         c.view.hosts["b1"].silent = true;
         c.facts.absent["b1"] = kTakeover;
       },
       "settle"},
      {"maintenance: it leaves",
       [](Cell& c) {
         c.local().domain = DomainState::running;
         c.view.hosts["a1"].maintenance = {{"olga", "disks", 1}, 5, 5};
       },
       "migrate"},
      {"maintenance: one at a time",
       [](Cell& c) {
         c.local().domain = DomainState::running;
         c.view.hosts["a1"].maintenance = {{"olga", "disks", 1}, 5, 5};
         auto& op = c.view.operations["op-9"].value;
         op.kind = OpKind::vm_migrate;
         op.source_host = "a1";
       },
       "nothing"},
      {"maintenance: nobody to take it",
       [](Cell& c) {
         c.local().domain = DomainState::running;
         c.view.hosts["a1"].maintenance = {{"olga", "disks", 1}, 5, 5};
         c.view.hosts["b1"].silent = true;
       },
       "wait: host a1 is in maintenance, but b1 cannot"},
      {"maintenance of the other: it stays",
       [](Cell& c) {
         c.local().domain = DomainState::running;
         c.view.hosts["b1"].maintenance = {{"olga", "disks", 1}, 5, 5};
       },
       "nothing"},
      {"it has run steadily since",
       [](Cell& c) {
         c.local().domain = DomainState::running;
         c.vm().right.value.restarts = 2;
         c.facts.steady["vm1"] = HaLimits::steady_after;
       },
       "settle"},
      {"not yet steady",
       [](Cell& c) {
         c.local().domain = DomainState::running;
         c.vm().right.value.restarts = 2;
         c.facts.steady["vm1"] = HaLimits::steady_after - Mono(1);
       },
       "nothing"},
  };
  for (const auto& row : table) {
    Cell c = at_home();
    row.change(c);
    EXPECT_THAT(verdict(c), testing::StartsWith(row.verdict)) << row.name;
  }
}

TEST(AHostThatIsSilent, IsSwitchedOffOnceWhenThatHelpsAndNeverInAStorm) {
  const Row table[] = {
      {"before it is suspect", [](Cell& c) { c.facts.absent["a1"] = Timing{}.suspect - Mono(1); },
       "wait: host a1 is silent"},
      {"suspect", [](Cell& c) { c.facts.absent["a1"] = Timing{}.suspect; }, "fence a1"},
      {"no switch", [](Cell& c) { c.facts.absent["a1"] = Timing{}.suspect, c.facts.can_fence.clear(); },
       "wait: host a1"},
      {"asked already", [](Cell& c) { c.facts.absent["a1"] = Timing{}.suspect, fenced(c, false); }, "wait: host a1"},
      {"one was switched off lately",
       [](Cell& c) {
         c.facts.absent["a1"] = Timing{}.suspect;
         c.facts.fenced_lately = HaLimits::fences;
       },
       "wait: host a1"},
      {"it lives by DRBD's word",
       [](Cell& c) {
         c.facts.absent["a1"] = Timing{}.suspect;
         c.local().connection = "Connected";
         c.local().peer_role = "Primary";
       },
       "wait: DRBD is connected"},
      {"nothing would be taken over",
       [](Cell& c) {
         c.facts.absent["a1"] = Timing{}.suspect;
         c.vm().spec.value.protection = Protection::mirror;
       },
       "wait: its protection"},
      {"this host sees nobody", [](Cell& c) { c.facts.absent["a1"] = Timing{}.suspect, c.facts.renewed = false; },
       "nothing"},
      {"the wait is over anyway", [](Cell&) {}, "failover"},
  };
  for (const auto& row : table) {
    Cell c;
    c.facts.can_fence = {"a1"};
    row.change(c);
    EXPECT_THAT(verdict(c), testing::StartsWith(row.verdict)) << row.name;
  }
}

TEST(ARound, StartsTheMostImportantFirstAndNoMoreThanTheCap) {
  Cell c;
  c.view.hosts["b1"].info.value.memory_mib = 100'000;
  const auto first = c.vm();
  const auto local = c.local();
  for (int i = 0; i < 6; ++i) {
    const std::string name = "w" + std::to_string(i);
    c.view.vms[name] = first;
    c.view.vms[name].spec.value.name = name;
    c.view.vms[name].spec.value.priority = i == 4 ? 900 : 100;
    c.locals[name] = local;
  }
  const auto round = ha_round(c.view, c.locals, c.facts, Timing{}, "b1");
  std::vector<std::string> order;
  for (const auto& a : round.actions) order.push_back(a.vm);
  EXPECT_EQ(order, (std::vector<std::string>{"w4", "vm1", "w0", "w1"}));
  EXPECT_EQ(round.waits.size(), 3U);
}

}  // namespace
}  // namespace bascule::core
