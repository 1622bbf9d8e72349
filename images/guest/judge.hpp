// The judge: what was acknowledged against what the legs hold. Pure; all I/O is done before.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "images/guest/report.hpp"
#include "images/guest/ring.hpp"

namespace bascule::ledger {

inline constexpr std::size_t kMaxLogLines = 20'000'000;  ///< four days at 50 records a second
inline constexpr std::size_t kGapsKept = 5;

/// A collector's log, read.
struct Log {
  std::vector<Received> reports;
  std::uint64_t malformed = 0;  ///< lines that are neither a report nor a note: no log to trust
};
Result<Log> read_log(std::istream& in);

/// A leg as read; `ring` is empty-headed if the leg holds no ledger.
struct Leg {
  std::string path;
  Ring ring;
};

using Seqs = std::vector<std::uint64_t>;  ///< ascending, each once

struct LegVerdict {
  std::string path;
  BlockState header = BlockState::zero;
  RingFindings found;
  Seqs lost;  ///< acknowledged, or followed by a later record, and not there or different
};

struct Gap {
  std::uint64_t ns = 0;  ///< between two reports received one after the other
  std::uint64_t after_seq = 0;
  std::uint64_t until_seq = 0;
  std::uint64_t at_wall_ns = 0;  ///< when the report before it was received
};

struct Run {
  Id id{};
  std::uint64_t first_seq = 0;  ///< 0: it reported no record
  std::uint64_t last_seq = 0;
  std::uint64_t reports = 0;
};

struct Verdict {
  std::optional<Mac> vm;
  std::uint64_t acknowledged = 0;   ///< records that somebody outside was told are durable
  std::uint64_t overwritten = 0;    ///< of these, no longer in the ring: not judged
  std::uint64_t other_reports = 0;  ///< of other VMs
  std::uint64_t malformed = 0;      ///< log lines
  std::uint64_t span_ns = 0;        ///< from the first report to the last
  Seqs lost, torn;                  ///< on any leg
  Seqs duplicated;                  ///< reported more than once, or twice on a leg
  // Two runners, by three signs.
  Seqs late;                              ///< reported by a run after a newer run had begun
  Seqs two_contents;                      ///< acknowledged twice with different contents
  Seqs interleaved;                       ///< on a leg: a run goes on after another began
  Seqs chain;                             ///< on a leg: a record does not follow the one before it
  Seqs foreign;                           ///< on a leg: records of another disk
  std::vector<std::string> guest_errors;  ///< why the ledger in the guest gave up
  std::optional<Seqs> differ;             ///< blocks from the header on in which two legs differ
  std::vector<Gap> gaps;                  ///< the longest first
  std::vector<Run> runs;                  ///< in the order they began
  std::vector<LegVerdict> legs;

  std::uint64_t doubled() const { return late.size() + two_contents.size() + interleaved.size() + chain.size(); }
  /// Nothing found, and something was there to be found.
  bool clean() const;
};

/// `vm` chooses among the VMs in the log; by default the one whose ledger is on the first leg.
/// `differ` comes from comparing the legs byte by byte.
Result<Verdict> judge(const Log& log, std::span<const Leg> legs, std::optional<Mac> vm, std::optional<Seqs> differ);

std::string to_text(const Verdict& verdict);
std::string to_json(const Verdict& verdict);

}  // namespace bascule::ledger
