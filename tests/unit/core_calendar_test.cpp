// What is due by a calendar: cold copies and online verifies.
#include "hostd/core/calendar.hpp"

#include <functional>

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/ha.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::kLegA;
using test::text;

constexpr WallMs kMinute = 60'000;
constexpr WallMs kDay = 24 * 60 * kMinute;

TEST(Calendar, ReadsTimesOfTheDayAndNothingElse) {
  EXPECT_EQ(minute_of_day("00:00"), 0);
  EXPECT_EQ(minute_of_day("23:59"), 1439);
  for (const char* bad : {"", "24:00", "12:60", "1:30", "12-30", "ab:cd", "12:3", "12:300", " 1:30"}) {
    EXPECT_FALSE(minute_of_day(bad)) << bad;
  }
}

TEST(Calendar, ACopyIsDueOncePerTime) {
  const std::vector<std::string> at{"02:30", "14:30"};
  const WallMs day = 20'000 * kDay;
  const LastCare at_three{day + 180 * kMinute, true, "", "op"};
  EXPECT_TRUE(copy_due(at, nullptr, day)) << "none was ever made";
  EXPECT_FALSE(copy_due(at, &at_three, day + 181 * kMinute));
  EXPECT_FALSE(copy_due(at, &at_three, day + 869 * kMinute));
  EXPECT_TRUE(copy_due(at, &at_three, day + 870 * kMinute)) << "14:30";
  EXPECT_TRUE(copy_due(at, &at_three, day + 4 * kDay)) << "after a long absence once, not eight times";
  const LastCare failed{day, false, "the link", "op"};
  EXPECT_FALSE(copy_due(at, &failed, day + kCopyRetryMs));
  EXPECT_TRUE(copy_due(at, &failed, day + kCopyRetryMs + 1));
}

TEST(Calendar, AVerifyIsBegunAtNightOncePerSoManyDays) {
  const VerifyCalendar weekly{"23:00", 4, 7};
  const WallMs night = 20'000 * kDay + 23 * 60 * kMinute;
  EXPECT_TRUE(verify_due(weekly, nullptr, night)) << "it never was";
  EXPECT_TRUE(verify_due(weekly, nullptr, night + 239 * kMinute)) << "past midnight";
  EXPECT_FALSE(verify_due(weekly, nullptr, night - 1));
  EXPECT_FALSE(verify_due(weekly, nullptr, night + 240 * kMinute));
  EXPECT_FALSE(verify_due({}, nullptr, night)) << "no calendar";
  const LastCare good{night + 60 * kMinute, true, "", "op"};
  const LastCare bad{night + 60 * kMinute, false, "4 KiB", "op"};
  EXPECT_FALSE(verify_due(weekly, &good, night + 61 * kMinute));
  EXPECT_FALSE(verify_due(weekly, &good, night + 6 * kDay)) << "a day too early";
  EXPECT_TRUE(verify_due(weekly, &good, night + 7 * kDay))
      << "the same night of the next week, also a little earlier in it";
  EXPECT_FALSE(verify_due(weekly, &bad, night + 61 * kMinute));
  EXPECT_TRUE(verify_due(weekly, &bad, night + kDay)) << "looked at again in the next night";
}

/// vm1 and vm2 run on a1 in sync, and it is night.
struct Night {
  CellView view = test::cell();
  std::map<std::string, LocalVm> locals;
  HaFacts facts;

  Night() {
    facts.renewed = true;
    facts.up_for = Mono(3'600'000);
    facts.wall = 20'000 * kDay + 90 * kMinute;
    facts.verify.at = "01:00";
    LocalVm& a = locals["vm1"];
    a.up = true;
    a.role = "Primary";
    a.connection = "Connected";
    a.domain = DomainState::running;
    a.volumes["root"] = {"UpToDate", "UpToDate", "Established", 0};
  }
  /// What the holder asks for: volume names, each with its VM.
  std::string asked(const std::string& self = "a1") {
    std::string said;
    for (const auto& action : ha_round(view, locals, facts, Timing{}, self).actions) {
      const auto* verify = std::get_if<VerifyVolume>(&action.verb);
      said += verify == nullptr ? action.reason : verify->vm + "/" + verify->volume + " ";
    }
    return said;
  }
  VmView& vm() { return view.vms["vm1"]; }
};

TEST(Calendar, TheHolderAsksForAVerifyOfWhatIsInSync) {
  EXPECT_EQ(Night().asked(), "vm1/root ");
  EXPECT_EQ(Night().asked("b1"), "") << "not the other host";
  const struct {
    const char* name;
    std::function<void(Night&)> change;
  } not_now[] = {
      {"no calendar", [](Night& n) { n.facts.verify.at.clear(); }},
      {"it was", [](Night& n) { n.vm().last["volume-verify.root"] = {n.facts.wall - 1, true, "", "op-1"}; }},
      {"the link is away", [](Night& n) { n.locals["vm1"].connection = "Connecting"; }},
      {"not in sync", [](Night& n) { n.vm().right.value.insync["root"] = {kLegA}; }},
      {"the other host is silent", [](Night& n) { n.view.hosts["b1"].silent = true; }},
      {"a cold copy", [](Night& n) { n.vm().spec.value.protection = Protection::backup; }},
      {"one is at work already",
       [](Night& n) {
         auto& op = n.view.operations["op-9"].value;
         op.kind = OpKind::volume_verify;
         op.state = OpState::running;
         op.author.name = "a1";
       }},
  };
  for (const auto& row : not_now) {
    Night night;
    row.change(night);
    EXPECT_EQ(night.asked().find("vm1/root"), std::string::npos) << row.name << ": " << night.asked();
  }
}

TEST(Calendar, AHostMayAskForAVerify) {
  auto request = ask(VerifyVolume{"vm1", "root"});
  request.caller = {Role::host, "a1", ""};
  EXPECT_EQ(text(plan(test::cell(), request, "a1")), "ok");
}

}  // namespace
}  // namespace bascule::core
