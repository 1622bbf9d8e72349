// The judge: each kind of damage, injected into what the real ledger wrote, is found and named.
#include <nlohmann/json.hpp>

#include "tests/unit/ledger_testkit.hpp"

namespace bascule::ledger {
namespace {

using testkit::Disk;
using testkit::kMac;
using testkit::kOffset;
using testkit::kSlots;
using testkit::kStepNs;
using testkit::Story;
using testkit::verdict_on;

const std::string kZeroes(kBlockBytes, '\0');

TEST(LedgerJudge, AStoryWithoutFaultIsClean) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 12);
  const Verdict v = verdict_on(story, disk);
  EXPECT_TRUE(v.clean()) << to_text(v);
  EXPECT_EQ(v.acknowledged, 12U);
  EXPECT_EQ(v.vm, kMac);
}

TEST(LedgerJudge, RestartsWrapsAndReportsLostByTheNetworkAreClean) {
  const Disk disk;
  Story story;
  for (std::uint8_t run = 1; run < 20; ++run) story.run(disk, run, 7, run % 3 != 0);
  const Verdict v = verdict_on(story, disk);
  EXPECT_TRUE(v.clean()) << to_text(v);
  EXPECT_EQ(v.runs.size(), 13U);
  EXPECT_EQ(v.acknowledged, 13U * 7U);
  EXPECT_GT(v.overwritten, 0U);
}

TEST(LedgerJudge, NothingAcknowledgedIsNoPass) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5, false);
  EXPECT_FALSE(verdict_on(story, disk).clean());
  const Disk empty;
  EXPECT_FALSE(verdict_on(Story{}, empty).clean());
}

TEST(LedgerJudge, AMissingTailIsLost) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 10);
  disk.poke(Disk::at(10), kZeroes);
  EXPECT_EQ(verdict_on(story, disk).lost, (Seqs{10}));
  disk.poke(Disk::at(9), kZeroes);
  const Verdict v = verdict_on(story, disk);
  EXPECT_EQ(v.lost, (Seqs{9, 10}));
  EXPECT_FALSE(v.clean());
}

TEST(LedgerJudge, AnOldButWholeLegHasLostTheTailAlsoAfterAWrap) {
  for (const std::uint64_t before : {5U, 50U}) {
    const Disk disk;
    Story story;
    story.run(disk, 1, before);
    const Disk stale(disk);
    story.run(disk, 2, 3);
    EXPECT_TRUE(verdict_on(story, disk).clean());
    EXPECT_EQ(verdict_on(story, stale).lost, (Seqs{before + 1, before + 2, before + 3}));
  }
}

TEST(LedgerJudge, AMissingWriteInTheMiddleIsLostEvenIfItsReportNeverArrived) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 3);
  story.run(disk, 2, 3, false);
  story.run(disk, 3, 3);
  disk.poke(Disk::at(5), kZeroes);
  EXPECT_EQ(verdict_on(story, disk).lost, (Seqs{5}));
}

TEST(LedgerJudge, ABlockOfTheRoundBeforeIsALostWrite) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 20);
  const std::string old = disk.peek(Disk::at(15));
  story.run(disk, 2, 40);
  disk.poke(Disk::at(15 + kSlots), old);
  const Verdict v = verdict_on(story, disk);
  EXPECT_EQ(v.lost, (Seqs{15 + kSlots}));
  EXPECT_TRUE(v.torn.empty());
}

TEST(LedgerJudge, ATornRecordIsFoundWhereverItTore) {
  for (std::uint64_t sector = 0; sector < kBlockBytes; sector += 512) {
    const Disk disk;
    Story story;
    story.run(disk, 1, 50);
    const std::string old = disk.peek(Disk::at(40) + sector, 512);
    story.run(disk, 2, 32);
    disk.poke(Disk::at(72) + sector, old);  // one sector of the round before
    const Verdict v = verdict_on(story, disk);
    EXPECT_EQ(v.torn, (Seqs{72})) << sector;
    EXPECT_EQ(v.lost, (Seqs{72})) << "it was acknowledged";
  }
}

