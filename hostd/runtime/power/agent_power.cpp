#include "hostd/runtime/power/agent_power.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "hostd/runtime/process.hpp"
#include "hostd/runtime/spawn.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

// fence-agents: exit codes of an agent (FENCE-AGENT API).
constexpr int kDone = 0;
constexpr int kStatusIsOff = 2;

bool key_ok(std::string_view key) {
  return !key.empty() && key.size() <= 64 && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

/// The secret lines of a switch. Never shown.
Result<std::string> secrets(const std::string& path) {
  if (path.empty()) return std::string{};
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat about{};
  if (fd.get() < 0 || ::fstat(fd.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    return fail(Errc::io, "the secret file " + path + " cannot be read");
  }
  if ((about.st_mode & 0077) != 0 || about.st_size > static_cast<off_t>(AgentPower::max_secret_bytes)) {
    return fail(Errc::invalid, "the secret file " + path + " is readable by others (chmod 600), or too large");
  }
  std::string text(static_cast<std::size_t>(about.st_size), '\0');
  const auto got = ::read(fd.get(), text.data(), text.size());
  if (got != about.st_size) return fail(Errc::io, "the secret file " + path + " cannot be read whole");
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

/// What an agent said last, for people. Agents do not print their options.
std::string last_words(const std::string& text) {
  auto end = text.find_last_not_of(" \n\r");
  if (end == std::string::npos) return {};
  const auto begin = text.rfind('\n', end);
  return ": " + text.substr(begin == std::string::npos ? 0 : begin + 1, std::min<std::size_t>(end + 1, 200));
}

struct Said {
  int status{};
  std::string words;
};

asio::awaitable<Result<Said>> call(const PowerSwitch power, std::string action) {
  auto secret = secrets(power.secret_file);
  if (!secret) co_return secret.error();
  Command command;
  command.argv = {power.agent};
  command.deadline = std::chrono::duration_cast<std::chrono::milliseconds>(power.timeout);
  command.max_output = 4096;
  // The answer of `off` counts only if the agent verifies it: method=onoff, never cycle.
  command.input = "action=" + action + "\nmethod=onoff\n" + *secret;
  for (const auto& [key, value] : power.options) command.input += key + '=' + value + '\n';
  auto done = co_await run(std::move(command));
  if (!done) co_return done.error();
  if (done->end == Outcome::End::deadline) {
    co_return fail(Errc::outcome_unknown,
                   fmt::format("{} {} gave no answer within {} s", power.agent, action, power.timeout.count()));
  }
  if (done->end != Outcome::End::exited) {
    co_return fail(Errc::outcome_unknown,
                   fmt::format("{} {} was ended by signal {}", power.agent, action, done->status));
  }
  co_return Said{done->status, last_words(done->err)};
}

}  // namespace

Result<> check(const PowerSwitch& power) {
  if (!power.agent.starts_with('/')) return fail(Errc::invalid, "agent '" + power.agent + "' is not an absolute path");
  if (!power.secret_file.empty() && !power.secret_file.starts_with('/')) {
    return fail(Errc::invalid, "secret_file '" + power.secret_file + "' is not an absolute path");
  }
  for (const auto& [key, value] : power.options) {
    if (!key_ok(key) || key == "action" || value.size() > 1024 || value.find('\n') != std::string::npos ||
        value.find('\0') != std::string::npos) {
      return fail(Errc::invalid, "option '" + key + "' is not one line key=value of an agent");
    }
  }
  return {};
}

asio::awaitable<Result<>> AgentPower::off(std::string host) {
  const auto it = switches_.find(host);
  if (it == switches_.end()) co_return fail(Errc::not_found, "there is no power switch for host " + host);
  const PowerSwitch power = it->second;
  auto switching = call(power, "off");
  auto done = co_await std::move(switching);
  if (!done) co_return done.error();
  if (done->status != kDone) {
    co_return fail(Errc::refused,
                   fmt::format("{} off of {} ended with {}{}", power.agent, host, done->status, done->words));
  }
  auto asking = call(power, "status");
  auto status = co_await std::move(asking);
  if (!status) co_return status.error();
  if (status->status != kStatusIsOff) {
    co_return fail(Errc::refused, fmt::format("{} says after switching {} off that it is not (status {})", power.agent,
                                              host, status->status));
  }
  co_return Result<>{};
}

}  // namespace bascule::runtime
