// Child processes without a shell, as awaitables. Thread rule: everything here belongs to the
// executor it is given (one thread). A child gets an argv, an absolute path, a fixed environment,
// no inherited descriptor but 0, 1 and 2, and a process group of its own, so that it can be ended
// together with what it started.
#pragma once

#include <sys/types.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::runtime {

using Argv = std::vector<std::string>;

struct ProcessLimits {
  static constexpr std::size_t argv_count = 256;
  static constexpr std::size_t argv_bytes = 64 * 1024;  // far below the kernel's ARG_MAX
  static constexpr std::size_t stdin_bytes = 1024 * 1024;
  static constexpr std::size_t output_bytes = 8 * 1024 * 1024;  // ceiling for what a caller may ask to keep
  static constexpr std::size_t line_bytes = 64 * 1024;
  /// Killed, yet not gone after this long: it hangs in the kernel. It is left to be reaped when it
  /// returns.
  static constexpr std::chrono::milliseconds reap_grace{2000};
  /// After the child's end, a grandchild that keeps the output open is waited for no longer than
  /// this.
  static constexpr std::chrono::milliseconds drain_grace{200};
};

struct Command {
  Argv argv;                                   ///< argv[0] is an absolute path
  std::chrono::milliseconds deadline{30'000};  ///< from the start; then the whole group is killed
  std::size_t max_output{256 * 1024};    ///< kept bytes of each of stdout and stderr; the rest is read and dropped
  std::string input;                     ///< what the child reads on stdin; empty = /dev/null
  std::vector<std::string> environment;  ///< NAME=value, added to PATH and LC_ALL=C
};

struct Outcome {
  enum class End : std::uint8_t {
    exited,     ///< `status` is the exit code
    signalled,  ///< by somebody else; `status` is the signal
    deadline,   ///< killed by us: what it was doing may or may not have happened
  };
  End end{End::exited};
  int status{};
  std::string out, err;
  bool truncated{};    ///< more was written than `max_output`
  bool still_alive{};  ///< deadline, and it did not die: it hangs in the kernel
  bool ok() const { return end == End::exited && status == 0; }
};

/// Runs a command to its end. Errors: invalid (argv not usable, nothing was started), not_found (no
/// such program), io (cannot start), cancelled (the awaiting coroutine was cancelled; the group has
/// been killed and what it was doing may or may not have happened). A command that ran is never an
/// error here, whatever its exit code.
boost::asio::awaitable<core::Result<Outcome>> run(Command command);

/// Children that outlived their deadline and are still alive in the kernel. Zero in a healthy
/// daemon.
std::size_t unreaped_children();

/// A long-lived child read line by line (events2). Destruction kills and reaps it in the
/// background.
class LineProcess {
 public:
  LineProcess(const LineProcess&) = delete;
  LineProcess& operator=(const LineProcess&) = delete;
  ~LineProcess();

  /// Errors as for `run`. `command.deadline` and `max_output` are not used.
  static core::Result<std::unique_ptr<LineProcess>> start(const boost::asio::any_io_executor& executor,
                                                          const Command& command);

  /// The next line without its newline. Errors: not_found = end of output (the child ended or
  /// closed it), invalid = a line longer than ProcessLimits::line_bytes (the stream cannot be
  /// trusted any more), io, cancelled, timeout. One call at a time.
  boost::asio::awaitable<core::Result<std::string>> next_line(
      std::optional<std::chrono::milliseconds> deadline = std::nullopt);

  pid_t pid() const;
  /// Kills the group. `next_line` then ends with an error.
  void stop();

 private:
  struct State;
  explicit LineProcess(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace bascule::runtime
