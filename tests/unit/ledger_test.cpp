// The ledger's own side: what it writes, where it continues, what it refuses.
#include <sys/resource.h>

#include <csignal>

#include "tests/unit/ledger_testkit.hpp"

namespace bascule::ledger {
namespace {

using testkit::Disk;
using testkit::kMac;
using testkit::kOffset;
using testkit::kSlots;
using testkit::Story;

std::string refusal(const Disk& disk) {
  const std::string before = disk.peek(0, kOffset + (1 + kSlots) * kBlockBytes);
  const auto journal = testkit::open(disk, 9);
  EXPECT_EQ(before, disk.peek(0, before.size())) << "a refused disk was written to";
  return journal ? "opened" : journal.error().what;
}

TEST(LedgerRecord, TheChecksumIsCrc64XzOfTheBlockWithItsOwnPlaceZero) {
  // Computed by another program, bit by bit.
  Block block{};
  EXPECT_EQ(checksum(block), 0x26d3d39425eaf0a5U);
  for (std::size_t i = 0; i < kBlockBytes; ++i) block.bytes[i] = static_cast<std::byte>(i % 251);
  EXPECT_EQ(checksum(block), 0xa296fefac8205aa5U);
}

TEST(LedgerRecord, EveryByteOfABlockIsCovered) {
  Record record{.seq = 7, .nonce = 5};
  Block block{};
  encode(record, block);
  Record out;
  ASSERT_EQ(decode(block, out), BlockState::valid);
  EXPECT_EQ(out, record);
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    Block damaged = block;
    damaged.bytes[i] ^= std::byte{0x10};
    EXPECT_EQ(decode(damaged, out), BlockState::bad) << "byte " << i;
  }
}

TEST(LedgerRecord, TwoRecordsDifferInEverySectorSoThatATornWriteShows) {
  Record first{.seq = 1, .nonce = 1};
  Record second{.seq = 33, .nonce = 2};
  Block a{};
  Block b{};
  encode(first, a);
  encode(second, b);
  for (std::size_t sector = 0; sector < kBlockBytes; sector += 512)
    EXPECT_FALSE(std::equal(a.bytes.begin() + sector, a.bytes.begin() + sector + 512, b.bytes.begin() + sector));
}

TEST(LedgerReport, TextComesBackAsItWent) {
  Report report{.event = Event::error,
                .mac = kMac,
                .disk = testkit::id(1),
                .run = testkit::id(2),
                .seq = 3,
                .nonce = ~0ULL,
                .sum = 5,
                .mono_ns = 6,
                .wall_ns = 7,
                .text = "cannot write /dev/vda: text=odd"};
  EXPECT_EQ(parse_report(to_text(report)), report);
  report.event = Event::record;
  report.text.clear();
  EXPECT_EQ(parse_report(to_text(report)), report);
  const Received received{.mono_ns = 1, .wall_ns = 2, .from = "10.77.3.9:1", .report = report};
  const auto back = parse_received(to_text(received));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->from, received.from);
  EXPECT_EQ(back->report, report);
}

TEST(LedgerReport, NothingButAReportIsTakenForOne) {
  const std::string good = to_text(report_of({.seq = 12, .mac = kMac}));
  ASSERT_TRUE(parse_report(good));
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(parse_report(good.substr(0, i))) << "cut at " << i;
    std::string bad = good;
    bad[i] = '\n';
    EXPECT_FALSE(parse_report(bad)) << "control character at " << i;
  }
  EXPECT_FALSE(parse_report(good + " "));
  EXPECT_FALSE(parse_report(good + " text=x"));
  EXPECT_FALSE(parse_report(good + std::string(kMaxReportBytes, ' ')));
  std::string zeros = good;
  zeros.replace(zeros.find("seq=12"), 6, "seq=012");
  EXPECT_FALSE(parse_report(zeros));
  EXPECT_FALSE(parse_report(to_text(report_of({.seq = 0, .mac = kMac}))));
}

TEST(LedgerReport, AnErrorTextIsCutAndCleaned) {
  Report report{.event = Event::error, .text = "a\nrecv_mono=" + std::string(5000, 'x')};
  const std::string text = to_text(report);
  EXPECT_LE(text.size(), kMaxReportBytes);
  EXPECT_EQ(text.find('\n'), text.npos);
  EXPECT_TRUE(parse_report(text));
}

TEST(LedgerJournal, AnEmptyDiskIsFormattedAndNothingBeforeTheOffsetIsTouched) {
  const Disk disk;
  disk.poke(0, "boot");
  Story story;
  story.run(disk, 1, 3);
  EXPECT_EQ(disk.peek(0, 4), "boot");
  const Ring ring = testkit::ring_of(disk);
  EXPECT_EQ(ring.header.slots, kSlots);
  EXPECT_EQ(examine(ring).last, 3U);
  EXPECT_TRUE(examine(ring).clean());
}

TEST(LedgerJournal, ARestartContinuesAfterTheNewestRecordWithItsOwnRun) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 5);
  story.run(disk, 2, 4);
  const Ring ring = testkit::ring_of(disk);
  EXPECT_EQ(examine(ring).last, 9U);
  EXPECT_EQ(find_record(ring, 5)->run, testkit::id(1));
  EXPECT_EQ(find_record(ring, 6)->run, testkit::id(2));
  EXPECT_EQ(find_record(ring, 6)->prev, find_record(ring, 5)->sum);
}