TEST(LedgerJudge, AWriteCutOffAtTheTailIsExcusedUnlessItWasAcknowledged) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 10);
  disk.poke(Disk::at(11), "half a record");
  const Verdict excused = verdict_on(story, disk);
  EXPECT_TRUE(excused.clean()) << to_text(excused);
  EXPECT_TRUE(excused.legs[0].found.in_flight);
  disk.poke(Disk::at(10) + 100, "x");
  const Verdict found = verdict_on(story, disk);
  EXPECT_EQ(found.torn, (Seqs{10, 11}));
  EXPECT_EQ(found.lost, (Seqs{10}));
}

TEST(LedgerJudge, AStrayCopyOfARecordIsADuplicate) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 10);
  disk.poke(Disk::at(20), disk.peek(Disk::at(7)));  // beyond the used range
  EXPECT_EQ(verdict_on(story, disk).duplicated, (Seqs{7}));
  disk.poke(Disk::at(20), kZeroes);
  disk.poke(Disk::at(3), disk.peek(Disk::at(7)));  // over another record
  const Verdict v = verdict_on(story, disk);
  EXPECT_EQ(v.duplicated, (Seqs{7}));
  EXPECT_EQ(v.lost, (Seqs{3}));
}

TEST(LedgerJudge, TheSameReportTwiceIsADuplicate) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 10);
  story.log.reports.push_back(story.log.reports[4]);
  const Verdict v = verdict_on(story, disk);
  EXPECT_EQ(v.duplicated, (Seqs{5}));
  EXPECT_EQ(v.doubled(), 0U);
  EXPECT_FALSE(v.clean());
}

TEST(LedgerJudge, TwoCopiesOfADiskContinuingApartAreTwoRunners) {
  const Disk a;
  Story story;
  story.run(a, 1, 10);
  const Disk b(a);
  auto left = testkit::open(a, 2);
  auto right = testkit::open(b, 3);
  for (int i = 0; i < 3; ++i) {
    story.append(*left, 1);
    story.append(*right, 1);
  }
  for (const Disk* leg : {&a, &b}) {
    const Verdict v = verdict_on(story, *leg);
    EXPECT_EQ(v.two_contents, (Seqs{11, 12, 13}));
    EXPECT_EQ(v.duplicated, (Seqs{11, 12, 13}));
    EXPECT_EQ(v.lost, (Seqs{11, 12, 13})) << "one of two contents is always lost";
    EXPECT_FALSE(v.late.empty());
  }
}

TEST(LedgerJudge, AnOldRunThatOnlySpeaksAgainIsTwoRunners) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 10);
  const Received last = story.log.reports.back();
  story.log.reports.pop_back();
  story.run(disk, 2, 5);
  story.log.reports.push_back(last);
  EXPECT_EQ(verdict_on(story, disk).late, (Seqs{10}));
  EXPECT_FALSE(verdict_on(story, disk).clean());
}

TEST(LedgerJudge, ANewRunsStartIsEnoughToMakeTheOldRunLate) {
  const Disk disk;
  Story story;
  auto journal = testkit::open(disk, 1);
  story.append(*journal, 5);
  story.receive({.event = Event::start, .mac = kMac, .run = testkit::id(2), .seq = 5});
  EXPECT_TRUE(verdict_on(story, disk).clean());
  story.append(*journal, 1);
  EXPECT_EQ(verdict_on(story, disk).late, (Seqs{6}));
}

TEST(LedgerJudge, OneMemoryRunningTwiceIsTwoRunners) {
  // As when both ends of a migration run: one run id, one disk, each with its own next record.
  const Disk a;
  Story story;
  auto source = testkit::open(a, 1);
  story.append(*source, 5);
  const Disk b(a);
  auto target = testkit::open(b, 1);
  story.append(*source, 1);
  story.append(*target, 1);
  const Verdict v = verdict_on(story, a);
  EXPECT_EQ(v.two_contents, (Seqs{6}));
  EXPECT_FALSE(v.clean());
}

