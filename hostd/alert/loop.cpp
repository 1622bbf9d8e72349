#include "hostd/alert/loop.hpp"

#include <boost/asio/post.hpp>

#include "hostd/runtime/background.hpp"
#include "hostd/runtime/certificate.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::alert {
namespace asio = boost::asio;
using core::Mono;
using runtime::Clock;

namespace {
constexpr std::size_t kThreads = 4;                // a server that hangs does not hold up the others
constexpr std::size_t kSendingMost = 16;           // beyond the threads' own: they wait their turn
constexpr std::chrono::milliseconds kBreath{200};  // a round looks at every VM: not at every change of a burst
constexpr std::chrono::seconds kTick{1};           // until something may change by the passing of time alone
constexpr std::chrono::hours kCertificates{1};
}  // namespace

Loop::Loop(runtime::CellStore& cell, const Settings& settings, const std::string& cell_name, std::string instance,
           std::vector<std::string> certificates)
    : cell_(cell),
      settings_(settings),
      instance_(std::move(instance)),
      certificates_(std::move(certificates)),
      sender_(cell_name, cell.self(), settings),
      threads_(kThreads) {}

Loop::~Loop() {
  sender_.stop();
  threads_.join();
}

void Loop::look_at_certificates() {
  const auto now = Clock::now();
  if (!ends_.empty() && now - looked_ < kCertificates) return;
  looked_ = now;
  for (const auto& path : certificates_) {
    if (auto end = runtime::certificate_end(path))
      ends_[path] = *end * 1000;
    else
      say(msg::certificate_unreadable, {.host = cell_.self()}, "alerts: {}", end.error().what);
  }
}

core::AlertFacts Loop::facts() {
  look_at_certificates();
  core::AlertFacts f;
  f.now = std::chrono::duration_cast<Mono>(Clock::now().time_since_epoch());
  f.wall = runtime::wall_ms();
  f.instance = instance_;
  f.busy = busy_;
  f.sending = sending_;
  f.outcomes = outcomes_;
  f.certificates = ends_;
  const auto health = cell_.store_health();
  f.voters = health.members.size();
  for (const auto& member : health.members) {
    if (!member.reachable || !member.has_leader || !member.fault.empty()) f.voters_lost.insert(member.endpoint);
  }
  return f;
}

asio::awaitable<void> Loop::write(core::AlertWrite write) {
  std::vector<std::string> ids;
  for (const auto& change : write) ids.push_back(change.id);
  auto task = cell_.write_alerts(std::move(write));
  auto done = co_await std::move(task);
  // Another host may have been faster. Whatever it was: the next round decides on what is there then.
  if (!done && done.error().code != core::Errc::stale) {
    say(msg::alert_not_recorded, {.alert = ids.front()}, "alert {}: {}", ids.front(), done.error().what);
  }
  for (const auto& id : ids) busy_.erase(id);
  cell_.changed().notify();
}

void Loop::send(core::AlertMessage message) {
  if (sending_.size() >= kSendingMost || !sending_.insert(message.job).second) return;
  asio::post(threads_, [this, io = cell_.changed().executor(), message = std::move(message)] {
    auto outcome = sender_.send(message);
    asio::post(io, [this, job = message.job, outcome = std::move(outcome)] { ended(job, outcome); });
  });
}

void Loop::ended(const core::AlertJob& job, core::AlertOutcome outcome) {
  if (outcome.sent)
    say(msg::alert_sent, {.alert = job.second}, "alert {} sent to {}{}", job.second, job.first,
        outcome.error.empty() ? "" : ": " + outcome.error);
  else
    say(msg::alert_not_sent, {.alert = job.second}, "alert {} not sent to {}, it is tried again: {}", job.second,
        job.first, outcome.error);
  sending_.erase(job);
  outcomes_[job] = std::move(outcome);
  cell_.changed().notify();
}

asio::awaitable<void> Loop::run() {
  if (settings_.rules.lists.empty()) co_return;
  if (auto ok = check_files(settings_); !ok)
    say(msg::alerts_wrong, {.host = cell_.self()}, "alerts: {}. Alerts to that list do not go out", ok.error().what);
  while (true) {
    const auto seen = cell_.changed().count();
    auto round = core::alert_round(cell_.view(), cell_.alerts(), settings_.rules, facts(), memory_, cell_.self());
    for (const auto& job : round.settled) outcomes_.erase(job);
    for (auto& one : round.writes) {
      for (const auto& change : one) busy_.insert(change.id);
      auto task = write(std::move(one));
      runtime::run_in_background(cell_.changed().executor(), "an alert's record", std::move(task));
    }
    for (auto& message : round.sends) send(std::move(message));
    co_await runtime::pause(kBreath);
    co_await cell_.changed().wait(seen, Clock::now() + kTick);
  }
}

}  // namespace bascule::alert
