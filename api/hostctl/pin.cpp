#include "api/hostctl/pin.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <cstring>

extern "C" char** environ;

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::fail;
using core::Result;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

/// The first line, without its end. Empty: nothing, or too much. A terminal gives one line at a time.
std::string first_line(int fd, bool one_read = false) {
  std::array<char, kMaxPin + 2> buffer{};
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t n = ::read(fd, buffer.data() + size, buffer.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    size += static_cast<std::size_t>(n);
    if (one_read) break;
  }
  const std::string_view all(buffer.data(), size);
  const std::string_view line = all.substr(0, all.find_first_of("\r\n"));
  std::string out(line.size() > kMaxPin ? std::string_view() : line);
  OPENSSL_cleanse(buffer.data(), buffer.size());
  return out;
}

Result<std::string> from_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  struct stat info{};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0) {
    return fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
  }
  if (!S_ISREG(info.st_mode) || (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fail(Errc::invalid, path + ": a PIN's file must be a file that only its owner can read: chmod 600");
  }
  std::string pin = first_line(file.get());
  if (pin.empty()) return fail(Errc::invalid, path + ": there is no PIN in its first line");
  return pin;
}

/// The program prints the PIN; its one argument says what is asked for.
Result<std::string> from_program(const std::string& program, const std::string& prompt) {
  if (!program.starts_with('/')) return fail(Errc::invalid, "askpass: '" + program + "' is not an absolute path");
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(Errc::io, std::string("pipe: ") + std::strerror(errno));
  Descriptor in(ends[0]), out(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  std::string words[] = {program, prompt};
  char* argv[] = {words[0].data(), words[1].data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  out.close();
  if (error != 0) return fail(Errc::io, fmt::format("askpass: {}: {}", program, std::strerror(error)));
  std::string pin = first_line(in.get());
  in.close();
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || pin.empty()) {
    wipe(pin);
    return fail(Errc::cancelled, "askpass: " + program + " gave no PIN; nothing was sent");
  }
  return pin;
}

constexpr char kInterrupt = 0x03;  // Ctrl-C

/// A terminal that shows nothing of what is typed, until it goes: also not what was typed before it was asked for.
class Silent {
 public:
  explicit Silent(int fd) : fd_(fd), good_(::tcgetattr(fd, &before_) == 0) {
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG);  // Ctrl-C ends the line, and with it the question
    quiet.c_cc[VEOL] = kInterrupt;
    good_ = good_ && ::tcsetattr(fd, TCSAFLUSH, &quiet) == 0;
  }
  ~Silent() {
    if (good_) ::tcsetattr(fd_, TCSAFLUSH, &before_);
  }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;
  bool good() const { return good_; }

 private:
  int fd_;
  termios before_{};
  bool good_;
};

Result<std::string> from_terminal(const std::string& prompt) {
  const Descriptor terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (terminal.get() < 0) {
    return fail(Errc::invalid,
                "the card's PIN is needed and there is no terminal to ask on: give pin_file or askpass in "
                "hostctl.toml, or BASCULE_PIN_FILE or BASCULE_ASKPASS");
  }
  const Silent silent(terminal.get());
  if (!silent.good()) return fail(Errc::io, "the terminal would show the PIN; it is not asked for");
  const auto say = [&](std::string_view text) { return ::write(terminal.get(), text.data(), text.size()) >= 0; };
  std::string pin = say(prompt) ? first_line(terminal.get(), true) : std::string();
  say("\n");
  if (pin.empty() || pin.back() == kInterrupt) {
    wipe(pin);
    return fail(Errc::cancelled, "no PIN was given; nothing was sent");
  }
  return pin;
}

}  // namespace

void wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

Result<std::string> read_pin(const Settings& settings, const std::string& what) {
  const std::string prompt = "PIN of " + what + ": ";
  if (!settings.pin_file.empty()) return from_file(settings.pin_file);
  if (!settings.askpass.empty()) return from_program(settings.askpass, prompt);
  return from_terminal(prompt);
}

}  // namespace bascule::hostctl
