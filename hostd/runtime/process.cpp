#include "hostd/runtime/process.hpp"

#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <string_view>

#include "hostd/runtime/background.hpp"
#include "hostd/runtime/spawn.hpp"

namespace bascule::runtime {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using core::Errc;
using core::fail;
using core::Result;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kReadBytes = 16 * 1024;

std::atomic<std::size_t> unreaped{0};

/// One running child of `run`. Shared by the caller, the readers and the supervisor; freed when the
/// last one ends.
struct Child {
  explicit Child(const asio::any_io_executor& executor)
      : watch(executor), out(executor), err(executor), deadline(executor), finished(executor) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {  // only without a supervisor any more: the executor was destroyed
    if (!reaped) kill_group(pid);
  }

  asio::posix::stream_descriptor watch;  // the pidfd
  asio::posix::stream_descriptor out, err;
  asio::steady_timer deadline;
  asio::steady_timer finished;  // never expires: cancelled when `done`
  pid_t pid{-1};
  std::size_t max_output{};
  int readers{};
  bool expired{}, reaped{}, done{};
  Outcome outcome;

  void finish() {
    done = true;
    finished.cancel();
  }
};
using ChildPtr = std::shared_ptr<Child>;

asio::awaitable<void> read_all(ChildPtr child, asio::posix::stream_descriptor* from, std::string* into) {
  std::array<char, kReadBytes> block{};
  for (;;) {
    const auto [error, size] = co_await from->async_read_some(asio::buffer(block), kTuple);
    const std::size_t room = child->max_output - std::min(into->size(), child->max_output);
    into->append(block.data(), std::min(size, room));
    if (size > room) child->outcome.truncated = true;
    if (error) break;
  }
  // The last reader wakes a supervisor that waits for the output to end; before that the timer is
  // the deadline.
  if (--child->readers == 0 && child->reaped) child->deadline.cancel();
}

void record_status(Outcome& outcome, int status) {
  if (WIFSIGNALED(status)) {
    outcome.end = Outcome::End::signalled;
    outcome.status = WTERMSIG(status);
  } else {
    outcome.end = Outcome::End::exited;
    outcome.status = WEXITSTATUS(status);
  }
}

bool readable(int fd) {
  pollfd ask{fd, POLLIN, 0};
  return ::poll(&ask, 1, 0) == 1 && (ask.revents & POLLIN) != 0;
}

/// Waits until the pidfd says the child ended; false when the timer `deadline` fired first.
asio::awaitable<bool> wait_for_end(ChildPtr child, std::chrono::milliseconds limit) {
  child->expired = false;
  child->deadline.expires_after(limit);
  child->deadline.async_wait([child](error_code error) {
    if (error) return;
    child->expired = true;
    child->watch.cancel();
  });
  for (;;) {
    const auto [error] = co_await child->watch.async_wait(asio::posix::descriptor_base::wait_read, kTuple);
    if (child->expired) co_return false;
    if (error == asio::error::operation_aborted) continue;
    // The reactor may report a wait that began as another descriptor's state was given back to it: the kernel is asked.
    if (readable(child->watch.native_handle())) co_return true;
    if (error) co_return true;  // let waitpid say what is so
  }
}

asio::awaitable<void> supervise(ChildPtr child, std::chrono::milliseconds limit) {
  bool ended = co_await wait_for_end(child, limit);
  // Before reaping, while the pid cannot have been reused: nothing the child started survives it.
  kill_group(child->pid);
  if (!ended) {
    child->outcome.end = Outcome::End::deadline;
    ended = co_await wait_for_end(child, ProcessLimits::reap_grace);
    if (!ended) {
      ++unreaped;
      child->outcome.still_alive = true;
      child->finish();
      const auto [error] = co_await child->watch.async_wait(asio::posix::descriptor_base::wait_read, kTuple);
      static_cast<void>(error);
      --unreaped;
    }
    try_reap(child->pid);
  } else if (const auto status = try_reap(child->pid)) {
    record_status(child->outcome, *status);
  } else {
    child->outcome.end = Outcome::End::deadline;  // killed by us just above: whether it did its work is not known
  }
  child->reaped = true;
  child->deadline.cancel();
  if (child->readers > 0) {  // what is in the pipes still counts, but nobody may hold us up by keeping them open
    child->deadline.expires_after(ProcessLimits::drain_grace);
    const auto [error] = co_await child->deadline.async_wait(kTuple);
    static_cast<void>(error);
  }
  error_code ignored;
  child->out.close(ignored);
  child->err.close(ignored);
  child->finish();
}

}  // namespace

