// How a VM fared: each way in which a moment could be counted twice, or counted as up though nobody saw it.
#include "core_history_fixture.hpp"

namespace bascule::core::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(History, CountsWhatWasSeen) {
  Records r;
  Host a{"a1"};
  a.see(running(), kMinute);
  a.see(down(), 20 * kSecond);
  a.write(r);
  HistoryLook behind = running();
  behind.both_legs = false;
  behind.resync = true;
  behind.behind_kib = 7;
  a.see(behind, kMinute);
  a.write(r);
  const HistoryDay s = r.sum();
  EXPECT_EQ(s.up_ms, 2 * kMinute);
  EXPECT_EQ(s.down_ms, 20 * kSecond);
  EXPECT_EQ(s.protected_ms, kMinute + 20 * kSecond);
  EXPECT_EQ(s.resync_ms, kMinute);
  const HistoryDay& d = r.days.at("2026-11-28");
  EXPECT_EQ(d.since_ms, kTen);
  ASSERT_THAT(d.behind_kib, SizeIs(24));
  EXPECT_EQ(d.behind_kib[10], 7U);
  EXPECT_EQ(d.behind_kib[11], 0U);
  EXPECT_THAT(d.outages,
              ElementsAre(Outage{kTen + kMinute, kTen + kMinute + 20 * kSecond, OutageWhy::guest_ended, ""}));
}

TEST(History, WithoutEtcdIsUnknownUntilWhatIsFoundAfterwardsTellsMore) {
  struct {
    const char* what;
    HistoryLook after;
    WallMs unknown, lay, off;
  } const table[] = {
      {"the same guest runs", running(), kHour, 0, 0},
      {"another was started", running("a1", 4), 0, kHour, 0},
      {"it was moved, which is no start",
       [] {
         HistoryLook l = running("b1", 4);
         l.move = true;
         return l;
       }(),
       kHour, 0, 0},
      {"none runs", down(), 0, kHour, 0},
      {"it was switched off meanwhile", off(), kHour, 0, 0},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.what);
    Records r;
    Host a{"a1"};
    a.see(running(), kMinute);
    a.write(r);
    a.pass(kHour);  // no look: the view was not up to date
    a.see(row.after, kMinute);
    a.write(r);
    EXPECT_EQ(r.sum().unknown_ms, row.unknown);
    EXPECT_EQ(r.sum().down_ms, row.lay + (row.after.state == HistoryState::down ? kMinute : 0));
    EXPECT_LE(r.sum().up_ms, 2 * kMinute);
    EXPECT_THAT(r.sum().outages, SizeIs(row.lay > 0 ? 1 : 0));
  }
}

TEST(History, OfAVmThatIsSwitchedOnIsNoOutageAndOfOneThatLayIs) {
  Records r;
  Host a{"a1"};
  a.see(off(), kMinute);
  a.see(down(OutageWhy::starting), 5 * kSecond);
  a.write(r);
  a.see(down(OutageWhy::starting), 5 * kSecond);
  a.see(running(), kMinute);
  a.write(r);
  EXPECT_THAT(r.sum().outages, IsEmpty());
  EXPECT_EQ(r.sum().off_ms, kMinute + 10 * kSecond);
  a.see(down(), 5 * kSecond);
  a.see(down(OutageWhy::starting), 5 * kSecond);
  a.see(running(), kMinute);
  a.write(r);
  EXPECT_EQ(r.sum().down_ms, 10 * kSecond);
  EXPECT_THAT(r.sum().outages, SizeIs(1));
}

TEST(History, OfATimeThatNobodySawIsWhatItsTwoEndsShow) {
  for (const auto& [at, state] : {std::pair(down(), HistoryState::down), std::pair(off(), HistoryState::off)}) {
    Records r;
    Host a{"a1"};
    a.see(at, kMinute);
    a.write(r);
    a.pass(kHour);
    a.see(at, kMinute);
    a.write(r);
    const HistoryDay s = r.sum();
    EXPECT_EQ(state == HistoryState::down ? s.down_ms : s.off_ms, kHour + 2 * kMinute);
    EXPECT_THAT(s.outages, SizeIs(state == HistoryState::down ? 1 : 0));
  }
}

TEST(History, OfACellThatWasDownOverNightIsAnOutageOnBothDays) {
  Records r;
  Host a{"a1"};
  a.pass(13 * kHour);
  a.see(running(), kMinute);
  a.write(r);
  Host back{"a1"};
  back.clock = {Mono(5), kMidnight + kHour, Mono(0)};
  back.see(down(), kMinute);
  back.see(running("a1", 4), kMinute);
  back.write(r);
  ASSERT_THAT(r.days, SizeIs(2));
  EXPECT_EQ(r.sum().down_ms, 2 * kHour);
  EXPECT_EQ(r.days.at("2026-11-28").until_ms, kMidnight);
  EXPECT_THAT(r.sum().outages, ElementsAre(Outage{kTen + 13 * kHour + kMinute, kMidnight, OutageWhy::guest_ended, ""},
                                           Outage{kMidnight, kMidnight + kHour + kMinute, OutageWhy::guest_ended, ""}));
}

