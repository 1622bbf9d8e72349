#include "hostd/runtime/spawn.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bascule::runtime {
namespace {

using core::Errc;
using core::fail;
using core::Result;

std::string system_text(int error) { return std::error_code(error, std::generic_category()).message(); }

Result<> check(const Command& command) {
  if (command.argv.empty() || command.argv.front().empty() || command.argv.front().front() != '/') {
    return fail(Errc::invalid, "a command needs an absolute path; nothing was started");
  }
  if (command.argv.size() > ProcessLimits::argv_count) {
    return fail(Errc::invalid, command.argv.front() + ": too many arguments; nothing was started");
  }
  std::size_t bytes = 0;
  for (const auto* list : {&command.argv, &command.environment}) {
    for (const auto& text : *list) {
      bytes += text.size() + 1;
      if (text.find('\0') != std::string::npos) {
        return fail(Errc::invalid, command.argv.front() + ": an argument holds a NUL byte; nothing was started");
      }
    }
  }
  if (bytes > ProcessLimits::argv_bytes || command.input.size() > ProcessLimits::stdin_bytes ||
      command.max_output > ProcessLimits::output_bytes) {
    return fail(Errc::invalid, command.argv.front() + ": arguments or limits too large; nothing was started");
  }
  return {};
}

/// stdin as a memory file: the child reads at its own pace and nothing of ours can block or get
/// SIGPIPE.
Result<Descriptor> make_input(const std::string& input) {
  if (input.empty()) {
    Descriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (null.get() < 0) return fail(Errc::io, "cannot open /dev/null: " + system_text(errno));
    return null;
  }
  Descriptor memory(::memfd_create("stdin", MFD_CLOEXEC));
  if (memory.get() < 0) return fail(Errc::io, "cannot make a memory file: " + system_text(errno));
  std::size_t done = 0;
  while (done < input.size()) {
    const ssize_t n = ::write(memory.get(), input.data() + done, input.size() - done);
    if (n < 0) return fail(Errc::io, "cannot fill a memory file: " + system_text(errno));
    done += static_cast<std::size_t>(n);
  }
  if (::lseek(memory.get(), 0, SEEK_SET) != 0) return fail(Errc::io, "cannot rewind a memory file");
  return memory;
}

struct Pipe {
  Descriptor ours, theirs;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{-1, -1};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return fail(Errc::io, "cannot make a pipe: " + system_text(errno));
  Pipe pipe{Descriptor(fds[0]), Descriptor(fds[1])};
  if (::fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) return fail(Errc::io, "cannot set up a pipe");
  return pipe;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  list.reserve(texts.size() + 1);
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

/// posix_spawn's attribute and action objects, destroyed whatever happens.
struct SpawnSetup {
  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
  SpawnSetup() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  int prepare(int in, int out, int err) {
    sigset_t none;
    sigset_t all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    int rc = ::posix_spawn_file_actions_adddup2(&actions, in, 0);
    if (rc == 0) rc = ::posix_spawn_file_actions_adddup2(&actions, out, 1);
    if (rc == 0) rc = ::posix_spawn_file_actions_adddup2(&actions, err, 2);
    // Libraries may open descriptors without CLOEXEC; a child must not hold etcd's socket or the
    // watchdog.
    if (rc == 0) rc = ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (rc == 0) rc = ::posix_spawnattr_setpgroup(&attributes, 0);
    if (rc == 0) rc = ::posix_spawnattr_setsigmask(&attributes, &none);
    if (rc == 0) rc = ::posix_spawnattr_setsigdefault(&attributes, &all);
    if (rc == 0) {
      rc = ::posix_spawnattr_setflags(&attributes,
                                      POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    return rc;
  }
};

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}
int Descriptor::release() { return std::exchange(fd_, -1); }
void Descriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Spawned> spawn(const Command& command, bool keep_stderr) {
  if (auto ok = check(command); !ok) return ok.error();
  auto input = make_input(command.input);
  if (!input) return input.error();
  auto out = make_pipe();
  if (!out) return out.error();
  Pipe err;
  if (keep_stderr) {
    auto made = make_pipe();
    if (!made) return made.error();
    err = std::move(*made);
  } else {
    err.theirs = Descriptor(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  }

  SpawnSetup setup;
  int rc = setup.prepare(input->get(), out->theirs.get(), err.theirs.get());
  if (rc != 0) return fail(Errc::io, command.argv.front() + " cannot be prepared: " + system_text(rc));

  std::vector<std::string> arguments = command.argv;
  std::vector<std::string> environment = command.environment;
  environment.emplace_back("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
  environment.emplace_back("LC_ALL=C");
  const auto argv = pointers(arguments);
  const auto envp = pointers(environment);
  Spawned child;
  rc = ::posix_spawn(&child.pid, command.argv.front().c_str(), &setup.actions, &setup.attributes, argv.data(),
                     envp.data());
  if (rc == ENOENT || rc == EACCES || rc == ENOEXEC) {
    return fail(Errc::not_found, command.argv.front() + " cannot be run: " + system_text(rc) +
                                     "; nothing was done, install the package that brings it");
  }
  if (rc != 0) return fail(Errc::io, command.argv.front() + " cannot be started: " + system_text(rc));

  // The child is ours and not reaped, so its pid cannot belong to anybody else here.
  child.pidfd = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, child.pid, 0U)));
  if (child.pidfd.get() < 0) {
    const int error = errno;
    kill_group(child.pid);
    ::waitpid(child.pid, nullptr, 0);
    return fail(Errc::io, command.argv.front() + " cannot be watched: " + system_text(error) + "; it was killed");
  }
  child.out = std::move(out->ours);
  child.err = std::move(err.ours);
  return child;
}

void kill_group(pid_t pid) {
  if (pid > 0) ::kill(-pid, SIGKILL);
}

std::optional<int> try_reap(pid_t pid) {
  int status = 0;
  const pid_t done = ::waitpid(pid, &status, WNOHANG);
  if (done == pid) return status;
  if (done < 0 && errno == ECHILD) return 0;  // somebody else reaped it: nothing left to wait for
  return std::nullopt;
}

}  // namespace bascule::runtime