asio::awaitable<Result<Outcome>> run(Command command) {
  const auto executor = co_await asio::this_coro::executor;
  auto spawned = spawn(command, true);
  if (!spawned) co_return spawned.error();
  auto child = std::make_shared<Child>(executor);
  child->pid = spawned->pid;
  child->max_output = command.max_output;
  child->watch.assign(spawned->pidfd.release());
  child->out.assign(spawned->out.release());
  child->err.assign(spawned->err.release());
  child->readers = 2;
  child->finished.expires_at(asio::steady_timer::time_point::max());
  // The readers and the supervisor are coroutines of their own: a cancelled caller leaves, they
  // still reap.
  run_in_background(executor, "a process's output", read_all(child, &child->out, &child->outcome.out));
  run_in_background(executor, "a process's errors", read_all(child, &child->err, &child->outcome.err));
  run_in_background(executor, "the end of a process", supervise(child, command.deadline));

  const auto [error] = co_await child->finished.async_wait(kTuple);
  static_cast<void>(error);
  if (!child->done) {
    if (!child->reaped) kill_group(child->pid);
    co_return fail(Errc::cancelled, command.argv.front() + " was killed because its caller was cancelled; what it was "
                                                           "doing may or may not have happened");
  }
  co_return std::move(child->outcome);
}

std::size_t unreaped_children() { return unreaped.load(); }

struct LineProcess::State {
  explicit State(const asio::any_io_executor& executor) : watch(executor), out(executor), timer(executor) {}
  asio::posix::stream_descriptor watch, out;
  asio::steady_timer timer;
  pid_t pid{-1};
  bool reaped{}, timed_out{};
  std::string buffer;
  std::size_t scanned{};  // of `buffer`, known to hold no newline
  std::string name;
};

namespace {
template <class State>
asio::awaitable<void> reap(std::shared_ptr<State> state) {
  for (;;) {
    const auto [error] = co_await state->watch.async_wait(asio::posix::descriptor_base::wait_read, kTuple);
    if (try_reap(state->pid)) break;
    if (error) co_return;  // the executor is going away
  }
  state->reaped = true;
}
}  // namespace

LineProcess::LineProcess(std::shared_ptr<State> state) : state_(std::move(state)) {}

LineProcess::~LineProcess() {
  stop();
  error_code ignored;
  state_->out.cancel(ignored);
}

Result<std::unique_ptr<LineProcess>> LineProcess::start(const asio::any_io_executor& executor, const Command& command) {
  auto spawned = spawn(command, false);
  if (!spawned) return spawned.error();
  auto state = std::make_shared<State>(executor);
  state->pid = spawned->pid;
  state->watch.assign(spawned->pidfd.release());
  state->out.assign(spawned->out.release());
  state->name = command.argv.front();
  run_in_background(executor, "the end of a process", reap(state));
  return std::unique_ptr<LineProcess>(new LineProcess(std::move(state)));
}

asio::awaitable<Result<std::string>> LineProcess::next_line(std::optional<std::chrono::milliseconds> deadline) {
  const auto state = state_;  // outlives this object while a read is under way
  state->timed_out = false;
  if (deadline) {
    state->timer.expires_after(*deadline);
    state->timer.async_wait([state](error_code error) {
      if (error) return;
      state->timed_out = true;
      error_code ignored;
      state->out.cancel(ignored);
    });
  }
  std::array<char, kReadBytes> block{};
  for (;;) {
    const auto newline = state->buffer.find('\n', state->scanned);
    if (newline != std::string::npos) {
      std::string line = state->buffer.substr(0, newline);
      state->buffer.erase(0, newline + 1);
      state->scanned = 0;
      state->timer.cancel();
      co_return line;
    }
    state->scanned = state->buffer.size();
    if (state->buffer.size() > ProcessLimits::line_bytes) {
      if (!state->reaped) kill_group(state->pid);
      state->timer.cancel();
      co_return fail(Errc::invalid, state->name + " wrote a line that is too long; it was stopped, start it again");
    }
    const auto [error, size] = co_await state->out.async_read_some(asio::buffer(block), kTuple);
    state->buffer.append(block.data(), size);
    if (!error) continue;
    state->timer.cancel();
    if (state->timed_out) co_return fail(Errc::timeout, state->name + " wrote no line in time; it still runs");
    if (error == asio::error::operation_aborted) {
      co_return fail(Errc::cancelled, "reading from " + state->name + " was cancelled");
    }
    co_return fail(Errc::not_found, state->name + " ended its output");
  }
}

pid_t LineProcess::pid() const { return state_->pid; }

void LineProcess::stop() {
  if (!state_->reaped) kill_group(state_->pid);
}

}  // namespace bascule::runtime
