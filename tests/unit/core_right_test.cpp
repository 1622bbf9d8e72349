// The run-right: every function over a table of records and callers, one line per cell.
#include "hostd/core/right.hpp"

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using test::kLegA;
using test::kLegB;
using test::text;

// States of the record, named by what they hold. Two volumes, so that "on every volume" is tested.
const Leg kDataA{"a1", "da"};
const Leg kDataB{"b1", "db"};

Layout two_volumes() {
  Layout l = test::layout();
  l.volumes.push_back({"data", 101, 64, {kDataA, kDataB}});
  return l;
}
Right both() {  // both legs of both volumes
  Right r = test::right();
  r.insync["data"] = {kDataA, kDataB};
  return r;
}
Right only_a() {  // the link is down: the holder alone
  Right r = both();
  r.insync["root"] = {kLegA};
  r.insync["data"] = {kDataA};
  return r;
}
Right only_b() {
  Right r = both();
  r.insync["root"] = {kLegB};
  r.insync["data"] = {kDataB};
  return r;
}
Right data_resyncs() {  // b1 is back on root, not on data
  Right r = both();
  r.insync["data"] = {kDataA};
  return r;
}
Right marked() {
  Right r = both();
  r.migrating_to = "b1";
  return r;
}
Right new_leg() {  // b1's leg of data was made anew: the listed id is not the layout's
  Right r = both();
  r.insync["data"] = {kDataA, {"b1", "old"}};
  return r;
}
Right forgotten_volume() {
  Right r = both();
  r.insync.erase("data");
  return r;
}

const std::string kNotHolderB1 =
    "conflict: host b1 does not hold the run-right, a1 does (epoch 3); nothing was changed";
const std::string kNotHolderC1 =
    "conflict: host c1 does not hold the run-right, a1 does (epoch 3); nothing was changed";

TEST(Layouts, KnowTheLegAndTheOtherHost) {
  const Layout l = two_volumes();
  EXPECT_EQ(*leg_of(l.volumes[1], "b1"), kDataB);
  EXPECT_EQ(leg_of(l.volumes[1], "c1"), nullptr);
  EXPECT_EQ(other_host(l, "a1"), "b1");
  EXPECT_EQ(other_host(l, "b1"), "a1");
  EXPECT_EQ(other_host(l, "c1"), "");
  EXPECT_EQ(other_host(Layout{}, "a1"), "");
}

TEST(InSync, MeansTheLayoutsLegIsListedOnEveryVolume) {
  const struct {
    const char* name;
    Right right;
    bool a1, b1;
  } table[] = {
      {"both", both(), true, true},        {"only_a", only_a(), true, false},
      {"only_b", only_b(), false, true},   {"data_resyncs", data_resyncs(), true, false},
      {"new_leg", new_leg(), true, false}, {"forgotten_volume", forgotten_volume(), false, false},
      {"empty", Right{}, false, false},
  };
  for (const auto& row : table) {
    EXPECT_EQ(insync_everywhere(row.right, two_volumes(), "a1"), row.a1) << row.name;
    EXPECT_EQ(insync_everywhere(row.right, two_volumes(), "b1"), row.b1) << row.name;
    EXPECT_FALSE(insync_everywhere(row.right, two_volumes(), "c1")) << row.name;
    EXPECT_FALSE(insync_everywhere(row.right, Layout{}, "a1")) << row.name << ": no volume, no proof";
  }
}

TEST(FirstRight, ListsTheFirstHostsLegsAlone) {
  const Right r = first_right(two_volumes(), "b1");
  EXPECT_EQ(r.host, "b1");
  EXPECT_EQ(r.epoch, 0);
  EXPECT_FALSE(r.migrating_to);
  EXPECT_EQ(r.insync, (std::map<std::string, std::vector<Leg>>{{"data", {kDataB}}, {"root", {kLegB}}}));
}

TEST(FirstRight, ForAHostWithoutALegIsABug) {
  EXPECT_DEATH(static_cast<void>(first_right(two_volumes(), "c1")), "check failed");
}

