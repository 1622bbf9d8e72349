// A disk in a file, the real journal on it, and what its reports would look like in a log.
#pragma once

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "images/guest/journal.hpp"
#include "images/guest/judge.hpp"
#include "images/guest/report.hpp"
#include "images/guest/ring.hpp"

namespace bascule::ledger::testkit {

inline constexpr Mac kMac{0x52, 0x54, 0x00, 0xaa, 0xbb, 0xcc};
inline constexpr std::uint64_t kOffset = 8 * kBlockBytes;
inline constexpr std::uint64_t kSlots = 32;
inline constexpr std::uint64_t kStepNs = 20'000'000;

inline Id id(std::uint8_t n) {
  Id out{};
  out.fill(n);
  return out;
}

/// A zeroed file with room for kSlots records, removed at the end.
class Disk {
 public:
  explicit Disk(std::uint64_t slots = kSlots) {
    static int serial = 0;
    path_ = (std::filesystem::temp_directory_path() /
             ("ledger-test-" + std::to_string(::getpid()) + "-" + std::to_string(++serial)))
                .string();
    std::ofstream{path_};
    std::filesystem::resize_file(path_, kOffset + (1 + slots) * kBlockBytes);
  }
  Disk(const Disk& other) : Disk() {
    std::filesystem::copy_file(other.path_, path_, std::filesystem::copy_options::overwrite_existing);
  }
  Disk& operator=(const Disk&) = delete;
  ~Disk() { std::filesystem::remove(path_); }

  const std::string& path() const { return path_; }

  static std::uint64_t at(std::uint64_t seq, std::uint64_t slots = kSlots) {
    return kOffset + (1 + slot_of(seq, slots)) * kBlockBytes;
  }
  void poke(std::uint64_t offset, const std::string& bytes) const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(file.good());
  }
  std::string peek(std::uint64_t offset, std::size_t count = kBlockBytes) const {
    std::string out(count, '\0');
    std::ifstream file(path_, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(out.data(), static_cast<std::streamsize>(count));
    EXPECT_TRUE(file.good());
    return out;
  }

 private:
  std::string path_;
};

inline Result<Journal> open(const Disk& disk, std::uint8_t run, std::uint8_t new_disk = 0xd1) {
  auto medium = Medium::open(disk.path(), Medium::Mode::write);
  if (!medium) return medium.error();
  return Journal::open(
      std::move(*medium),
      {.offset = kOffset, .max_slots = kMaxSlots, .mac = kMac, .run = id(run), .new_disk = id(new_disk), .wall_ns = 1});
}

/// The collector's log, and the clock of everything.
struct Story {
  Log log;
  std::uint64_t now = 1'000'000'000;

  void receive(Report report) {
    log.reports.push_back({.mono_ns = now, .wall_ns = now, .from = "t", .report = std::move(report)});
  }
  /// `count` records appended, each reported if `reported`.
  void append(Journal& journal, std::uint64_t count, bool reported = true) {
    for (std::uint64_t i = 0; i < count; ++i) {
      now += kStepNs;
      const auto record = journal.append({.mono_ns = now, .wall_ns = now, .nonce = now * 31});
      ASSERT_TRUE(record) << record.error().what;
      if (reported) receive(report_of(*record));
    }
  }
  /// One run of the program: opens, appends, ends.
  void run(const Disk& disk, std::uint8_t id, std::uint64_t count, bool reported = true) {
    auto journal = open(disk, id);
    ASSERT_TRUE(journal) << journal.error().what;
    append(*journal, count, reported);
  }
};

inline Ring ring_of(const Disk& disk) {
  const auto medium = Medium::open(disk.path(), Medium::Mode::read);
  auto ring = read_ring(*medium, kOffset);
  return *ring;
}

inline Verdict verdict_on(const Story& story, const Disk& disk) {
  const std::vector<Leg> legs{{.path = disk.path(), .ring = ring_of(disk)}};
  return *judge(story.log, legs, std::nullopt, std::nullopt);
}

/// From here on every fdatasync of this process, and of what it executes, fails with EIO.
inline bool break_flush() {
  std::array<sock_filter, 4> code{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{.len = code.size(), .filter = code.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace bascule::ledger::testkit