TEST(History, OfDaysThatNobodySawHasNoRecordInBetween) {
  Records r;
  Host a{"a1"};
  a.see(running(), kMinute);
  a.write(r);
  a.pass(96 * kHour);
  a.see(running(), kMinute);
  a.write(r);
  EXPECT_THAT(r.days, SizeIs(2));
  EXPECT_EQ(r.days.at("2026-12-02").unknown_ms, 0);  // nor is the day's own beginning: whoever reads it knows
  EXPECT_EQ(r.sum().up_ms, 2 * kMinute);
}

TEST(History, GoesOverMidnightInTwoRecords) {
  Records r;
  Host a{"a1"};
  a.pass(14 * kHour - kMinute);
  a.see(down(), 2 * kMinute);
  a.see(running("a1", 4), kMinute);
  a.write(r);
  ASSERT_THAT(r.days, SizeIs(2));
  EXPECT_EQ(r.days.at("2026-11-28").down_ms, kMinute);
  EXPECT_EQ(r.days.at("2026-11-28").until_ms, kMidnight);
  EXPECT_EQ(r.days.at("2026-11-29").since_ms, kMidnight);
  EXPECT_EQ(r.days.at("2026-11-29").up_ms, kMinute);
  EXPECT_THAT(r.days.at("2026-11-29").outages,
              ElementsAre(Outage{kMidnight, kMidnight + kMinute, OutageWhy::guest_ended, ""}));
}

TEST(History, OfAClockThatJumpsCountsOnlyWhatReallyPassed) {
  Records r;
  Host a{"a1"};
  a.see(running(), kMinute);
  a.clock.wall += kHour;  // forward
  a.see(running(), kMinute);
  a.write(r);
  EXPECT_EQ(r.sum().up_ms, 2 * kMinute);
  EXPECT_EQ(r.sum().unknown_ms, kHour);
  a.clock.wall -= 2 * kMinute;  // back by a little: what is counted already is not counted again
  a.see(running(), 5 * kMinute);
  a.write(r);
  EXPECT_EQ(r.sum().up_ms, 5 * kMinute);
  EXPECT_EQ(r.sum().unknown_ms, kHour);
}

TEST(History, OfAClockThatWasYearsAheadGoesOnInTheRightDay) {
  Records r;
  Host a{"a1"};
  a.see(running(), kMinute);
  a.write(r);
  a.clock.wall += 365 * 24 * kHour;
  a.see(running(), kMinute);
  a.write(r);
  a.clock.wall -= 365 * 24 * kHour;
  a.see(running(), kMinute);
  a.write(r);
  EXPECT_THAT(r.days, SizeIs(2));
  EXPECT_EQ(r.days.at("2026-11-28").up_ms, 2 * kMinute);
  EXPECT_EQ(r.days.at("2026-11-28").unknown_ms, kMinute);
}

TEST(History, HasRoomForSoManyOutagesAndCountsTheOthers) {
  Records r;
  Host a{"a1"};
  for (int i = 0; i < 60; ++i) {
    a.see(running(), 3 * kSecond);
    a.see(down(), 2 * kSecond);
    a.write(r);
  }
  const HistoryDay& d = r.days.at("2026-11-28");
  EXPECT_THAT(d.outages, SizeIs(HistoryLimits::outages));
  EXPECT_EQ(d.more_outages, 10U);
  EXPECT_EQ(d.down_ms, 120 * kSecond);
}

TEST(History, RemembersNoMoreThanItMay) {
  Host a{"a1"};
  for (int i = 0; i < 500; ++i) {
    a.see(i % 2 == 0 ? running() : down(), kSecond);
    ASSERT_LE(a.memory.spans.size(), HistoryLimits::spans);
  }
  Host b{"b1"};
  b.see(running(), 5 * kHour);
  for (const auto& s : b.memory.spans) EXPECT_GE(s.to, b.clock.wall - HistoryLimits::remembered_ms);
  EXPECT_LE(b.memory.spans.size(), 2U);
}

TEST(History, FollowsARestartAndItsOperation) {
  Records r;
  Host a{"a1"};
  a.see(running(), kMinute);
  a.see(down(), kSecond);
  HistoryLook again = down();
  again.operation = "op-3";
  a.see(again, 5 * kSecond);
  a.see(running("a1", 4), kSecond);
  a.write(r);
  EXPECT_THAT(r.sum().outages,
              ElementsAre(Outage{kTen + kMinute, kTen + kMinute + 6 * kSecond, OutageWhy::guest_ended, "op-3"}));
}

}  // namespace
}  // namespace bascule::core::test
