// How a VM fared, as two hosts see and write it; and when they do.
#include "core_history_fixture.hpp"

namespace bascule::core::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(History, OfALostHostEndsAtItsLastSignOfLife) {
  Records r;
  Host a{"a1"};
  Host b{"b1"};
  for (WallMs t = 0; t < 4 * kMinute; t += kSecond) {
    a.look(running());
    b.look(running());
    if (t == kMinute) a.write(r);  // what a1 saw after that is lost with it
    a.pass(kSecond);
    b.pass(kSecond);
  }
  // The host dies; b1 still reads that the guest runs, until it counts a1 as silent.
  const WallMs died = b.clock.wall;
  for (int i = 1; i <= 5; ++i) {
    b.clock.heard = Mono(i * kSecond);
    b.pass(kSecond);
    b.look(running());
  }
  b.clock.heard = Mono(0);
  b.see(silent(), 11 * kSecond);
  b.write(r);
  EXPECT_EQ(r.sum().up_ms, 4 * kMinute);
  EXPECT_EQ(r.sum().unknown_ms, 16 * kSecond);
  HistoryLook taken = running("b1", 4);
  taken.state = HistoryState::down;
  taken.why = OutageWhy::host_lost;
  taken.operation = taken.failover = "op-9";
  taken.both_legs = false;
  b.see(taken, 6 * kSecond);
  HistoryLook up = running("b1", 5);
  up.both_legs = false;
  b.see(up, kMinute);
  b.write(r);
  const HistoryDay s = r.sum();
  EXPECT_EQ(s.up_ms, 5 * kMinute);
  EXPECT_EQ(s.unknown_ms, 0);
  EXPECT_EQ(s.down_ms, 22 * kSecond);
  EXPECT_EQ(s.failovers, 1U);
  EXPECT_THAT(s.outages, ElementsAre(Outage{died, died + 22 * kSecond, OutageWhy::host_lost, "op-9"}));
  EXPECT_EQ(r.days.at("2026-11-28").by, "b1");
}

TEST(History, OfAHostThatWasOnlySilentStaysUnknownAndIsNoOutage) {
  Records r;
  Host b{"b1"};
  b.see(running(), kMinute);
  b.see(silent(), kMinute);
  b.see(running(), kMinute);
  b.write(r);
  EXPECT_EQ(r.sum().up_ms, 2 * kMinute);
  EXPECT_EQ(r.sum().unknown_ms, kMinute);
  EXPECT_THAT(r.sum().outages, IsEmpty());
}

TEST(History, OfTwoWritersCountsAMomentOnce) {
  Records r;
  Host a{"a1"};
  Host b{"b1"};
  b.clock.wall += 700;  // no two clocks are alike
  for (int i = 0; i < 10; ++i) {
    a.see(running(), 7 * kSecond);
    b.see(running(), 7 * kSecond);
    a.write(r);
    b.write(r);
  }
  EXPECT_EQ(r.sum().up_ms, b.clock.wall - r.days.at("2026-11-28").since_ms);
  EXPECT_EQ(r.sum().up_ms, 70 * kSecond + 700);
}

TEST(History, OfARestartedHostdIsWhatTheOtherHostSawOfIt) {
  Records r;
  Host a{"a1"};
  Host b{"b1"};
  a.see(running(), kMinute);
  b.see(running(), kMinute);
  a.write(r);
  a.see(running(), 4 * kMinute);  // not written: it dies with hostd
  b.see(running(), 4 * kMinute);
  Host again{"a1"};
  again.clock = a.clock;
  again.pass(3 * kSecond);
  b.clock.heard = Mono(3 * kSecond);
  b.pass(3 * kSecond);
  b.look(running());
  b.clock.heard = Mono(0);
  HistoryLook fresh = running();
  fresh.instance = "a1-2";
  b.see(fresh, kSecond);
  again.see(fresh, kSecond);
  EXPECT_TRUE(history_due(b.memory, {}, false, {}, b.clock.now, 1))
      << "the other host writes it, though it is not the writer";
  EXPECT_FALSE(history_due(again.memory, {}, true, {}, again.clock.now, 1)) << "and before the one that saw less";
  b.write(r);
  EXPECT_FALSE(history_due(b.memory, {}, false, {}, b.clock.now + Mono(kMinute), 1)) << "once";
  again.see(fresh, kMinute);
  again.write(r);
  EXPECT_EQ(r.sum().up_ms, 6 * kMinute + kSecond);
  EXPECT_EQ(r.sum().unknown_ms, 3 * kSecond);
}

TEST(History, OfBothHostdsRestartedIsUnknownAndNotUp) {
  Records r;
  Host a{"a1"};
  a.see(running(), kMinute);
  a.write(r);
  a.see(running(), 4 * kMinute);
  Host again{"a1"};
  again.clock = a.clock;
  again.see(running(), kMinute);
  again.write(r);
  EXPECT_EQ(r.sum().up_ms, 2 * kMinute);
  EXPECT_EQ(r.sum().unknown_ms, 4 * kMinute);
}

TEST(History, OfAVmThatIsMadeAgainBeginsAnew) {
  Host a{"a1"};
  a.see(running(), kMinute);
  HistoryLook other = running();
  other.incarnation = 77;
  a.see(other, 2 * kSecond);
  ASSERT_THAT(a.memory.spans, SizeIs(1));
  EXPECT_EQ(a.memory.spans[0].from, kTen + kMinute);
}

TEST(HistoryDue, IsCalmAndNeverLate) {
  Host a{"a1"};
  a.see(running(), kMinute);
  HistoryDay written;
  written.state = HistoryState::up;
  written.both_legs = true;
  const Mono now = a.clock.now;
  const auto due = [&](const std::optional<HistoryDay>& newest, std::optional<Mono> wrote, std::size_t vms = 1,
                       bool writer = true) { return history_due(a.memory, newest, writer, wrote, now, vms); };
  EXPECT_TRUE(due({}, {}));
  EXPECT_FALSE(due({}, {}, 1, false)) << "another host's";
  EXPECT_FALSE(due(written, now - Mono(299'000)));
  EXPECT_TRUE(due(written, now - Mono(300'000)));
  EXPECT_FALSE(due(written, now - Mono(300'000), 2000)) << "a large cell goes slower";
  EXPECT_TRUE(due(written, now - Mono(600'000), 2000));
  written.both_legs = false;
  EXPECT_TRUE(due(written, now - Mono(4000))) << "a change of state";
  EXPECT_FALSE(due(written, now - Mono(2000))) << "not many times a second";
  EXPECT_LT(HistoryLimits::pace_per_vm.count() * static_cast<std::int64_t>(Limits::vms), HistoryLimits::remembered_ms);
  EXPECT_LE(HistoryLimits::pace_per_vm.count() * static_cast<std::int64_t>(Limits::vms), HistoryLimits::fresh_ms);
}

TEST(HistoryDue, WaitsALittleAfterAStartButNotForASilentHolder) {
  Host b{"b1"};
  b.see(running(), 10 * kSecond);
  EXPECT_FALSE(history_due(b.memory, {}, true, {}, b.clock.now, 1));
  b.see(silent(), 2 * kSecond);
  EXPECT_TRUE(history_due(b.memory, {}, true, {}, b.clock.now, 1));
}

}  // namespace
}  // namespace bascule::core::test
