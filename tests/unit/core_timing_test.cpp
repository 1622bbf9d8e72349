// S8: the sums of failover's times, and what is refused.
#include "hostd/core/timing.hpp"

#include <functional>

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using test::text;

TEST(Timing, BothProfilesHold) {
  for (const auto* name : {"standard", "fast"}) {
    const auto profile = timing_profile(name);
    ASSERT_TRUE(profile) << name;
    EXPECT_EQ(text(check(*profile)), "ok") << name;
  }
  EXPECT_FALSE(timing_profile("Fast"));
  EXPECT_FALSE(timing_profile(""));
}

TEST(Timing, TheSumIsThatOfTheDesign) {
  // (3 + 10 + 2) x 1.01 / 0.99 = 15.30 s; (1 + 4 + 2) x 1.01 / 0.99 = 7.14 s; rounded up, never down.
  EXPECT_EQ(least_takeover(Timing{}), Mono(15304));
  EXPECT_EQ(least_takeover(*timing_profile("fast")), Mono(7142));
  Timing twice;
  twice.watchdog_counts_twice = true;
  EXPECT_EQ(least_takeover(twice), Mono(25506));
  EXPECT_EQ(stop_after_pet(Timing{}), Mono(9000));
}

TEST(Timing, AnUnsafeSetIsRefusedWithItsSum) {
  struct Row {
    const char* name;
    std::function<void(Timing&)> change;
    const char* part;  ///< of the sentence; "ok": accepted
  };
  const Row table[] = {
      {"takeover one below", [](Timing& t) { t.takeover = Mono(15303); }, "= 15304 ms: the other host could still run"},
      {"takeover exact", [](Timing& t) { t.takeover = Mono(15304); }, "ok"},
      {"closing pets once more", [](Timing& t) { t.watchdog_counts_twice = true; }, "2 x 10000"},
      {"no reset time", [](Timing& t) { t.reset_time = Mono(1999); }, "reset_time is below 2000 ms"},
      {"renewals too rare", [](Timing& t) { t.renew = Mono(3000); }, "renew (3000 ms) is not below renew_timeout"},
      {"slow election", [](Timing& t) { t.etcd_election = Mono(3900); },
       "the loss of etcd's leader would stop healthy VMs"},
      {"election just fits", [](Timing& t) { t.etcd_election = Mono(3899); }, "ok"},
      {"late DRBD", [](Timing& t) { t.drbd_ping = Mono(16000); }, "a dead peer would still look alive to DRBD"},
      {"suspects the healthy", [](Timing& t) { t.suspect = Mono(3000); }, "suspect (3000 ms) is not between"},
      {"suspects too late", [](Timing& t) { t.suspect = Mono(16001); }, "suspect (16001 ms) is not between"},
      {"zero", [](Timing& t) { t.renew = Mono(0); }, "renew is 0 ms"},
      {"endless", [](Timing& t) { t.takeover = Mono(600001); }, "takeover is 600001 ms"},
      {"hold", [](Timing& t) { t.hold = Mono(60001); }, "hold is outside"},
      {"verifications", [](Timing& t) { t.verifications = -1; }, "verifications is outside"},
  };
  for (const auto& row : table) {
    Timing t;
    row.change(t);
    EXPECT_THAT(text(check(t)), testing::HasSubstr(row.part)) << row.name;
  }
}

TEST(Timing, IsDescribedWithItsNumbers) {
  const auto said = describe(Timing{});
  for (const auto* part :
       {"takeover 16000 ms >=", "= 15304 ms", "9000 ms > renew 1000", "begin to start elsewhere 17000 ms"}) {
    EXPECT_THAT(said, testing::HasSubstr(part));
  }
}

}  // namespace
}  // namespace bascule::core
