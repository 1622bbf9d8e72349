#include "tests/sim/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <tuple>

namespace bascule::sim {
using core::Errc;
using core::fail;

namespace {
constexpr Us kWindow = 20 * kSecond;  // in which faults begin
constexpr int kMostActs = 6;

/// "12.5s" or "300ms".
core::Result<Us> parse_time(std::string text) {
  const bool ms = text.ends_with("ms");
  if (!text.ends_with('s')) return fail(Errc::invalid, "a time ends in s or ms: " + text);
  text.resize(text.size() - (ms ? 2 : 1));
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != '\0' || value < 0 || value > 1e6) return fail(Errc::invalid, "no time: " + text);
  return static_cast<Us>(value * static_cast<double>(ms ? kMs : kSecond));
}

std::string time_text(Us us) { return fmt::format("{:.3f}s", static_cast<double>(us) / static_cast<double>(kSecond)); }

/// The shortest takeover time that the sum of S8 allows, and no look beyond it: nothing is left to spare.
void make_tight(core::Timing& t) {
  t.takeover = core::least_takeover(t);
  t.verifications = 0;
}
bool tight(const core::Timing& t) { return t.verifications == 0; }

std::string target(Rng& rng, const Schedule& s, Where where) {
  const char* hosts[] = {"a1", "b1", "a2", "b2"};
  const char* members[] = {"a1", "b1", "witness"};
  switch (where) {
    case Where::host: return hosts[rng.in(0, s.options.four_hosts ? 3 : 1)];
    case Where::vm: return "vm" + std::to_string(rng.in(1, s.vms));
    case Where::member: return members[rng.in(0, 2)];
    case Where::nothing: break;
  }
  return "-";
}

}  // namespace

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"power-cut", Where::host, 10},    {"hang", Where::host, 8},
      {"hostd-kill", Where::host, 8},    {"hostd-hang", Where::host, 5},
      {"libvirtd-kill", Where::host, 4}, {"qemu-kill", Where::vm, 4},
      {"link-repl", Where::host, 10},    {"link-repl-out", Where::host, 3},
      {"link-mgmt", Where::host, 8},     {"link-mgmt-out", Where::host, 3},
      {"link-mgmt-in", Where::host, 3},  {"links-all", Where::host, 4},
      {"fibre", Where::nothing, 6},      {"witness-off", Where::nothing, 3},
      {"etcd-stop", Where::member, 5},   {"etcd-away", Where::nothing, 5},
      {"etcd-slow", Where::nothing, 4},  {"etcd-answers-lost", Where::nothing, 5},
      {"watch-lag", Where::nothing, 4},  {"compact", Where::nothing, 2},
      {"disk-error", Where::host, 5},    {"clock-jump", Where::host, 2},
      {"loss", Where::nothing, 3},       {"delay", Where::nothing, 3},
      {"helper-kill", Where::host, 2},   {"migrate", Where::vm, 14},
      {"failback", Where::vm, 4},        {"stop", Where::vm, 2},
      {"start", Where::vm, 3},           {"maintenance", Where::host, 3},
      {"failover", Where::vm, 2},        {"backup", Where::nothing, 0},
      {"etcd-lost", Where::nothing, 0},
  };
  return all;
}

Schedule draw(std::uint64_t seed) {
  Rng rng(seed * 0x9e3779b97f4a7c15ULL + 1);
  Schedule s;
  s.options.seed = seed;
  s.options.timing = *core::timing_profile("fast");
  s.options.timing.drbd_ping = core::Mono(1500);
  s.options.four_hosts = rng.chance(0.15);
  s.options.power_switch = rng.chance(0.3);
  s.options.watchdogs_fire = !rng.chance(0.1);
  if (seed % 3 == 0) make_tight(s.options.timing);
  s.vms = static_cast<int>(rng.in(1, 3));
  s.volumes = rng.chance(0.3) ? 2 : 1;
  int total = 0;
  for (const auto& k : kinds()) total += k.weight;
  const auto count = rng.in(1, kMostActs);
  for (std::int64_t i = 0; i < count; ++i) {
    auto dice = rng.in(0, total - 1);
    const auto* kind = kinds().data();
    while (dice >= kind->weight) dice -= (kind++)->weight;
    Act act;
    act.kind = kind->name;
    act.where = target(rng, s, kind->where);
    // Things that come together are worth more than things that come alone.
    const bool close = !s.acts.empty() && rng.chance(0.6);
    act.at = close ? s.acts.back().at + rng.in(0, 4 * kSecond) : rng.in(0, kWindow);
    act.length = rng.chance(0.3) ? rng.in(20 * kMs, kSecond) : rng.in(kSecond, 20 * kSecond);
    s.options.may_ask = s.options.may_ask || kind->asks;
    s.acts.push_back(std::move(act));
  }
  std::ranges::sort(s.acts, {}, [](const Act& a) { return std::tie(a.at, a.kind, a.where); });
  return s;
}