TEST(LedgerJournal, TheRingWrapsAtEveryLengthAndStaysWhole) {
  const Disk disk;
  Story story;
  for (std::uint8_t run = 1; run <= 100; ++run) {
    story.run(disk, run, 1);
    const RingFindings found = examine(testkit::ring_of(disk));
    ASSERT_TRUE(found.clean()) << int{run};
    ASSERT_EQ(found.last, run);
  }
}

TEST(LedgerJournal, ADiskThatGrewKeepsItsRing) {
  const Disk disk;
  Story story;
  story.run(disk, 1, 40);
  std::filesystem::resize_file(disk.path(), 4U << 20U);
  story.run(disk, 2, 40);
  const Ring ring = testkit::ring_of(disk);
  EXPECT_EQ(ring.header.slots, kSlots);
  EXPECT_EQ(examine(ring).last, 80U);
}

TEST(LedgerJournal, AWriteCutOffAtTheTailIsOverwritten) {
  for (const std::uint64_t written : {5U, 40U}) {  // before and after the ring has wrapped
    const Disk disk;
    Story story;
    story.run(disk, 1, written);
    disk.poke(Disk::at(written + 1) + 512, std::string(512, 'x'));
    EXPECT_TRUE(examine(testkit::ring_of(disk)).in_flight);
    story.run(disk, 2, 1);
    const RingFindings found = examine(testkit::ring_of(disk));
    EXPECT_TRUE(found.clean());
    EXPECT_FALSE(found.in_flight);
    EXPECT_EQ(found.last, written + 1);
  }
}

TEST(LedgerJournal, ADamagedDiskIsRefusedAndLeftAsItIs) {
  Story story;
  const Disk whole;
  story.run(whole, 1, 10);

  const Disk torn(whole);
  torn.poke(Disk::at(4) + 2000, "xx");
  EXPECT_NE(refusal(torn).find("1 torn (first: 4)"), std::string::npos) << refusal(torn);
  const Disk hole(whole);
  hole.poke(Disk::at(6), std::string(kBlockBytes, '\0'));
  EXPECT_NE(refusal(hole).find("1 missing (first: 6)"), std::string::npos) << refusal(hole);
  const Disk header(whole);
  header.poke(kOffset + 9, "x");
  EXPECT_NE(refusal(header).find("header block"), std::string::npos) << refusal(header);
  const Disk headless(whole);
  headless.poke(kOffset, std::string(kBlockBytes, '\0'));
  EXPECT_NE(refusal(headless).find("no header"), std::string::npos) << refusal(headless);
  const Disk beyond(whole);
  beyond.poke(Disk::at(20), "x");
  EXPECT_NE(refusal(beyond).find("1 torn (first: 20)"), std::string::npos) << refusal(beyond);
}

TEST(LedgerJournal, SomebodyElsesDataIsRefused) {
  const Disk disk;
  disk.poke(kOffset + 5 * kBlockBytes, "a file system");
  EXPECT_NE(refusal(disk).find("no header but blocks in use"), std::string::npos);
}

TEST(LedgerJournal, ADiskWithoutRoomOrShrunkIsRefused) {
  const Disk tiny(kMinSlots - 1);
  EXPECT_NE(testkit::open(tiny, 1).error().what.find("no room"), std::string::npos);
  const Disk disk;
  Story story;
  story.run(disk, 1, 10);
  std::filesystem::resize_file(disk.path(), kOffset + kSlots * kBlockBytes);
  EXPECT_NE(testkit::open(disk, 2).error().what.find("has room for 31"), std::string::npos);
}

TEST(LedgerJournal, OneDiskHasOneWriter) {
  const Disk disk;
  const auto first = testkit::open(disk, 1);
  ASSERT_TRUE(first);
  const auto second = testkit::open(disk, 2);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().what.find("in use"), std::string::npos);
}

TEST(LedgerJournal, AnIoErrorIsReportedAndNothingIsWrittenAfterIt) {
  const Disk disk;
  auto journal = testkit::open(disk, 1);
  ASSERT_TRUE(journal);
  Story story;
  story.append(*journal, 2);

  // A real error from the kernel: the file may not be written beyond record 2.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = Disk::at(3), .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto failed = journal->append({.nonce = 1});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().what.find("cannot write"), std::string::npos) << failed.error().what;
  EXPECT_FALSE(journal->append({.nonce = 2})) << "it went on after an error";
  EXPECT_EQ(examine(testkit::ring_of(disk)).last, 2U);
}

TEST(LedgerJournal, AFailedFlushIsAnErrorAndEndsIt) {
  const Disk disk;
  auto journal = testkit::open(disk, 1);
  ASSERT_TRUE(journal);
  const auto in_child = [&journal] {
    if (!testkit::break_flush()) ::_exit(2);
    const auto first = journal->append({.nonce = 1});
    const auto second = journal->append({.nonce = 2});
    const bool good = !first && first.error().what.find("cannot flush") != std::string::npos && !second &&
                      second.error().what.find("earlier") != std::string::npos;
    ::_exit(good ? 0 : 1);
  };
  EXPECT_EXIT(in_child(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace bascule::ledger
