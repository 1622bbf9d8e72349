// What a host makes of a VM, and what people are told of many days.
#include <functional>

#include "core_fixture.hpp"
#include "hostd/core/history.hpp"

namespace bascule::core::test {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

constexpr WallMs kHour = 3'600'000;
constexpr WallMs kDay = 24 * kHour;
constexpr WallMs kNoon = 1'795'867'200'000;  // 2026-11-28 12:00 UTC
constexpr WallMs kToday = kNoon - 12 * kHour;

/// At work on vm1.
void busy(CellView& view, OpKind kind) {
  Operation op;
  op.id = "op-1";
  op.kind = kind;
  op.vm = "vm1";
  view.operations["op-1"] = {op, 50, 50};
  view.vms["vm1"].operation = {"op-1", 50, 50};
}

TEST(HistoryLook, SaysHowAVmIs) {
  struct {
    const char* what;
    std::function<void(CellView&, VmView&)> set;
    HistoryState state;
    OutageWhy why;
  } const table[] = {
      {"it runs", [](auto&, auto&) {}, HistoryState::up, {}},
      {"it should not run", [](auto&, VmView& vm) { vm = stopped_vm(); }, HistoryState::off, {}},
      {"it is shut down and still runs",
       [](auto&, VmView& vm) { vm.spec.value.power = Power::off; },
       HistoryState::off,
       {}},
      {"the guest shuts down by itself",
       [](auto&, VmView& vm) { vm.status["a1"].domain = DomainState::shutting_down; },
       HistoryState::up,
       {}},
      {"no guest", [](auto&, VmView& vm) { vm.status["a1"].domain = DomainState::absent; }, HistoryState::down,
       OutageWhy::guest_ended},
      {"it crashed", [](auto&, VmView& vm) { vm.status["a1"].domain = DomainState::crashed; }, HistoryState::down,
       OutageWhy::guest_ended},
      {"paused", [](auto&, VmView& vm) { vm.status["a1"].domain = DomainState::paused; }, HistoryState::down,
       OutageWhy::paused},
      {"frozen", [](auto&, VmView& vm) { vm.status["a1"].suspended = "fencing"; }, HistoryState::down,
       OutageWhy::frozen},
      {"libvirt is away",
       [](auto&, VmView& vm) { vm.status["a1"].domain = DomainState::unknown; },
       HistoryState::unknown,
       {}},
      {"its host has not told yet", [](auto&, VmView& vm) { vm.status.clear(); }, HistoryState::unknown, {}},
      {"its host is silent", [](CellView& c, auto&) { c.hosts["a1"].silent = true; }, HistoryState::unknown,
       OutageWhy::host_lost},
      {"its host is silent, and it should not run",
       [](CellView& c, VmView& vm) {
         c.hosts["a1"].silent = true;
         vm.spec.value.power = Power::off;
       },
       HistoryState::off, OutageWhy::host_lost},
      {"it is started",
       [](CellView& c, VmView& vm) {
         vm.status["a1"].domain = DomainState::absent;
         busy(c, OpKind::vm_start);
       },
       HistoryState::down, OutageWhy::starting},
      {"it is handed over",
       [](CellView& c, VmView& vm) {
         vm.status["a1"].domain = DomainState::paused;
         busy(c, OpKind::vm_migrate);
       },
       HistoryState::down, OutageWhy::moving},
      {"it is moved and runs", [](CellView& c, auto&) { busy(c, OpKind::vm_migrate); }, HistoryState::up, {}},
      {"it is started again",
       [](CellView& c, VmView& vm) {
         vm.status["a1"].domain = DomainState::absent;
         busy(c, OpKind::vm_restart);
       },
       HistoryState::down, OutageWhy::guest_ended},
      {"it is filled", [](CellView& c, auto&) { busy(c, OpKind::vm_create); }, HistoryState::off, {}},
      {"it is removed", [](CellView& c, auto&) { busy(c, OpKind::vm_remove); }, HistoryState::off, {}},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(row.what);
    CellView view = cell();
    row.set(view, view.vms["vm1"]);
    const auto look = history_look(view, "vm1");
    ASSERT_TRUE(look);
    EXPECT_EQ(to_string(look->state), to_string(row.state));
    if (row.state == HistoryState::down || look->silent) EXPECT_EQ(to_string(look->why), to_string(row.why));
  }
}

TEST(HistoryLook, SaysHowItsLegsAreAndWhatIsAtWork) {
  CellView view = cell();
  EXPECT_TRUE(history_look(view, "vm1")->both_legs);
  auto& vm = view.vms["vm1"];
  vm.right.value.insync["root"] = {kLegA};
  vm.status["a1"].volumes["root"] = {"UpToDate", "Inconsistent", "SyncSource", 4096};
  busy(view, OpKind::vm_failover);
  const auto look = *history_look(view, "vm1");
  EXPECT_FALSE(look.both_legs);
  EXPECT_TRUE(look.resync);
  EXPECT_EQ(look.behind_kib, 4096U);
  EXPECT_EQ(look.failover, "op-1");
  EXPECT_EQ(look.incarnation, 10);
  view.hosts["a1"].silent = true;
  EXPECT_EQ(history_look(view, "vm1")->failover, "") << "one that has not taken the run-right is none yet";
}

TEST(HistoryLook, IsNoneOfWhatIsNotThere) {
  CellView view = cell();
  EXPECT_FALSE(history_look(view, "none"));
  view.vms["vm1"].right = {};
  EXPECT_FALSE(history_look(view, "vm1"));
}

TEST(HistoryWriter, IsTheHolderOrWhoTakesOver) {
  CellView view = cell();
  EXPECT_EQ(history_writer(view, "vm1"), "a1");
  view.hosts["a1"].silent = true;
  EXPECT_EQ(history_writer(view, "vm1"), "b1");
  view.hosts["b1"].silent = true;
  EXPECT_EQ(history_writer(view, "vm1"), "");
  EXPECT_EQ(history_writer(view, "none"), "");
}

HistoryDay day(int ago, std::int64_t up, std::int64_t lay = 0, std::int64_t off = 0) {
  HistoryDay d;
  d.since_ms = kToday - ago * kDay;
  d.day = history_day(d.since_ms);
  d.up_ms = up;
  d.down_ms = lay;
  d.off_ms = off;
  d.until_ms = d.since_ms + up + lay + off;
  return d;
}

TEST(HistoryOf, ShowsWhatNoRecordSpeaksOfAsNotSeen) {
  // Of yesterday four hours are missing, of the day before there is no record.
  auto first = day(3, 6 * kHour);
  first.since_ms += 18 * kHour;  // it was made that evening
  first.until_ms += 18 * kHour;
  const auto h = history_of({first, day(1, 20 * kHour), day(0, 12 * kHour)}, first.day, kNoon, 30);
  ASSERT_THAT(h.days, SizeIs(4));
  const auto unseen = [&](std::size_t i) { return h.days[i].unknown_ms / kHour; };
  EXPECT_THAT((std::vector{unseen(0), unseen(1), unseen(2), unseen(3)}), ElementsAre(0, 24, 4, 0));
  EXPECT_EQ(h.sum.since_ms, first.since_ms);
  EXPECT_EQ(h.sum.until_ms, kNoon);
  EXPECT_EQ(h.sum.up_ms, 38 * kHour);
  EXPECT_THAT(h.available, Optional(1.0));
  EXPECT_THAT(h.available_least, Optional(DoubleNear(38.0 / 66.0, 1e-9)));
}

TEST(HistoryOf, EndsWhereAFreshRecordEndsAndElseNow) {
  EXPECT_EQ(history_of({day(0, 12 * kHour - 300'000)}, history_day(kToday), kNoon, 7).sum.unknown_ms, 0);
  const auto old = history_of({day(0, 8 * kHour)}, history_day(kToday), kNoon, 7);
  EXPECT_EQ(old.sum.unknown_ms, 4 * kHour) << "nobody has written for hours: nobody sees it";
  const auto midnight = history_of({day(1, kDay - 300'000)}, history_day(kToday - kDay), kToday + 60'000, 7);
  EXPECT_EQ(midnight.sum.unknown_ms, 0) << "today's record is not written yet";
  EXPECT_THAT(midnight.days, SizeIs(1));
}

TEST(HistoryOf, LooksAtSoManyDaysAndNotBeforeTheFirst) {
  EXPECT_THAT(history_of({day(1, kDay), day(0, 12 * kHour)}, history_day(kToday - 99 * kDay), kNoon, 2).days,
              SizeIs(2));
  EXPECT_THAT(history_of({day(0, 12 * kHour)}, history_day(kToday - 99 * kDay), kNoon, 1).days, SizeIs(1));
  EXPECT_THAT(history_of({}, "", kNoon, 30).days, IsEmpty());
  EXPECT_FALSE(history_of({}, "", kNoon, 30).available);
  EXPECT_THAT(history_of({}, history_day(kToday - 999 * kDay), kNoon, 5000).days, SizeIs(HistoryLimits::days));
}

TEST(HistoryOf, DividesTheTimeInWhichItShouldRunAndCountsAnOutageOverMidnightOnce) {
  auto yesterday = day(1, 22 * kHour, 2 * kHour);
  yesterday.outages = {{kToday - 9 * kHour, kToday - 8 * kHour, OutageWhy::frozen, ""},
                       {kToday - kHour, kToday, OutageWhy::host_lost, "op-1"}};
  yesterday.protected_ms = 12 * kHour;
  auto today = day(0, 6 * kHour, kHour, 5 * kHour);
  today.outages = {{kToday, kToday + kHour, OutageWhy::host_lost, "op-1"}};
  today.protected_ms = 7 * kHour;
  today.more_outages = 2;
  const auto h = history_of({yesterday, today}, yesterday.day, kNoon, 30);
  EXPECT_EQ(h.outages, 4U);
  EXPECT_EQ(h.longest_ms, 2 * kHour);
  EXPECT_THAT(h.available, Optional(DoubleNear(28.0 / 31.0, 1e-9)));
  EXPECT_THAT(h.available_least, h.available);
  EXPECT_THAT(h.protection, Optional(DoubleNear(19.0 / 31.0, 1e-9)));
}

TEST(HistoryDays, AreFewerInALargeCell) {
  EXPECT_EQ(history_days_kept(0), HistoryLimits::days);
  EXPECT_EQ(history_days_kept(1000), HistoryLimits::days);
  EXPECT_EQ(history_days_kept(4000), 100U);
  EXPECT_EQ(history_days_kept(10'000'000), 1U);
}

TEST(HistoryDays, AreRead) {
  EXPECT_EQ(history_day(kNoon), "2026-11-28");
  EXPECT_THAT(history_day_start("2026-11-28"), Optional(kToday));
  for (const char* bad : {"", "2026-11-31", "2026-1-281", "2026/11/28", "-026-11-28", "2026-11-2x", "2026-11-28 "}) {
    EXPECT_FALSE(history_day_start(bad)) << bad;
  }
}

TEST(HistoryWords, AreReadBack) {
  for (const auto s : {HistoryState::off, HistoryState::up, HistoryState::down, HistoryState::unknown})
    EXPECT_EQ(parse_history_state(to_string(s)), s);
  for (int i = 0; i < 8; ++i)
    EXPECT_EQ(parse_outage_why(to_string(static_cast<OutageWhy>(i))), static_cast<OutageWhy>(i));
  EXPECT_FALSE(parse_outage_why("x"));
}

}  // namespace
}  // namespace bascule::core::test
