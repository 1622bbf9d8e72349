// From the decision to fail over to the operation, and the rule that its first step asks again.
#include "core_ha_fixture.hpp"
#include "hostd/core/plan.hpp"

namespace bascule::core {
namespace {

using test::Cell;
using test::fenced;
using test::operation;
using test::text;

TEST(Failover, BecomesAnOperationThatEndsTheOneWhoseHostIsLost) {
  Cell c;
  operation(c, OpKind::vm_migrate);
  const auto round = ha_round(c.view, c.locals, c.facts, Timing{}, "b1");
  ASSERT_EQ(round.actions.size(), 1U);
  Request request;
  request.verb = round.actions.front().verb;
  request.caller = {Role::host, "b1", {}};
  request.reason = round.actions.front().reason;
  auto made = plan(c.view, request, "b1");
  ASSERT_EQ(text(made), "ok");
  EXPECT_EQ(made->operation.kind, OpKind::vm_failover);
  EXPECT_EQ(made->operation.source_host, "a1");
  EXPECT_EQ(made->operation.target_host, "b1");
  ASSERT_TRUE(made->superseded);
  EXPECT_EQ(made->superseded->value.id, "op-1");
  std::string steps;
  for (const auto& s : made->operation.steps) steps += std::string(to_string(s.kind)) + "@" + s.host + " ";
  EXPECT_EQ(steps, "take-right@b1 promote@b1 start-domain@b1 connect@b1 ");
  // The why record: what every side was seen to say.
  for (const auto* key : {"lost_host", "absent_ms", "power_off_confirmed", "witness", "drbd", "last_word", "record"}) {
    EXPECT_TRUE(made->operation.result.contains(key)) << key;
  }
  // A client's stop came first.
  CellView off = c.view;
  off.vms["vm1"].spec.value.power = Power::off;
  EXPECT_THAT(text(plan(off, request, "b1")), testing::StartsWith("stale:"));
  // Another operation has taken hold since: not that one is ended.
  c.vm().operation.value = "op-2";
  c.view.operations["op-2"] = c.view.operations["op-1"];
  EXPECT_THAT(text(plan(c.view, request, "b1")), testing::StartsWith("stale:"));
}

TEST(Failover, OnAPersonsWordIsRefusedWhileTheHostLives) {
  Cell c;
  Request request;
  request.verb = FailoverVm{"vm1", true, {}, {}, {}};
  request.caller = {Role::operator_, "olga", {}};
  request.reason = "a1 burns";
  auto made = plan(c.view, request, "b1");
  ASSERT_EQ(text(made), "ok");
  EXPECT_EQ(made->operation.result.at("stated_off"), "olga");
  c.vm().right.value.insync["root"] = {test::kLegA};
  EXPECT_THAT(text(plan(c.view, request, "b1")),
              testing::StartsWith("refused: the record does not list the legs on b1"));
  c = Cell();
  c.view.hosts["a1"].silent = false;
  EXPECT_THAT(text(plan(c.view, request, "b1")), testing::StartsWith("conflict: host a1 is alive"));
}

TEST(TakingTheRight, AsksTheSameRuleWithAStatementInPlaceOfTheWait) {
  Cell c;
  c.facts.absent["a1"] = Timing{}.suspect;
  const auto may = [&](bool stated) {
    return text(may_take_over(c.view, c.vm(), c.local(), c.facts, Timing{}, "b1", {.host_is_off = stated}));
  };
  EXPECT_THAT(may(false), testing::StartsWith("conflict: host a1 is silent, but"));
  EXPECT_EQ(may(true), "ok");
  c.facts.absent["a1"] = Mono(0);
  EXPECT_THAT(may(true), testing::StartsWith("conflict: host a1 was stated to be off, but its lease is renewed"));
  c.facts.absent["a1"] = Timing{}.suspect;
  c.local().volumes["root"].disk = "Outdated";
  EXPECT_THAT(may(true), testing::StartsWith("refused: the disk of volume root"));
  c = Cell();
  c.vm().right.value.insync["root"] = {test::kLegA};
  EXPECT_THAT(may(true), testing::StartsWith("refused: the record does not list"));
}

}  // namespace
}  // namespace bascule::core