std::string to_text(const Schedule& s) {
  std::string out = fmt::format("cell seed={} hosts={} vms={} volumes={} power-switch={} watchdogs={} may-ask={}{}\n",
                                s.options.seed, s.options.four_hosts ? 4 : 2, s.vms, s.volumes,
                                s.options.power_switch ? "yes" : "no", s.options.watchdogs_fire ? "good" : "broken",
                                s.options.may_ask ? "yes" : "no", tight(s.options.timing) ? " timing=tight" : "");
  for (const auto& a : s.acts) {
    out += fmt::format("at {} {} {} for {}\n", time_text(a.at), a.kind, a.where, time_text(a.length));
  }
  return out;
}

core::Result<Schedule> parse(std::string_view text) {
  Schedule s;
  s.options.timing = *core::timing_profile("fast");
  s.options.timing.drbd_ping = core::Mono(1500);
  std::istringstream in{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const auto wrong = [&](const std::string& why) {
      return fail(Errc::invalid, fmt::format("line {}: {}: {}", number, why, line));
    };
    std::istringstream words(line);
    std::string word;
    if (!(words >> word) || word.front() == '#') continue;
    if (word == "cell") {
      while (words >> word) {
        const auto equals = word.find('=');
        if (equals == std::string::npos) return wrong("key=value is missing");
        const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
        const auto count = std::strtoull(value.c_str(), nullptr, 10);
        if (key == "seed")
          s.options.seed = count;
        else if (key == "hosts")
          s.options.four_hosts = count == 4;
        else if (key == "vms")
          s.vms = static_cast<int>(std::clamp<unsigned long long>(count, 1, 8));
        else if (key == "volumes")
          s.volumes = static_cast<int>(std::clamp<unsigned long long>(count, 1, 4));
        else if (key == "power-switch")
          s.options.power_switch = value == "yes";
        else if (key == "watchdogs")
          s.options.watchdogs_fire = value == "good";
        else if (key == "judge-one-runner")
          s.options.judge_one_runner = value == "yes";
        else if (key == "timing" && value == "tight")
          make_tight(s.options.timing);
        else if (key == "may-ask")
          s.options.may_ask = value == "yes";
        else
          return wrong("no such key");
      }
      continue;
    }
    std::string at, kind, where, how, length;
    if (word != "at" || !(words >> at >> kind >> where)) return wrong("`at TIME KIND WHERE [for TIME]` is expected");
    if (std::ranges::find(kinds(), kind, &Kind::name) == kinds().end()) return wrong("no such kind");
    Act act{0, kind, where, 0};
    auto begin = parse_time(at);
    if (!begin) return wrong(begin.error().what);
    act.at = *begin;
    if (words >> how >> length) {
      auto lasts = parse_time(length);
      if (how != "for" || !lasts) return wrong("`for TIME` is expected");
      act.length = *lasts;
    }
    s.acts.push_back(std::move(act));
  }
  std::ranges::sort(s.acts, {}, [](const Act& a) { return std::tie(a.at, a.kind, a.where); });
  return s;
}

Schedule shorten(const Schedule& schedule, const std::string& invariant) {
  const auto fails = [&](const Schedule& s) {
    const auto report = run(s);
    return !report.violations.empty() && report.violations.front().invariant == invariant;
  };
  Schedule best = schedule;
  for (bool again = true; again;) {
    again = false;
    for (std::size_t i = 0; i < best.acts.size(); ++i) {
      // Another order of random draws may hide it: a few seeds are tried for each act left out.
      for (std::uint64_t nudge = 0; nudge < 8 && !again; ++nudge) {
        Schedule fewer = best;
        fewer.acts.erase(fewer.acts.begin() + static_cast<std::ptrdiff_t>(i));
        fewer.options.seed += nudge * 7919;
        if (!fails(fewer)) continue;
        best = std::move(fewer);
        again = true;
      }
      if (again) break;
    }
  }
  return best;
}

}  // namespace bascule::sim
