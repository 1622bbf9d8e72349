#include "storage/tool.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>

#include "hostd/runtime/spawn.hpp"

namespace bascule::storage {
namespace {
constexpr std::size_t kMaxWords = 400;
constexpr std::size_t kMaxOutput = 4 * 1024 * 1024;  // lvs of a large group; everything else is far smaller
}  // namespace

Task<runtime::Outcome> run_tool(runtime::Argv argv, Effect effect, std::chrono::milliseconds deadline) {
  using core::Errc;
  using core::fail;
  const std::string tool = argv.empty() ? std::string{} : argv.front();
  const std::string verb = argv.size() > 1 ? argv[1] : std::string{};
  runtime::Command command;
  command.argv = std::move(argv);
  command.deadline = deadline;
  command.max_output = kMaxOutput;
  auto outcome = co_await runtime::run(std::move(command));
  const bool changes = effect == Effect::changes;
  if (!outcome) {
    core::Error error = outcome.error();
    if (error.code == Errc::not_found) error.code = Errc::unavailable;
    if (error.code == Errc::cancelled && changes) error.code = Errc::outcome_unknown;
    co_return error;
  }
  if (outcome->end == runtime::Outcome::End::exited) {
    if (outcome->truncated) co_return fail(Errc::io, fmt::format("{} {} wrote too much to be read", tool, verb));
    co_return std::move(*outcome);
  }
  const std::string how =
      outcome->end == runtime::Outcome::End::signalled ? fmt::format("was ended by signal {}", outcome->status)
      : outcome->still_alive
          ? fmt::format("hangs in the kernel after {} s and cannot be killed", deadline.count() / 1000)
          : fmt::format("was killed after {} s", deadline.count() / 1000);
  if (changes) {
    co_return fail(Errc::outcome_unknown,
                   fmt::format("{} {} {}; what it was to change may or may not have happened", tool, verb, how));
  }
  co_return fail(Errc::timeout, fmt::format("{} {} {}; it only reads, nothing was changed", tool, verb, how));
}

std::string said(const runtime::Outcome& outcome) {
  const std::string& source = outcome.err.empty() ? outcome.out : outcome.err;
  std::string text;
  for (const char c : source) {
    if (text.size() >= kMaxWords) break;
    const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (space) {
      if (!text.empty() && text.back() != ' ') text += ' ';
    } else {
      text += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
    }
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.empty() ? "it said nothing" : text;
}

core::Error refusal(std::string_view what, const runtime::Outcome& outcome) {
  return core::fail(core::Errc::refused, fmt::format("{}: {} (exit {})", what, said(outcome), outcome.status));
}

bool claimed(const std::string& device) {
  const runtime::Descriptor fd(::open(device.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  return fd.get() < 0 && errno == EBUSY;
}

}  // namespace bascule::storage
