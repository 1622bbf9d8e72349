#include "api/hostctl/session.hpp"

#include <sys/ioctl.h>
#include <unistd.h>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

std::optional<std::string> environment(const std::string& name) {
  const char* value = ::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

std::string memory_file() {
  const auto cache = environment("XDG_CACHE_HOME");
  if (cache && !cache->empty()) return *cache + "/bascule/endpoint";
  const auto home = environment("HOME");
  return home && !home->empty() ? *home + "/.cache/bascule/endpoint" : std::string();
}

std::size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void write_all(std::FILE* to, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), to);
  std::fflush(to);
}

/// An error may hold lines of its own; each is made safe, the breaks stay.
std::string safe_lines(const std::string& text) {
  std::string out;
  std::size_t from = 0;
  while (from <= text.size()) {
    const std::size_t to = std::min(text.find('\n', from), text.size());
    out += (from == 0 ? "" : "\n") + safe(std::string_view(text).substr(from, to - from));
    from = to + 1;
  }
  return out;
}

}  // namespace

std::int64_t now_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

Session::Session(Args& a, CLI::App& tree)
    : args(a), app(tree), tty(::isatty(STDOUT_FILENO) == 1), error_tty(::isatty(STDERR_FILENO) == 1) {
  const auto no_color = environment("NO_COLOR");
  const auto term = environment("TERM");
  colour = tty && !a.no_color && !(no_color && !no_color->empty()) && term.value_or("") != "dumb";
  columns = tty ? terminal_columns() : 0;
}

core::Result<Client*> Session::client() {
  if (client_) return client_.get();
  auto file = find_config(environment);
  if (!file) return file.error();
  auto settings = settle(args.given, environment, *file);
  if (!settings) return settings.error();
  if (hurry_s_ > 0) settings->timeout_s = hurry_s_;
  auto transport = Transport::make(*settings);
  if (!transport) return transport.error();
  client_ = std::make_unique<Client>(std::move(*settings), std::move(*transport), memory_file());
  return client_.get();
}

core::Result<std::string> Session::ca() const {
  auto file = find_config(environment);
  if (!file) return file.error();
  return settle_ca(args.given, environment, *file);
}

void Session::print(const std::string& text) { write_all(stdout, text); }
void Session::note(const std::string& text) { write_all(stderr, text); }

Exit Session::fail(const core::Error& error) {
  note(paint(colour && error_tty, Colour::red, "hostctl:") + " " + safe_lines(error.what) + "\n");
  return exit_of(error.code);
}

const std::string& Session::key() {
  if (key_.empty()) key_ = args.idempotency_key.empty() ? new_key() : args.idempotency_key;
  return key_;
}

}  // namespace bascule::hostctl
