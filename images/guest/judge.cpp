#include "images/guest/judge.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <tuple>

namespace bascule::ledger {
namespace {

void tidy(Seqs& seqs) {
  std::ranges::sort(seqs);
  const auto rest = std::ranges::unique(seqs);
  seqs.erase(rest.begin(), rest.end());
}

void add(Seqs& to, const Seqs& from) { to.insert(to.end(), from.begin(), from.end()); }

Result<Mac> choose_vm(const Log& log, std::span<const Leg> legs) {
  for (const Leg& leg : legs) {
    if (leg.ring.header_state == BlockState::valid) return leg.ring.header.mac;
  }
  std::set<Mac> seen;
  for (const Received& received : log.reports) seen.insert(received.report.mac);
  if (seen.size() == 1) return *seen.begin();
  return Error{"no leg holds a ledger and the log names " + std::to_string(seen.size()) +
               " VMs: say which one is meant"};
}

// Follows the log in the order of arrival.
class LogReader {
 public:
  explicit LogReader(Verdict& out) : out_(out) {}

  void take(const Received& received) {
    const Report& report = received.report;
    const bool newest = begin_or_find(report.run);
    // A report of an older run: two programs believe that they own the disk.
    if (!newest) out_.late.push_back(report.seq);
    if (report.event == Event::error) out_.guest_errors.push_back(report.text);
    if (report.event != Event::record) return;

    Run& run = out_.runs[order_.at(report.run)];
    if (run.first_seq == 0) run.first_seq = report.seq;
    run.last_seq = std::max(run.last_seq, report.seq);
    ++run.reports;
    measure_gap(received);
    before_ = &received;
  }

 private:
  bool begin_or_find(const Id& run) {
    const auto [at, begins] = order_.emplace(run, out_.runs.size());
    if (begins) out_.runs.push_back(Run{.id = run});
    return at->second + 1 == out_.runs.size();
  }

  void measure_gap(const Received& received) {
    if (before_ == nullptr || received.mono_ns < before_->mono_ns) return;
    const std::uint64_t ns = received.mono_ns - before_->mono_ns;
    out_.span_ns += ns;
    if (out_.gaps.size() == kGapsKept && ns <= out_.gaps.back().ns) return;
    out_.gaps.push_back(
        {.ns = ns, .after_seq = before_->report.seq, .until_seq = received.report.seq, .at_wall_ns = before_->wall_ns});
    std::ranges::sort(out_.gaps, std::ranges::greater{}, &Gap::ns);
    if (out_.gaps.size() > kGapsKept) out_.gaps.pop_back();
  }

