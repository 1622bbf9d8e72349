// The verdict, for people and for programs.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "images/guest/judge.hpp"

namespace bascule::ledger {
namespace {

using nlohmann::json;

constexpr std::size_t kShown = 10;  // numbers named per finding; the count is always whole
constexpr double kNsPerSecond = 1e9;

double seconds(std::uint64_t ns) { return static_cast<double>(ns) / kNsPerSecond; }

std::string seconds_text(std::uint64_t ns) {
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "%.3f s", seconds(ns));
  return out.data();
}

Seqs shown(const Seqs& seqs) {
  return {seqs.begin(), seqs.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, seqs.size()))};
}

const char* word(BlockState header) {
  switch (header) {
    case BlockState::zero: return "empty";
    case BlockState::valid: return "valid";
    case BlockState::bad: return "damaged";
  }
  return "?";
}

void line(std::string& out, const char* name, const Seqs& seqs) {
  out += "  " + std::string(name) + ": " + std::to_string(seqs.size());
  for (std::size_t i = 0; i < std::min(kShown, seqs.size()); ++i)
    out += (i == 0 ? "  (" : ", ") + std::to_string(seqs[i]);
  if (!seqs.empty()) out += seqs.size() > kShown ? ", ...)" : ")";
  out += "\n";
}

json leg_json(const LegVerdict& leg) {
  return {{"path", leg.path},
          {"header", word(leg.header)},
          {"first", leg.found.first},
          {"last", leg.found.last},
          {"in_flight", leg.found.in_flight},
          {"lost", leg.lost.size()},
          {"torn", leg.found.torn.size()}};
}

json gap_json(const Gap& gap) {
  return {{"seconds", seconds(gap.ns)},
          {"after_seq", gap.after_seq},
          {"until_seq", gap.until_seq},
          {"at", seconds(gap.at_wall_ns)}};
}

json run_json(const Run& run) {
  return {{"id", to_text(run.id)}, {"first_seq", run.first_seq}, {"last_seq", run.last_seq}, {"reports", run.reports}};
}

}  // namespace

std::string to_text(const Verdict& v) {
  std::string out = v.clean() ? "CLEAN" : "NOT CLEAN";
  out += ": " + std::to_string(v.acknowledged) + " records acknowledged by " +
         (v.vm ? to_text(*v.vm) : std::string("nobody")) + " in " + std::to_string(v.runs.size()) + " run(s) over " +
         seconds_text(v.span_ns) + "\n";
  if (v.acknowledged == 0) out += "  nothing was acknowledged: this proves nothing\n";
  line(out, "lost", v.lost);
  line(out, "torn", v.torn);
  line(out, "duplicated", v.duplicated);
  line(out, "two runners: reports of an older run after a newer began", v.late);
  line(out, "two runners: one number, two contents", v.two_contents);
  line(out, "two runners: runs interleaved on a leg", v.interleaved);
  line(out, "two runners: record does not follow the one before it", v.chain);
  if (!v.foreign.empty()) line(out, "records of another disk", v.foreign);
  if (v.differ) line(out, "blocks in which the legs differ", *v.differ);
  if (v.overwritten > 0) out += "  overwritten since, not judged: " + std::to_string(v.overwritten) + "\n";
  if (v.malformed > 0) out += "  log lines that are no report: " + std::to_string(v.malformed) + "\n";
  for (const std::string& error : v.guest_errors) out += "  the guest reported: " + error + "\n";
  if (!v.gaps.empty())
    out += "  longest gap between reports: " + seconds_text(v.gaps[0].ns) + " after record " +
           std::to_string(v.gaps[0].after_seq) + "\n";
  for (const LegVerdict& leg : v.legs)
    out += "  leg " + leg.path + ": " + word(leg.header) + " header, newest record " + std::to_string(leg.found.last) +
           ", lost " + std::to_string(leg.lost.size()) + ", torn " + std::to_string(leg.found.torn.size()) + "\n";
  return out;
}

std::string to_json(const Verdict& v) {
  json out = {{"ok", v.clean()},
              {"vm", v.vm ? json(to_text(*v.vm)) : json()},
              {"acknowledged", v.acknowledged},
              {"lost", v.lost.size()},
              {"torn", v.torn.size()},
              {"duplicated", v.duplicated.size()},
              {"double", v.doubled()},
              {"overwritten", v.overwritten},
              {"other_reports", v.other_reports},
              {"malformed", v.malformed},
              {"foreign", v.foreign.size()},
              {"guest_errors", v.guest_errors},
              {"legs_differ", v.differ ? json(v.differ->size()) : json()},
              {"seconds", seconds(v.span_ns)},
              {"longest_gap", v.gaps.empty() ? json() : gap_json(v.gaps[0])},
              {"gaps", json::array()},
              {"runs", json::array()},
              {"legs", json::array()}};
  out["signs_of_two_runners"] = {{"late", v.late.size()},
                                 {"two_contents", v.two_contents.size()},
                                 {"interleaved", v.interleaved.size()},
                                 {"chain", v.chain.size()}};
  out["examples"] = {{"lost", shown(v.lost)},
                     {"torn", shown(v.torn)},
                     {"duplicated", shown(v.duplicated)},
                     {"late", shown(v.late)},
                     {"two_contents", shown(v.two_contents)},
                     {"interleaved", shown(v.interleaved)},
                     {"chain", shown(v.chain)}};
  for (const Gap& gap : v.gaps) out["gaps"].push_back(gap_json(gap));
  for (const Run& run : v.runs) out["runs"].push_back(run_json(run));
  for (const LegVerdict& leg : v.legs) out["legs"].push_back(leg_json(leg));
  return out.dump(2) + "\n";
}

}  // namespace bascule::ledger
