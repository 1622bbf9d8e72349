#include "hostd/core/timing.hpp"

#include <fmt/format.h>

namespace bascule::core {
namespace {

Result<> no(const std::string& what) {
  return fail(Errc::invalid, "unsafe timing: " + what + "; hostd does not start with it");
}

}  // namespace

std::optional<Timing> timing_profile(std::string_view name) {
  if (name == "standard") return Timing{};
  if (name == "fast") {
    Timing t;
    t.renew = Mono(500);
    t.renew_timeout = Mono(1000);
    t.watchdog = Mono(4000);
    t.takeover = Mono(8000);
    t.hold = Mono(1500);
    t.suspect = Mono(2000);
    return t;
  }
  return std::nullopt;
}

Mono least_takeover(const Timing& t) {
  // safety: S1. The oldest proof a pet may rest on, the watchdog's time after that pet, the reset. [model:
  // F_takeover_time]
  const Mono dead = t.renew_timeout + t.watchdog * (t.watchdog_counts_twice ? 2 : 1) + t.reset_time;
  const int rho = Timing::clock_rate_error_percent;
  return Mono((dead.count() * (100 + rho) + (100 - rho) - 1) / (100 - rho));
}

Result<> check(const Timing& t) {
  for (const auto& [name, value] : {std::pair{"renew", t.renew},
                                    {"renew_timeout", t.renew_timeout},
                                    {"watchdog", t.watchdog},
                                    {"stop_time", t.stop_time},
                                    {"takeover", t.takeover},
                                    {"etcd_election", t.etcd_election},
                                    {"request", t.request},
                                    {"drbd_ping", t.drbd_ping},
                                    {"suspect", t.suspect}}) {
    if (value < Mono(1) || value > Mono(600'000)) {
      return no(fmt::format("{} is {} ms, outside 1 ms to 10 min", name, value.count()));
    }
  }
  if (t.reset_time < Mono(2000)) return no("reset_time is below 2000 ms: a watchdog's grain alone is 1 s");
  if (t.hold < Mono(0) || t.hold > Mono(60'000)) return no("hold is outside 0 to 60 s");
  if (t.verifications < 0 || t.verifications > 100) return no("verifications is outside 0 to 100");
  if (t.renew >= t.renew_timeout) {
    return no(
        fmt::format("renew ({} ms) is not below renew_timeout ({} ms)", t.renew.count(), t.renew_timeout.count()));
  }
  const Mono least = least_takeover(t);
  if (t.takeover < least) {
    return no(
        fmt::format("takeover ({} ms) < (renew_timeout {} + watchdog {}{} + reset_time {}) x 1.01 / 0.99 = {} ms: the "
                    "other host could still run the VM",
                    t.takeover.count(), t.renew_timeout.count(), t.watchdog_counts_twice ? "2 x " : "",
                    t.watchdog.count(), t.reset_time.count(), least.count()));
  }
  const Mono bridge = t.renew + 2 * t.etcd_election + t.request;
  if (stop_after_pet(t) <= bridge) {
    return no(
        fmt::format("watchdog {} - stop_time {} = {} ms <= renew {} + 2 x etcd_election {} + request {} = {} ms: the "
                    "loss of etcd's leader would stop healthy VMs",
                    t.watchdog.count(), t.stop_time.count(), stop_after_pet(t).count(), t.renew.count(),
                    t.etcd_election.count(), t.request.count(), bridge.count()));
  }
  if (t.drbd_ping >= t.takeover) {
    return no(fmt::format("drbd_ping ({} ms) is not below takeover ({} ms): a dead peer would still look alive to DRBD",
                          t.drbd_ping.count(), t.takeover.count()));
  }
  if (t.suspect <= t.renew_timeout || t.suspect > t.takeover) {
    return no(fmt::format("suspect ({} ms) is not between renew_timeout ({} ms) and takeover ({} ms)",
                          t.suspect.count(), t.renew_timeout.count(), t.takeover.count()));
  }
  return {};
}

std::string describe(const Timing& t) {
  return fmt::format("takeover {} ms >= (renew_timeout {} + watchdog {}{} + reset_time {}) x 1.01 / 0.99 = {} ms\n"
                     "watchdog {} - stop_time {} = {} ms > renew {} + 2 x etcd_election {} + request {} = {} ms\n"
                     "DRBD's ping-int + ping-timeout {} ms < takeover {} ms\n"
                     "a dead host's VMs begin to start elsewhere {} ms after its last renewal ({} verifications)\n",
                     t.takeover.count(), t.renew_timeout.count(), t.watchdog_counts_twice ? "2 x " : "",
                     t.watchdog.count(), t.reset_time.count(), least_takeover(t).count(), t.watchdog.count(),
                     t.stop_time.count(), stop_after_pet(t).count(), t.renew.count(), t.etcd_election.count(),
                     t.request.count(), (t.renew + 2 * t.etcd_election + t.request).count(), t.drbd_ping.count(),
                     t.takeover.count(), (t.takeover + t.verifications * t.renew).count(), t.verifications);
}

}  // namespace bascule::core