TEST(Claim, GrowsTheEpochOnlyForAHolderInSyncWithNoMigrationMarked) {
  const std::string old_data = "refused: the record does not list a leg of host a1 as in sync on every volume; it may "
                               "hold old data, so it is not used";
  const std::string busy =
      "conflict: a migration to b1 is marked in the record; no second copy may start until it is settled";
  Right marked_and_alone = only_a();
  marked_and_alone.migrating_to = "b1";
  const struct {
    const char* name;
    Right right;
    const char* host;
    std::string wanted;
  } table[] = {
      {"both", both(), "a1", "ok"},
      {"both", both(), "b1", kNotHolderB1},
      {"both", both(), "c1", kNotHolderC1},
      {"only_a", only_a(), "a1", "ok"},
      {"only_a", only_a(), "b1", kNotHolderB1},
      {"only_b", only_b(), "a1", old_data},
      {"only_b", only_b(), "b1", kNotHolderB1},
      {"data_resyncs", data_resyncs(), "a1", "ok"},
      {"forgotten_volume", forgotten_volume(), "a1", old_data},
      {"marked", marked(), "a1", busy},
      {"marked", marked(), "b1", kNotHolderB1},
      {"marked_and_alone", marked_and_alone, "a1", busy},
  };
  for (const auto& row : table) {
    const auto next = claim(row.right, two_volumes(), row.host);
    EXPECT_EQ(text(next), row.wanted) << row.name << ' ' << row.host;
    if (!next) continue;
    Right wanted = row.right;
    wanted.epoch = 4;
    EXPECT_EQ(*next, wanted) << row.name << ": nothing but the epoch";
  }
}

TEST(Take, OnlyWhereEveryVolumeIsInSyncAndOnlyFromAnotherHost) {
  const std::string missing = "refused: the record does not list a leg of host";
  const struct {
    const char* name;
    Right right;
    const char* host;
    std::string wanted;  ///< its beginning
  } table[] = {
      {"both", both(), "b1", "ok"},          {"both", both(), "a1", "conflict: host a1 holds the run-right already"},
      {"both", both(), "c1", missing},       {"only_a", only_a(), "b1", missing},
      {"only_b", only_b(), "b1", "ok"},      {"data_resyncs", data_resyncs(), "b1", missing},
      {"new_leg", new_leg(), "b1", missing}, {"forgotten_volume", forgotten_volume(), "b1", missing},
      {"marked", marked(), "b1", "ok"},
  };
  for (const auto& row : table) {
    const auto next = take(row.right, two_volumes(), row.host);
    EXPECT_THAT(text(next), testing::StartsWith(row.wanted)) << row.name << ' ' << row.host;
    if (!next) continue;
    EXPECT_EQ(next->host, "b1") << row.name;
    EXPECT_EQ(next->epoch, 4) << row.name;
    EXPECT_FALSE(next->migrating_to) << row.name;
    EXPECT_EQ(next->insync, only_b().insync) << row.name << ": its own legs alone";
  }
}

TEST(WithoutOthers, TakesOutWhatIsNotTheLastAndLeavesTheRest) {
  EXPECT_EQ(without_others(both(), two_volumes(), "a1"), only_a());
  EXPECT_EQ(without_others(only_a(), two_volumes(), "a1"), only_a()) << "written all the same";
  EXPECT_EQ(without_others(only_b(), two_volumes(), "a1"), only_b()) << "the last legs stay";
  Right half = both();
  half.insync["data"] = {kDataB};
  Right wanted = only_a();
  wanted.insync["data"] = {kDataB};
  EXPECT_EQ(without_others(half, two_volumes(), "a1"), wanted);
  Right marked = both();
  marked.migrating_to = "b1";
  EXPECT_EQ(without_others(marked, two_volumes(), "a1").migrating_to, marked.migrating_to);
}

TEST(ExcludePeer, IsTheHoldersAndAlwaysWritesAndEndsAMark) {
  const struct {
    const char* name;
    Right right;
    const char* host;
    std::string wanted;
  } table[] = {
      {"both", both(), "a1", "ok"},
      {"only_a", only_a(), "a1", "ok"},  // written again: an add-back under way must lose its compare
      {"data_resyncs", data_resyncs(), "a1", "ok"},
      {"marked", marked(), "a1", "ok"},
      {"both", both(), "b1", kNotHolderB1},
      {"marked", marked(), "b1", kNotHolderB1},
      {"only_b", only_b(), "a1", "refused: the record does not list the legs of host a1"},
      {"forgotten_volume", forgotten_volume(), "a1", "refused: the record does not list the legs of host a1"},
  };
  for (const auto& row : table) {
    const auto next = exclude_peer(row.right, two_volumes(), row.host);
    EXPECT_THAT(text(next), testing::StartsWith(row.wanted)) << row.name << ' ' << row.host;
    if (!next) continue;
    EXPECT_EQ(next->host, "a1") << row.name;
    EXPECT_EQ(next->epoch, 3) << row.name << ": the same copy goes on";
    EXPECT_FALSE(next->migrating_to) << row.name;
    EXPECT_EQ(next->insync, only_a().insync) << row.name;
  }
}

