// bascule-sim: the shipped hostd through many simulated faults. See docs/proof.md.
#include <fmt/format.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/sim/schedule.hpp"

namespace bascule::sim {
namespace {

// Each line at once: a run that does not end has a story, too.
void story_line(Us at, std::string_view who, std::string_view what) {
  fmt::print("{:10.3f} {:<9} {}\n", static_cast<double>(at) / static_cast<double>(kSecond), who, what);
  std::fflush(stdout);
}

/// hostd's own log, as part of the story.
class StorySink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    auto* engine = Engine::current();
    if (engine == nullptr) return;
    const auto level = spdlog::level::to_string_view(message.level);
    const auto* process = engine->running();
    engine->say(process == nullptr ? "-" : process->name(),
                fmt::format("  {}: {}", std::string_view(level.data(), level.size()),
                            std::string_view(message.payload.data(), message.payload.size())));
  }
  void flush_() override {}
};

void log_to_story(bool on) {
  if (on) {
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("sim", std::make_shared<StorySink>()));
    spdlog::set_level(spdlog::level::info);
  } else {
    spdlog::set_level(spdlog::level::off);
  }
}

int tell_story(const Schedule& schedule) {
  log_to_story(true);
  std::cout << to_text(schedule);
  const auto report = run(schedule, story_line);
  log_to_story(false);
  for (const auto& v : report.violations) fmt::print("VIOLATION {}: {}\n", v.invariant, v.what);
  fmt::print("{:.1f} s simulated, {} events, {} writes confirmed, {} operations, {} for a person\n",
             static_cast<double>(report.simulated) / static_cast<double>(kSecond), report.events, report.acknowledged,
             report.operations, report.asked);
  return report.violations.empty() ? 0 : 1;
}

struct Totals {
  std::uint64_t schedules{}, simulated_s{}, events{}, acknowledged{}, operations{}, asked{}, acts{}, violations{};
  std::uint64_t first_bad{};  ///< seed + 1
};

Totals work(std::uint64_t seed, std::uint64_t count, std::uint64_t step, bool keep_going) {
  Totals t;
  for (std::uint64_t i = 0; i < count; i += step) {
    const auto schedule = draw(seed + i);
    const auto report = run(schedule);
    ++t.schedules;
    t.acts += schedule.acts.size();
    t.simulated_s += static_cast<std::uint64_t>(report.simulated / kSecond);
    t.events += report.events;
    t.acknowledged += report.acknowledged;
    t.operations += report.operations;
    t.asked += report.asked;
    if (report.violations.empty()) continue;
    ++t.violations;
    fmt::print("seed {}: {}: {}\n", seed + i, report.violations.front().invariant, report.violations.front().what);
    std::fflush(stdout);
    if (t.first_bad == 0) t.first_bad = seed + i + 1;
    if (!keep_going) break;
  }
  return t;
}

Totals in_parallel(std::uint64_t seed, std::uint64_t count, unsigned jobs, bool keep_going) {
  std::vector<int> pipes;
  for (unsigned j = 0; j < jobs; ++j) {
    std::array<int, 2> fds{};
    if (::pipe(fds.data()) != 0) std::abort();
    if (::fork() == 0) {
      const auto t = work(seed + j, count > j ? count - j : 0, jobs, keep_going);
      const bool sent = ::write(fds[1], &t, sizeof t) == static_cast<ssize_t>(sizeof t);
      ::_exit(sent ? 0 : 1);
    }
    ::close(fds[1]);
    pipes.push_back(fds[0]);
  }
  Totals all;
  for (const int fd : pipes) {
    Totals t;
    if (::read(fd, &t, sizeof t) != static_cast<ssize_t>(sizeof t)) {
      fmt::print("a worker ended by itself: that is a violation\n");
      t = {};
      t.violations = 1;
    }
    all.schedules += t.schedules;
    all.simulated_s += t.simulated_s;
    all.events += t.events;
    all.acknowledged += t.acknowledged;
    all.operations += t.operations;
    all.asked += t.asked;
    all.acts += t.acts;
    all.violations += t.violations;
    if (t.first_bad != 0 && (all.first_bad == 0 || t.first_bad < all.first_bad)) all.first_bad = t.first_bad;
    ::close(fd);
  }
  while (::wait(nullptr) > 0) {
  }
  return all;
}

int search(std::uint64_t seed, std::uint64_t count, unsigned jobs, bool keep_going) {
  const auto begin = std::chrono::steady_clock::now();
  const auto t = jobs > 1 ? in_parallel(seed, count, jobs, keep_going) : work(seed, count, 1, keep_going);
  const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (t.first_bad != 0 && !keep_going) {
    const auto bad = draw(t.first_bad - 1);
    const auto invariant = run(bad).violations.front().invariant;
    tell_story(shorten(bad, invariant));
  }
  fmt::print(
      "schedules={} faults-and-requests={} simulated-seconds={} confirmed-writes={} operations={} for-a-person={} "
      "violations={} in {:.1f} s ({:.0f}/s)\n",
      t.schedules, t.acts, t.simulated_s, t.acknowledged, t.operations, t.asked, t.violations, took,
      static_cast<double>(t.schedules) / took);
  return t.violations == 0 ? 0 : 1;
}

int play(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) {
    std::cerr << "cannot read " << path << "\n";
    return 2;
  }
  const auto schedule = parse(text.str());
  if (!schedule) {
    std::cerr << path << ": " << schedule.error().what << "\n";
    return 2;
  }
  return tell_story(*schedule);
}

}  // namespace
}  // namespace bascule::sim

int main(int argc, char** argv) {
  CLI::App app{"Simulated faults on the shipped decisions"};
  std::uint64_t seed = 1, schedules = 1000;
  unsigned jobs = 1;
  bool story = false, keep_going = false;
  std::string scenario;
  app.add_option("--seed", seed, "the first seed");
  app.add_option("--schedules", schedules, "how many, one seed after the other");
  app.add_option("--jobs", jobs, "processes")->check(CLI::Range(1, 256));
  app.add_flag("--story", story, "tell what happens with this seed");
  app.add_flag("--keep-going", keep_going, "do not end at the first violation");
  app.add_option("--scenario", scenario, "tell what happens in this file");
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(spdlog::level::off);
  if (!scenario.empty()) return bascule::sim::play(scenario);
  if (story) return bascule::sim::tell_story(bascule::sim::draw(seed));
  return bascule::sim::search(seed, schedules, jobs, keep_going);
}