TEST(LedgerJudge, TwoWritersOnOneDiskAreFoundOnTheDiskAlone) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  const Disk fork(disk);
  story.run(disk, 2, 3, false);  // writes 6 7 8
  story.run(fork, 3, 2, false);  // would write 6 7 over them
  const Disk chain(disk);
  chain.poke(Disk::at(7), fork.peek(Disk::at(7)));
  const Verdict v = verdict_on(story, chain);
  EXPECT_EQ(v.chain, (Seqs{7, 8})) << "7 follows another 6, 8 another 7";
  EXPECT_EQ(v.interleaved, (Seqs{8})) << "runs 2 3 2";
  EXPECT_TRUE(v.lost.empty());
  EXPECT_FALSE(v.clean());
}

TEST(LedgerJudge, ALegThatLostEverythingHasLostEverything) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  const Disk empty;
  EXPECT_EQ(verdict_on(story, empty).lost.size(), 5U);
  disk.poke(kOffset + 3, "x");  // a damaged header
  EXPECT_EQ(verdict_on(story, disk).lost.size(), 5U);
}

TEST(LedgerJudge, ADiskFormattedAnewUnderTheVmIsALossOfAllBefore) {
  const Disk first;
  Story story;
  story.run(first, 1, 5);
  const Disk second;
  auto journal = testkit::open(second, 2, 0xd2);
  story.append(*journal, 60);
  const Verdict v = verdict_on(story, second);
  EXPECT_EQ(v.lost, (Seqs{1, 2, 3, 4, 5}));
  EXPECT_FALSE(v.clean());
}

TEST(LedgerJudge, ARecordOfAnotherDiskIsForeign) {
  const Disk mine;
  Story story;
  story.run(mine, 1, 10);
  const Disk other;
  auto journal = testkit::open(other, 2, 0xd2);
  Story elsewhere;
  elsewhere.append(*journal, 10);
  mine.poke(Disk::at(4), other.peek(Disk::at(4)));
  const Verdict v = verdict_on(story, mine);
  EXPECT_EQ(v.foreign, (Seqs{4}));
  EXPECT_EQ(v.lost, (Seqs{4}));
}

TEST(LedgerJudge, AnotherDisksNewerRecordIsForeignAndNotTheNewest) {
  const Disk mine;
  Story story;
  story.run(mine, 1, 10);
  const Disk other;
  auto journal = testkit::open(other, 2, 0xd2);
  Story elsewhere;
  elsewhere.append(*journal, 20);
  mine.poke(Disk::at(20), other.peek(Disk::at(20)));
  const Verdict v = verdict_on(story, mine);
  EXPECT_EQ(v.foreign, (Seqs{20}));
  EXPECT_TRUE(v.lost.empty());
  EXPECT_EQ(v.legs[0].found.last, 10U);
  EXPECT_FALSE(v.clean());
}

TEST(LedgerJudge, WhatNobodyWasToldOfIsStillLostWhenALaterRecordIsThere) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 20);
  const std::string old = disk.peek(Disk::at(15));
  story.run(disk, 2, 35, false);
  story.run(disk, 3, 1);
  disk.poke(Disk::at(15 + kSlots), old);
  EXPECT_EQ(verdict_on(story, disk).lost, (Seqs{15 + kSlots}));

  const Disk other;
  auto journal = testkit::open(other, 2, 0xd2);
  Story elsewhere;
  elsewhere.append(*journal, 15);
  disk.poke(Disk::at(15 + kSlots), other.peek(Disk::at(15)));
  EXPECT_EQ(verdict_on(story, disk).lost, (Seqs{15 + kSlots}));
}

TEST(LedgerJudge, AnErrorReportedByTheGuestIsNotClean) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  story.receive({.event = Event::error, .mac = kMac, .run = testkit::id(1), .text = "cannot flush"});
  const Verdict v = verdict_on(story, disk);
  EXPECT_EQ(v.guest_errors, std::vector<std::string>{"cannot flush"});
  EXPECT_FALSE(v.clean());
}