TEST(Mark, NeedsTheHolderBothLegsAndNoOtherMigration) {
  const std::string resync = "conflict: the record does not list both legs as in sync on every volume; wait for the "
                             "resync to end, then migrate";
  Right to_c = both();
  to_c.migrating_to = "c1";
  const struct {
    const char* name;
    Right right;
    const char* host;
    const char* target;
    std::string wanted;
  } table[] = {
      {"both", both(), "a1", "b1", "ok"},
      {"both", both(), "a1", "a1", "invalid: host a1 has no leg of this VM"},
      {"both", both(), "a1", "c1", "invalid: host c1 has no leg of this VM"},
      {"both", both(), "a1", "", "invalid: host  has no leg of this VM"},
      {"both", both(), "b1", "a1", kNotHolderB1},
      {"only_a", only_a(), "a1", "b1", resync},
      {"only_b", only_b(), "a1", "b1", resync},
      {"data_resyncs", data_resyncs(), "a1", "b1", resync},
      {"new_leg", new_leg(), "a1", "b1", resync},
      {"marked", marked(), "a1", "b1", "ok"},  // again: a crash came between the act and the journal
      {"to_c", to_c, "a1", "b1", "conflict: a migration to c1 is already marked"},
  };
  for (const auto& row : table) {
    const auto next = mark(row.right, two_volumes(), row.host, row.target);
    EXPECT_EQ(text(next), row.wanted) << row.name << ' ' << row.host << " -> " << row.target;
    if (next) EXPECT_EQ(*next, marked()) << row.name << ": the mark and nothing else";
  }
}

TEST(Unmark, IsTheHoldersAndRestoresWhatMarkFound) {
  EXPECT_EQ(*unmark(marked(), "a1"), both());
  EXPECT_EQ(*unmark(both(), "a1"), both());
  EXPECT_EQ(text(unmark(marked(), "b1")), kNotHolderB1);
  EXPECT_EQ(*unmark(*mark(both(), two_volumes(), "a1", "b1"), "a1"), both());
}

TEST(HandOver, IsTheHoldersGiftToAPeerInSync) {
  const std::string stays = "refused: host b1 is not in sync on every volume by the record; the right stays";
  const struct {
    const char* name;
    Right right;
    const char* host;
    const char* peer;
    std::string wanted;
  } table[] = {
      {"both", both(), "a1", "b1", "ok"},
      {"both", both(), "a1", "a1", "refused: host a1 is not in sync on every volume by the record; the right stays"},
      {"both", both(), "a1", "c1", "refused: host c1 is not in sync on every volume by the record; the right stays"},
      {"both", both(), "b1", "b1", kNotHolderB1},  // nobody takes it by itself
      {"both", both(), "c1", "b1", kNotHolderC1},
      {"marked", marked(), "a1", "b1", "ok"},
      {"only_a", only_a(), "a1", "b1", stays},
      {"only_b", only_b(), "a1", "b1", "ok"},  // the holder lost its own leg: the peer is the good one
      {"data_resyncs", data_resyncs(), "a1", "b1", stays},
      {"new_leg", new_leg(), "a1", "b1", stays},
      {"forgotten_volume", forgotten_volume(), "a1", "b1", stays},
  };
  for (const auto& row : table) {
    const auto next = hand_over(row.right, two_volumes(), row.host, row.peer);
    EXPECT_EQ(text(next), row.wanted) << row.name << ' ' << row.host << " -> " << row.peer;
    if (!next) continue;
    EXPECT_EQ(next->host, "b1") << row.name;
    EXPECT_EQ(next->epoch, 4) << row.name;
    EXPECT_FALSE(next->migrating_to) << row.name;
    EXPECT_EQ(next->insync, row.right.insync) << row.name << ": legs are kept";
  }
}

