// When the watchdog is petted, whose promise is asked for, which guests are stopped: one line per state.
#include "hostd/core/guard.hpp"

#include "core_fixture.hpp"
#include "hostd/core/domain.hpp"

namespace bascule::core {
namespace {

using Names = std::vector<std::string>;
using Hosts = std::set<std::string>;

constexpr Mono kNow{100'000};

struct Row {
  const char* name;
  std::optional<int> renewed_ago;   ///< ms since the newest confirmed renewal was first sent
  std::optional<int> b_ago, c_ago;  ///< since the promise of b1, of c1
  int pet_ago;                      ///< since the last pet
  std::vector<GuardedVm> guests;
  bool pet;
  int pet_until;  ///< after kNow; checked when petted
  Hosts ask;
  Names stop;
};

const std::vector<GuardedVm> kOne{{"vm1", {"b1"}}};
const std::vector<GuardedVm> kTwo{{"vm1", {"b1"}}, {"vm2", {"c1"}}};
const std::vector<GuardedVm> kAlone{{"vm1", {}}};  // nobody else is in sync with it

// Standard times: renew 1, renew_timeout 3, watchdog 10, stop 1 s before its end.
const Row kTable[] = {
    {"fresh renewal", 0, {}, {}, 1000, kOne, true, 3000, {}, {}},
    {"a renewal a little old", 1500, {}, {}, 1000, kOne, true, 1500, {}, {}},
    {"etcd is slow: promises are asked for before it is too late", 1501, {}, {}, 1501, kOne, true, 1499, {"b1"}, {}},
    {"the last instant of a renewal", 3000, {}, {}, 3000, kOne, true, 0, {"b1"}, {}},
    {"too old, the watchdog still runs", 3001, {}, {}, 3001, kOne, false, 0, {"b1"}, {}},
    {"the last instant before the stop", 8999, {}, {}, 8999, kOne, false, 0, {"b1"}, {}},
    {"stopped before the watchdog resets", 9000, {}, {}, 9000, kOne, false, 0, {"b1"}, {"vm1"}},
    {"a promise is as good as a renewal", 9000, 500, {}, 3000, kOne, true, 2500, {"b1"}, {}},
    {"counted from its sending", 9000, 3000, {}, 3000, kOne, true, 0, {"b1"}, {}},
    {"too old a promise", 9000, 3001, {}, 9000, kOne, false, 0, {"b1"}, {"vm1"}},
    {"every peer must promise", 9000, 500, {}, 3000, kTwo, false, 0, {"b1", "c1"}, {}},
    {"only the guest whose peer is silent is stopped", 9000, 500, {}, 9000, kTwo, false, 0, {"b1", "c1"}, {"vm2"}},
    {"the older promise counts", 9000, 500, 2000, 3000, kTwo, true, 1000, {"b1", "c1"}, {}},
    {"a guest nobody could take over needs no promise", 60000, {}, {}, 3000, kAlone, true, 3000, {}, {}},
    {"no guest here", 60000, {}, {}, 3000, {}, true, 3000, {}, {}},
    {"hostd has just started, nothing is renewed yet", {}, {}, {}, 8999, kOne, false, 0, {"b1"}, {}},
    {"started, and never renewed", {}, {}, {}, 9000, kOne, false, 0, {"b1"}, {"vm1"}},
};

GuardInput input(const Row& row) {
  GuardInput in;
  in.now = kNow;
  in.armed = true;
  if (row.renewed_ago) in.renewed = kNow - Mono(*row.renewed_ago);
  if (row.b_ago) in.promised["b1"] = kNow - Mono(*row.b_ago);
  if (row.c_ago) in.promised["c1"] = kNow - Mono(*row.c_ago);
  in.last_pet = kNow - Mono(row.pet_ago);
  in.guarded = row.guests;
  return in;
}

TEST(Guard, OneLinePerState) {
  for (const auto& row : kTable) {
    const auto out = guard(input(row), Timing{});
    EXPECT_EQ(out.pet, row.pet) << row.name;
    if (row.pet) EXPECT_EQ(out.pet_until, kNow + Mono(row.pet_until)) << row.name;
    EXPECT_EQ(out.ask, row.ask) << row.name;
    EXPECT_EQ(out.stop, row.stop) << row.name;
    EXPECT_EQ(out.sentence.empty(), row.ask.empty()) << row.name;
  }
}

TEST(Guard, WithoutAWatchdogNothingIsPettedAndGuestsAreStoppedAtTheSameTime) {
  for (const auto& row : kTable) {
    auto in = input(row);
    in.armed = false;
    const auto out = guard(in, Timing{});
    EXPECT_FALSE(out.pet) << row.name;
    EXPECT_EQ(out.stop, row.stop) << row.name;
  }
}

TEST(Guard, WithoutAPetTheTimeCountsFromTheStartOfHostd) {
  GuardInput in;
  in.now = kNow;
  in.guarded = kOne;
  in.started = kNow - Mono(8999);
  EXPECT_TRUE(guard(in, Timing{}).stop.empty());
  in.started = kNow - Mono(9000);
  EXPECT_EQ(guard(in, Timing{}).stop, Names{"vm1"});
}

TEST(Guard, NoInstantIsPettedThatLeavesAGuestBareLongerThanTheBudget) {
  // S1, exhaustively over times: whatever is petted at the last allowed instant, the device ends before any host may
  // take over that saw its newest sign at its sending or later.
  const Timing t;
  for (int age = 0; age <= 20'000; age += 50) {
    GuardInput in;
    in.now = kNow;
    in.armed = true;
    in.guarded = kOne;
    in.last_pet = kNow;
    in.renewed = kNow - Mono(age);
    const auto out = guard(in, t);
    if (!out.pet) continue;
    const Mono dead = out.pet_until + t.watchdog + t.reset_time;
    EXPECT_LE(dead - *in.renewed, t.takeover) << age;
  }
}

/// hostd was restarted while etcd is away, and neither the records nor its notes say whom to ask.
TEST(Guard, OfAGuestOfWhichNothingIsKnownOnlyARenewalIsAProof) {
  GuardInput in;
  in.now = kNow;
  in.started = kNow - Mono(9000);
  in.armed = true;
  in.guarded = {{"vm1", {}, false}};
  in.promised["b1"] = kNow;
  const Timing timing;
  auto out = guard(in, timing);
  EXPECT_FALSE(out.pet);
  EXPECT_EQ(out.stop, Names{"vm1"});
  EXPECT_FALSE(out.sentence.empty());
  in.guarded.push_back({"vm2", {"b1"}});
  EXPECT_EQ(guard(in, timing).stop, Names{"vm1"}) << "the other has its promise";
  in.guarded.clear();
  in.guests_known = false;  // nor is it known that there is none
  EXPECT_FALSE(guard(in, timing).pet);
  in.guests_known = true;
  EXPECT_TRUE(guard(in, timing).pet);
  in.guarded = {{"vm1", {}, false}};
  in.renewed = kNow - Mono(100);
  out = guard(in, timing);
  EXPECT_TRUE(out.pet);
  EXPECT_TRUE(out.stop.empty());
}

TEST(GuardedByNotes, BeforeTheRecordsAreReadThisHostsNotesSayWhoMustPromise) {
  const GuardedVm unknown{"vm1", {}, false};
  EXPECT_EQ(guarded_by_notes(Notes{}, "vm1"), unknown);
  Notes notes = *noted(Notes{}, "vm1", "a1", test::right(), 30);
  EXPECT_EQ(guarded_by_notes(notes, "vm1"), (GuardedVm{"vm1", {"b1"}}));
  EXPECT_EQ(guarded_by_notes(notes, "vm2"), (GuardedVm{"vm2", {}, false}));
  Right alone = test::right();
  alone.insync["root"] = {test::kLegA};
  notes = *noted(notes, "vm1", "a1", alone, 31);
  EXPECT_EQ(guarded_by_notes(notes, "vm1"), (GuardedVm{"vm1", {}})) << "nobody else is in sync";
  notes = noted_adding(notes, "vm1", "a1", alone, 31, "b1");
  EXPECT_EQ(guarded_by_notes(notes, "vm1"), (GuardedVm{"vm1", {"b1"}})) << "but may be soon";
  Right given = test::right();
  given.host = "b1";
  EXPECT_EQ(guarded_by_notes(*noted(notes, "vm1", "a1", given, 32), "vm1"), unknown) << "it should not be here";
  EXPECT_EQ(guarded_by_notes(*leg_failed(Notes{}, "vm1", "la", true), "vm1"), unknown) << "another kind of note";
}

TEST(MayBeGuest, AnotherDomainOnTheHostIsNot) {
  EXPECT_TRUE(may_be_guest("lab", "vm1", domain_uuid("lab", "vm1")));
  EXPECT_TRUE(may_be_guest("lab", "vm1", "")) << "not told: it may be";
  EXPECT_FALSE(may_be_guest("lab", "vm1", domain_uuid("other", "vm1")));
}

TEST(GuardedByRecord, TheOtherHostCountsWhileAWriteMayYetAddIt) {
  VmView vm = test::running_vm();
  Right alone = vm.right.value;
  alone.insync["root"] = {test::kLegA};
  const GuardedVm nobody{"vm1", {}}, peer{"vm1", {"b1"}};
  const Notes without = *noted(Notes{}, "vm1", "a1", alone, 31);
  const Notes with = noted_adding(without, "vm1", "a1", alone, 31, "b1");
  const auto row = [&](const Notes& notes, bool settled, bool adding) {
    return guarded_by_record(vm, notes, "vm1", "a1", settled, adding);
  };
  EXPECT_EQ(row(without, true, false), peer) << "listed";
  vm.right.value = alone;
  EXPECT_EQ(row(without, true, false), nobody);
  EXPECT_EQ(row(without, true, true), peer) << "a write of this hostd is out";
  EXPECT_EQ(row(without, false, false), nobody) << "the hostd before sent none";
  EXPECT_EQ(row(with, false, false), peer) << "it may have sent one";
  EXPECT_EQ(row(Notes{}, false, false), peer) << "nothing is noted: it may have sent one";
  EXPECT_EQ(row(with, true, false), nobody) << "written since: it cannot arrive any more";
}

}  // namespace
}  // namespace bascule::core
