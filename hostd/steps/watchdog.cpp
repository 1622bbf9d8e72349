// A host's watchdog is made to fire, and the time it took is kept over the reset.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "hostd/steps/step.hpp"

namespace bascule::steps {
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr std::chrono::milliseconds kBeat{100};    // how exactly the time is known
constexpr std::chrono::milliseconds kEarly{1000};  // how far from its time-out a device may fire
constexpr int kTooLong = 2;                        // times the time-out: it does not fire at all

/// What stands on disk while the machine waits for its end.
struct Proving {
  std::string operation, boot;
  core::WallMs from{}, beat{};
};

std::string file_of(const Node& node) { return node.config.state_path + "/watchdog-prove"; }

Proving read(const std::string& file) {
  std::ifstream in(file);
  Proving p;
  in >> p.operation >> p.boot >> p.from >> p.beat;
  return in ? p : Proving{};
}

Result<> write(const std::string& file, const Proving& p) {
  const std::string text = fmt::format("{} {} {} {}\n", p.operation, p.boot, p.from, p.beat);
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const bool good =
      fd >= 0 && ::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()) && ::fdatasync(fd) == 0;
  if (fd >= 0) ::close(fd);
  if (!good) return fail(Errc::io, file + " cannot be written: the time would be lost; nothing was tried");
  return {};
}
}  // namespace

Answer prove_watchdog(Context c) {
  const std::string file = file_of(c.node);
  const auto* self = c.node.cell.view().host(c.self());
  if (self == nullptr) co_return fail(Errc::unavailable, "this host has not announced itself yet");
  const std::string boot = self->lease.value.boot;
  const Proving before = read(file);
  if (before.operation == c.op.id && before.boot != boot) {
    ::unlink(file.c_str());
    const auto took = std::chrono::milliseconds(before.beat - before.from);
    const auto wanted = c.node.config.timing.watchdog;
    if (took < wanted - kEarly - c.node.config.timing.renew || took > wanted + kEarly) {
      co_return fail(Errc::refused, fmt::format("the machine went down after {} ms, the watchdog's time-out is {} ms: "
                                                "something else may have ended it. Try again",
                                                took.count(), wanted.count()));
    }
    core::Outcome out =
        done(fmt::format("the machine was reset {} ms after the last pet (known to {} ms; time-out {})",
                         before.beat - before.from, kBeat.count(), c.node.config.timing.watchdog.count()));
    out.result["fired_after_ms"] = std::to_string(before.beat - before.from);
    co_return out;
  }
  if (auto armed = c.node.arm(); !armed) co_return armed.error();
  Proving now{c.op.id, boot, wall_ms(), wall_ms()};
  if (auto kept = write(file, now); !kept) co_return kept.error();
  co_await c.progress({.text = "not petted any more: the machine goes down within the time-out"});
  now.from = wall_ms();
  c.node.prove_watchdog(true);
  Result<> kept;
  const auto until = now.from + kTooLong * c.node.config.timing.watchdog.count();
  while (wall_ms() < until) {
    now.beat = wall_ms();
    kept = write(file, now);
    if (!kept || c.cancelled()) break;
    co_await pause(kBeat);
  }
  c.node.prove_watchdog(false);
  ::unlink(file.c_str());
  if (!kept) co_return kept.error();
  if (c.cancelled()) co_return fail(Errc::cancelled, "cancelled before it fired");
  co_return fail(Errc::refused, fmt::format("the watchdog of {} did NOT fire within {} ms. Run no VM here that must be "
                                            "safe without power fencing, and mend it (docs/failover.md)",
                                            c.self(), now.beat - now.from));
}

}  // namespace bascule::steps