TEST(LedgerJudge, TheLongestGapIsTheOutage) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  story.now += 3'000'000'000;
  story.run(disk, 2, 5);
  const Verdict v = verdict_on(story, disk);
  ASSERT_FALSE(v.gaps.empty());
  EXPECT_EQ(v.gaps[0].ns, 3'000'000'000 + kStepNs);
  EXPECT_EQ(v.gaps[0].after_seq, 5U);
  EXPECT_EQ(v.gaps[0].until_seq, 6U);
  EXPECT_EQ(v.gaps.size(), kGapsKept);
  EXPECT_EQ(v.span_ns, 9 * kStepNs + 3'000'000'000);
}

TEST(LedgerJudge, OtherVmsInTheLogDoNotCount) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  Report other = story.log.reports[0].report;
  other.mac[5] = 1;
  other.disk = testkit::id(0xee);
  story.receive(other);
  const Verdict v = verdict_on(story, disk);
  EXPECT_TRUE(v.clean()) << to_text(v);
  EXPECT_EQ(v.other_reports, 1U);
  const std::vector<Leg> legs{{.path = "empty", .ring = testkit::ring_of(Disk{})}};
  EXPECT_FALSE(judge(story.log, legs, std::nullopt, std::nullopt)) << "two VMs: which?";
}

TEST(LedgerJudge, LegsThatDifferAreNotClean) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  const Leg leg{.path = "a", .ring = testkit::ring_of(disk)};
  const std::vector<Leg> legs{leg, leg};
  EXPECT_TRUE(judge(story.log, legs, std::nullopt, Seqs{})->clean());
  EXPECT_FALSE(judge(story.log, legs, std::nullopt, Seqs{9})->clean());
}

TEST(LedgerJudge, TheSecondLegIsJudgedToo) {
  const Disk a;
  Story story;
  story.run(a, 1, 5);
  const Disk b(a);
  b.poke(Disk::at(2) + 50, "x");
  const std::vector<Leg> legs{{.path = "a", .ring = testkit::ring_of(a)}, {.path = "b", .ring = testkit::ring_of(b)}};
  const auto v = judge(story.log, legs, std::nullopt, std::nullopt);
  EXPECT_TRUE(v->legs[0].lost.empty());
  EXPECT_EQ(v->legs[1].lost, (Seqs{2}));
  EXPECT_EQ(v->torn, (Seqs{2}));
}

TEST(LedgerLog, NotesAndACutOffLastLineAreNoFaultButStrangeLinesAre) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 3);
  std::string text = "# collector started\n";
  for (const Received& received : story.log.reports) text += to_text(received) + "\n";
  std::istringstream cut(text + to_text(story.log.reports[0]).substr(0, 40));
  const auto whole = read_log(cut);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->reports.size(), 3U);
  EXPECT_EQ(whole->malformed, 0U);
  std::istringstream resumed(text + to_text(story.log.reports[0]).substr(0, 40) + " # cut off\n");
  EXPECT_EQ(read_log(resumed)->malformed, 0U);
  std::istringstream strange(text + "recv_mono=1 what\n");
  story.log = *read_log(strange);
  EXPECT_EQ(story.log.malformed, 1U);
  EXPECT_FALSE(verdict_on(story, disk).clean());
}

TEST(LedgerVerdict, ItsJsonSaysTheSameAsItsText) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  disk.poke(Disk::at(5), kZeroes);
  const Verdict v = verdict_on(story, disk);
  const auto json = nlohmann::json::parse(to_json(v));
  EXPECT_EQ(json["ok"], false);
  EXPECT_EQ(json["acknowledged"], 5);
  EXPECT_EQ(json["lost"], 1);
  EXPECT_EQ(json["examples"]["lost"], (Seqs{5}));
  EXPECT_EQ(json["double"], 0);
  EXPECT_TRUE(json["legs_differ"].is_null());
  EXPECT_TRUE(to_text(v).starts_with("NOT CLEAN: 5 records"));
}

}  // namespace
}  // namespace bascule::ledger
