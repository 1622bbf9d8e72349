// What waits for a second operator, how long, and when what he was asked is not true any more.
#include "hostd/core/four_eyes.hpp"

#include "core_ha_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/engine.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::Cell;
using test::text;
using testing::StartsWith;

Request with(Verb verb, std::vector<std::string> verbs) {
  Request r = ask(std::move(verb));
  r.four_eyes = {std::move(verbs), 30};
  return r;
}
std::string first_step(const Result<Plan>& plan) {
  if (!plan) return text(plan);
  return plan->operation.steps.empty() ? "at once" : std::string(to_string(plan->operation.steps.front().kind));
}
/// vm1 stands still on both hosts.
CellView off() {
  CellView view = test::cell();
  view.vms["vm1"].spec.value.power = Power::off;
  for (auto& [host, status] : view.vms["vm1"].status) status.domain = DomainState::absent;
  return view;
}
/// a1, which holds vm1, is silent, and the record does not list b1's legs.
Cell lost(bool listed) {
  Cell c;
  if (!listed) c.vm().right.value.insync["root"] = {test::kLegA};
  return c;
}

TEST(FourEyes, OnlyWhatIsNamedWaits) {
  struct {
    CellView view;
    Verb verb;
    const char* word;
    const char* otherwise;
  } const table[] = {
      {off(), RemoveVm{"vm1"}, "vm-remove", "drop-right"},
      {test::cell(), SetArmed{false}, "ha-disarm", "at once"},
      {lost(false).view, FailoverVm{"vm1", true, "a1", {}, {}}, "failover-sacrifice", "take-right"},
      {lost(false).view, FailoverVm{"vm1", true, "a1", {}, {}}, "failover-host-is-off", "take-right"},
      {lost(true).view, FailoverVm{"vm1", true, {}, {}, {}}, "failover-host-is-off", "take-right"},
  };
  for (const auto& row : table) {
    EXPECT_EQ(first_step(plan(row.view, ask(row.verb), "b1")), row.otherwise) << row.word;
    EXPECT_EQ(first_step(plan(row.view, with(row.verb, {row.word}), "b1")), "await-approval") << row.word;
    std::vector<std::string> others(std::begin(kFourEyesVerbs), std::end(kFourEyesVerbs));
    std::erase(others, row.word);
    const bool both = std::holds_alternative<FailoverVm>(row.verb) && !std::get<FailoverVm>(row.verb).sacrifice.empty();
    EXPECT_EQ(first_step(plan(row.view, with(row.verb, others), "b1")), both ? "await-approval" : row.otherwise)
        << row.word;
  }
}

TEST(FourEyes, WhatDestroysNothingNeverWaits) {
  const std::vector<std::string> all(std::begin(kFourEyesVerbs), std::end(kFourEyesVerbs));
  EXPECT_EQ(first_step(plan(lost(true).view, with(FailoverVm{"vm1", false, {}, {}, {}}, all), "b1")), "take-right");
  EXPECT_EQ(first_step(plan(test::cell(), with(ResetVm{"vm1"}, all), "a1")), "reset");
  CellView disarmed = test::cell();
  disarmed.disarmed = {{"olga", "work", 1}, 5, 5};
  EXPECT_EQ(first_step(plan(disarmed, with(SetArmed{true}, all), "a1")), "at once");
  const auto again = plan(disarmed, with(SetArmed{false}, all), "a1");
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->unchanged) << "nobody is asked for what is so already";
  EXPECT_TRUE(again->operation.steps.empty());
}

TEST(FourEyes, AHostNeverWaits) {
  Cell c = lost(true);
  Request r = with(FailoverVm{"vm1", true, {}, {}, {}}, {"failover-host-is-off"});
  r.caller = {Role::host, "b1", {}};
  EXPECT_EQ(first_step(plan(c.view, r, "b1")), "take-right");
}

TEST(FourEyes, DisarmingHappensAsItEndsAndNotBefore) {
  const auto p = plan(test::cell(), with(SetArmed{false}, {"ha-disarm"}), "b1");
  ASSERT_TRUE(p);
  EXPECT_FALSE(p->armed);
  EXPECT_EQ(test::steps(*p), "await-approval@b1");
  Operation op = p->operation;
  op.author = {"olga", "operator", ""};
  EXPECT_EQ(with_approval(op, {"olga", "operator", ""}).error().code, Errc::forbidden);
  EXPECT_TRUE(with_approval(op, {"paul", "operator", ""}));
  op.state = OpState::undone;
  EXPECT_FALSE(finish_effects(op).disarm);
  op.state = OpState::done;
  EXPECT_TRUE(finish_effects(op).disarm);
  EXPECT_FALSE(finish_effects(plan(test::cell(), ask(SetArmed{false}), "b1")->operation).disarm)
      << "done in its request";
}

TEST(FourEyes, ItWaitsForAsLongAsTheConfigurationSays) {
  const auto p = plan(off(), with(RemoveVm{"vm1"}, {"vm-remove"}), "a1");
  ASSERT_TRUE(p);
  EXPECT_EQ(approval_time(p->operation, 5), 30 * 60'000);
  EXPECT_EQ(approval_time(Operation{}, 5), 5);
}

TEST(FourEyes, AHostThatWasHeardMeanwhileIsNotWhatTheFirstPersonSpokeOf) {
  Cell c = lost(true);
  const auto p = plan(c.view, with(FailoverVm{"vm1", true, {}, {}, {}}, {"failover-host-is-off"}), "b1");
  ASSERT_TRUE(p);
  EXPECT_EQ(approval_is_void(c.view, p->operation), "");
  ++c.view.hosts["a1"].lease.revision;
  EXPECT_THAT(approval_is_void(c.view, p->operation), StartsWith("host a1 has renewed its lease"));
  EXPECT_EQ(approval_is_void(c.view, plan(off(), with(RemoveVm{"vm1"}, {"vm-remove"}), "a1")->operation), "");
}

TEST(FourEyes, TheWordsAreKnown) {
  for (const auto word : kFourEyesVerbs) EXPECT_TRUE(four_eyes_verb(word));
  EXPECT_FALSE(four_eyes_verb("vm-start"));
  EXPECT_FALSE(four_eyes_verb(""));
}

}  // namespace
}  // namespace bascule::core