  Verdict& out_;
  std::map<Id, std::size_t> order_;
  const Received* before_ = nullptr;
};

// What was acknowledged, by number, each different content once.
std::vector<const Report*> acknowledged(const std::vector<const Received*>& ours, Verdict& out) {
  std::vector<const Report*> acks;
  for (const Received* received : ours) {
    if (received->report.event == Event::record) acks.push_back(&received->report);
  }
  const auto key = [](const Report* r) { return std::tie(r->seq, r->sum, r->run, r->nonce, r->disk); };
  std::ranges::sort(acks, {}, key);
  const auto same = [&key](const Report* a, const Report* b) { return key(a) == key(b); };
  std::vector<const Report*> kept;
  for (std::size_t i = 0; i < acks.size(); ++i) {
    const bool again = i > 0 && acks[i]->seq == acks[i - 1]->seq;
    if (!again) ++out.acknowledged;
    if (again) out.duplicated.push_back(acks[i]->seq);
    if (again && !same(acks[i], acks[i - 1])) out.two_contents.push_back(acks[i]->seq);
    if (!again || !same(acks[i], acks[i - 1])) kept.push_back(acks[i]);
  }
  tidy(out.duplicated);
  tidy(out.two_contents);
  return kept;
}

enum class Fate : std::uint8_t { there, lost, overwritten };

Fate fate_of(const Report& ack, const Ring& ring, const RingFindings& found) {
  if (ring.header_state != BlockState::valid) return Fate::lost;
  if (ack.disk != ring.header.disk) return Fate::lost;  // the disk was replaced under the VM
  const Record* record = find_record(ring, ack.seq);
  if (record != nullptr) return record->sum == ack.sum ? Fate::there : Fate::lost;
  return ack.seq < found.first ? Fate::overwritten : Fate::lost;
}

void judge_leg(const Leg& leg, const std::vector<const Report*>& acks, Verdict& out) {
  LegVerdict verdict{.path = leg.path, .header = leg.ring.header_state, .found = examine(leg.ring), .lost = {}};
  verdict.lost = verdict.found.missing;
  Seqs overwritten;
  for (const Report* ack : acks) {
    const Fate fate = fate_of(*ack, leg.ring, verdict.found);
    if (fate == Fate::lost) verdict.lost.push_back(ack->seq);
    if (fate == Fate::overwritten) overwritten.push_back(ack->seq);
    // The block after the newest is excused as a write cut off, but not if it was acknowledged.
    if (fate == Fate::lost && verdict.found.in_flight && ack->seq == verdict.found.last + 1)
      verdict.found.torn.push_back(ack->seq);
  }
  tidy(verdict.lost);
  tidy(overwritten);
  tidy(verdict.found.torn);
  out.overwritten = std::max<std::uint64_t>(out.overwritten, overwritten.size());
  add(out.lost, verdict.lost);
  add(out.torn, verdict.found.torn);
  add(out.duplicated, verdict.found.misplaced);
  add(out.interleaved, verdict.found.interleaved);
  add(out.chain, verdict.found.chain);
  add(out.foreign, verdict.found.foreign);
  out.legs.push_back(std::move(verdict));
}

}  // namespace

Result<Log> read_log(std::istream& in) {
  constexpr std::string_view kCutOff = " # cut off";  // put there by the next collector
  Log log;
  std::string line;
  for (std::size_t lines = 0; std::getline(in, line); ++lines) {
    if (lines == kMaxLogLines) return Error{"the log has too many lines"};
    const bool whole = !in.eof();  // the last line of a killed collector has no end
    if (!whole || line.starts_with('#') || line.ends_with(kCutOff)) continue;
    auto received = parse_received(line);
    if (received)
      log.reports.push_back(std::move(*received));
    else
      ++log.malformed;
  }
  if (in.bad()) return Error{"the log cannot be read"};
  return log;
}

bool Verdict::clean() const {
  return acknowledged > 0 && lost.empty() && torn.empty() && duplicated.empty() && doubled() == 0 && foreign.empty() &&
         guest_errors.empty() && malformed == 0 && (!differ.has_value() || differ->empty());
}

Result<Verdict> judge(const Log& log, std::span<const Leg> legs, std::optional<Mac> vm, std::optional<Seqs> differ) {
  if (legs.empty()) return Error{"no leg to judge"};
  Verdict out;
  out.malformed = log.malformed;
  out.differ = std::move(differ);
  if (!vm && !log.reports.empty()) {
    const auto chosen = choose_vm(log, legs);
    if (!chosen) return chosen.error();
    vm = *chosen;
  }
  out.vm = vm;

  std::vector<const Received*> ours;
  LogReader reader(out);
  for (const Received& received : log.reports) {
    // The disk as well as the address: a VM whose network card was replaced is still the same.
    const bool same_disk = std::ranges::any_of(legs, [&](const Leg& leg) {
      return leg.ring.header_state == BlockState::valid && leg.ring.header.disk == received.report.disk;
    });
    if (received.report.mac != vm && !same_disk) {
      ++out.other_reports;
      continue;
    }
    ours.push_back(&received);
    reader.take(received);
  }
  tidy(out.late);
  const auto acks = acknowledged(ours, out);
  for (const Leg& leg : legs) judge_leg(leg, acks, out);
  for (Seqs* seqs : {&out.lost, &out.torn, &out.duplicated, &out.interleaved, &out.chain, &out.foreign}) tidy(*seqs);
  return out;
}

}  // namespace bascule::ledger