TEST(AddLeg, IsTheHoldersAndOnlyForALegOfTheLayout) {
  const struct {
    const char* name;
    Right right;
    const char* host;
    const char* volume;
    Leg leg;
    std::string wanted;
  } table[] = {
      {"only_a", only_a(), "a1", "data", kDataB, "ok"},
      {"only_a", only_a(), "b1", "data", kDataB, kNotHolderB1},
      {"only_a", only_a(), "a1", "data", kLegB, "invalid: leg lb is not one of volume data"},
      {"only_a", only_a(), "a1", "data", {"b1", "old"}, "invalid: leg old is not one of volume data"},
      {"only_a", only_a(), "a1", "data", {"c1", "db"}, "invalid: leg db is not one of volume data"},
      {"only_a", only_a(), "a1", "none", kDataB, "invalid: leg db is not one of volume none"},
      {"both", both(), "a1", "data", kDataB, "ok"},
      {"forgotten_volume", forgotten_volume(), "a1", "data", kDataB, "ok"},
  };
  for (const auto& row : table) {
    const auto next = add_leg(row.right, two_volumes(), row.host, row.volume, row.leg);
    EXPECT_EQ(text(next), row.wanted) << row.name << ' ' << row.host << ' ' << row.leg.id;
    if (!next) continue;
    EXPECT_EQ(next->epoch, row.right.epoch) << "adding a leg starts nothing";
    EXPECT_EQ(next->insync.at("root"), row.right.insync.at("root"));
    EXPECT_EQ(std::ranges::count(next->insync.at("data"), kDataB), 1) << row.name << ": once, however often";
    EXPECT_TRUE(std::ranges::is_sorted(next->insync.at("data"))) << row.name;
  }
}

TEST(AddLegs, AddsBothOfOneVolume) {
  const auto next = add_legs(forgotten_volume(), two_volumes(), "a1", "data");
  ASSERT_TRUE(next);
  EXPECT_EQ(next->insync.at("data"), (std::vector<Leg>{kDataA, kDataB}));
  EXPECT_EQ(text(add_legs(only_a(), two_volumes(), "b1", "data")), kNotHolderB1);
  EXPECT_EQ(text(add_legs(only_a(), two_volumes(), "a1", "none")), "invalid: there is no volume none");
}

TEST(SwapLeg, ListsTheOtherHostsLegInPlaceOfTheHoldersOwn) {
  const auto next = swap_leg(only_a(), two_volumes(), "a1", "data");
  ASSERT_TRUE(next);
  EXPECT_EQ(next->insync.at("data"), (std::vector<Leg>{kDataB}));
  EXPECT_EQ(next->insync.at("root"), only_a().insync.at("root")) << "the other volume's list stays";
  EXPECT_EQ(next->epoch, only_a().epoch);
  EXPECT_EQ(next->host, "a1");
  EXPECT_EQ(text(swap_leg(only_a(), two_volumes(), "b1", "data")), kNotHolderB1);
  EXPECT_EQ(text(swap_leg(only_a(), two_volumes(), "a1", "none")), "invalid: volume none has no leg on another host");
}

TEST(RemoveLeg, NeverTakesTheLastOne) {
  const struct {
    const char* name;
    Right right;
    const char* volume;
    Leg leg;
    std::string wanted;
    std::vector<Leg> left;
  } table[] = {
      {"both", both(), "data", kDataB, "ok", {kDataA}},
      {"both", both(), "data", kDataA, "ok", {kDataB}},
      {"both", both(), "data", {"b1", "old"}, "ok", {kDataA, kDataB}},
      {"only_a", only_a(), "data", kDataB, "ok", {kDataA}},  // already out: still a record to write
      {"only_a",
       only_a(),
       "data",
       kDataA,
       "refused: leg da on a1 is the last one in sync of volume data; it is never taken out",
       {}},
      {"marked", marked(), "data", kDataB, "ok", {kDataA}},
  };
  for (const auto& row : table) {
    const auto next = remove_leg(row.right, row.volume, row.leg);
    EXPECT_EQ(text(next), row.wanted) << row.name << ' ' << row.leg.id;
    if (!next) continue;
    EXPECT_EQ(next->insync.at("data"), row.left) << row.name << ' ' << row.leg.id;
    EXPECT_EQ(next->insync.at("root"), row.right.insync.at("root")) << row.name;
    EXPECT_EQ(next->host, row.right.host);
    EXPECT_EQ(next->epoch, row.right.epoch);
    EXPECT_EQ(next->migrating_to, row.right.migrating_to);
  }
}

TEST(RemoveLeg, AddsNoEntryForAVolumeTheRecordDoesNotKnow) { EXPECT_EQ(*remove_leg(both(), "none", kDataB), both()); }

}  // namespace
}  // namespace bascule::core
