#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "hostd/runtime/process.hpp"

namespace bascule::runtime {
namespace {
namespace asio = boost::asio;
using core::Errc;
using core::Result;
using namespace std::chrono_literals;

Result<Outcome> run_now(Command command) {
  asio::io_context io;
  std::optional<Result<Outcome>> result;
  asio::co_spawn(io, run(std::move(command)), [&](std::exception_ptr e, Result<Outcome> r) {
    if (e) std::rethrow_exception(e);
    result = std::move(r);
  });
  io.run();
  return *result;
}

Command shell(std::string script) {  // a test may use a shell; the product never does
  return Command{.argv = {"/bin/sh", "-c", std::move(script)}};
}

bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

TEST(Process, ReportsTheExitCodeAndBothOutputs) {
  const auto r = run_now(shell("echo out; echo err >&2; exit 7"));
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->end, Outcome::End::exited);
  EXPECT_EQ(r->status, 7);
  EXPECT_FALSE(r->ok());
  EXPECT_EQ(r->out, "out\n");
  EXPECT_EQ(r->err, "err\n");
  EXPECT_TRUE(no_children());
}

asio::awaitable<int> one_after_the_other(int count) {
  int right = 0;
  for (int i = 0; i < count; ++i) {
    auto next = run(shell("sleep 0.01; exit " + std::to_string(i % 100)));
    auto done = co_await std::move(next);
    if (done && done->end == Outcome::End::exited && done->status == i % 100) ++right;
  }
  co_return right;
}

TEST(Process, TheNextOneRunsToItsEndToo) {
  // The reactor may take the end of the one before for that of the next, which begins in the same instant.
  asio::io_context io;
  int right = 0;
  asio::co_spawn(io, one_after_the_other(100), [&](std::exception_ptr, int n) { right = n; });
  io.run();
  EXPECT_EQ(right, 100);
}

TEST(Process, ReportsASignalThatSomebodyElseSent) {
  const auto r = run_now(shell("kill -TERM $$"));
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->end, Outcome::End::signalled);
  EXPECT_EQ(r->status, SIGTERM);
}

TEST(Process, PassesArgumentsAsTheyAreWithoutAShell) {
  const auto r = run_now(Command{.argv = {"/usr/bin/printf", "%s|", "a b", "$(id)", "", "'\"`;"}});
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->out, "a b|$(id)||'\"`;|");
}

TEST(Process, FeedsStdinAndGivesNothingElseToRead) {
  Command command{.argv = {"/bin/cat"}};
  command.input = std::string(300'000, 'x');
  command.max_output = 400'000;
  EXPECT_EQ(run_now(command)->out.size(), 300'000U);
  command.input.clear();
  EXPECT_EQ(run_now(command)->out, "");
}

TEST(Process, KeepsNoMoreOutputThanAllowedButLetsTheChildFinish) {
  Command command = shell("head -c 5000000 /dev/zero; echo done >&2");
  command.max_output = 1000;
  const auto r = run_now(command);
  ASSERT_TRUE(r.has_value());
  EXPECT_TRUE(r->ok());
  EXPECT_TRUE(r->truncated);
  EXPECT_EQ(r->out.size(), 1000U);
  EXPECT_EQ(r->err, "done\n");
}

TEST(Process, KillsTheWholeGroupAtTheDeadlineAndLeavesNoZombie) {
  const auto file = std::filesystem::temp_directory_path() / ("bascule-grandchild-" + std::to_string(::getpid()));
  Command command = shell("sleep 300 & echo $! > " + file.string() + "; wait");
  command.deadline = 300ms;
  const auto start = std::chrono::steady_clock::now();
  const auto r = run_now(command);
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ(r->end, Outcome::End::deadline);
  EXPECT_FALSE(r->still_alive);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_TRUE(no_children());
  pid_t grandchild = 0;
  std::ifstream(file) >> grandchild;
  std::filesystem::remove(file);
  ASSERT_GT(grandchild, 1);
  bool gone = false;
  for (int i = 0; i < 100 && !gone; ++i) {
    std::ifstream stat("/proc/" + std::to_string(grandchild) + "/stat");
    std::string pid, name, state;
    gone = !(stat >> pid >> name >> state) || state == "Z";  // init reaps it in its own time
    if (!gone) std::this_thread::sleep_for(20ms);
  }
  EXPECT_TRUE(gone);
}

TEST(Process, StillHonoursTheDeadlineAfterTheChildClosedItsOutputs) {
  Command command = shell("exec >&- 2>&-; sleep 300");
  command.deadline = 300ms;
  EXPECT_EQ(run_now(command)->end, Outcome::End::deadline);
  EXPECT_TRUE(no_children());
}

TEST(Process, IsNotHeldUpByAGrandchildThatKeepsTheOutputOpen) {
  // setsid leaves the group, so killing the group does not end it.
  Command command = shell("setsid sleep 3 & sleep 0.2; echo early");
  const auto start = std::chrono::steady_clock::now();
  const auto r = run_now(command);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
  EXPECT_TRUE(r->ok());
  EXPECT_EQ(r->out, "early\n");
}

TEST(Process, SaysWhichProgramIsMissing) {
  const auto r = run_now(Command{.argv = {"/no/such/program"}});
  ASSERT_FALSE(r.has_value());
  EXPECT_EQ(r.error().code, Errc::not_found);
  EXPECT_NE(r.error().what.find("/no/such/program"), std::string::npos);
}

TEST(Process, RefusesRelativePathsNulBytesAndOversizedArguments) {
  EXPECT_EQ(run_now(Command{.argv = {"sh"}}).error().code, Errc::invalid);
  EXPECT_EQ(run_now(Command{.argv = {}}).error().code, Errc::invalid);
  EXPECT_EQ(run_now(Command{.argv = {"/bin/true", std::string("a\0b", 3)}}).error().code, Errc::invalid);
  EXPECT_EQ(run_now(Command{.argv = {"/bin/true", std::string(100'000, 'a')}}).error().code, Errc::invalid);
}

TEST(Process, GivesAChildACleanEnvironmentAndNoDescriptors) {
  ::setenv("BASCULE_LEAK", "secret", 1);
  const int leaked = ::dup(1);  // no CLOEXEC
  const auto r = run_now(Command{.argv = {"/usr/bin/env"}, .environment = {"EXTRA=1"}});
  EXPECT_EQ(r->out, "EXTRA=1\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C\n");
  const auto fds = run_now(Command{.argv = {"/bin/ls", "/proc/self/fd"}});
  EXPECT_EQ(fds->out, "0\n1\n2\n3\n");  // 3 is ls's own
  ::close(leaked);
  ::unsetenv("BASCULE_LEAK");
}

TEST(Process, IsKilledWhenItsCallerIsCancelled) {
  asio::io_context io;
  asio::cancellation_signal cancel;
  std::optional<Result<Outcome>> result;
  Command command = shell("sleep 300");
  asio::co_spawn(io, run(command),
                 asio::bind_cancellation_slot(cancel.slot(),
                                              [&](std::exception_ptr, Result<Outcome> r) { result = std::move(r); }));
  asio::steady_timer timer(io, 200ms);
  timer.async_wait([&](auto) { cancel.emit(asio::cancellation_type::terminal); });
  const auto start = std::chrono::steady_clock::now();
  io.run();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->error().code, Errc::cancelled);
  EXPECT_TRUE(no_children());
}

TEST(Process, RunsManyAtOnce) {
  asio::io_context io;
  int done = 0;
  for (int i = 0; i < 50; ++i) {
    asio::co_spawn(io, run(Command{.argv = {"/bin/echo", std::to_string(i)}}),
                   [&done, i](std::exception_ptr, Result<Outcome> r) {
                     if (r && r->out == std::to_string(i) + "\n") ++done;
                   });
  }
  io.run();
  EXPECT_EQ(done, 50);
  EXPECT_TRUE(no_children());
  EXPECT_EQ(unreaped_children(), 0U);
}

asio::awaitable<void> collect(LineProcess* lines, std::vector<std::string>* out, std::optional<core::Error>* end) {
  for (;;) {
    auto line = co_await lines->next_line();
    if (!line) {
      *end = line.error();
      co_return;
    }
    out->push_back(*line);
  }
}

TEST(LineProcess, DeliversLinesUntilTheOutputEnds) {
  asio::io_context io;
  auto lines = LineProcess::start(io.get_executor(), shell("printf 'a\\n\\nb c\\n'; sleep 0.1; printf 'last\\npart'"));
  ASSERT_TRUE(lines.has_value());
  std::vector<std::string> seen;
  std::optional<core::Error> end;
  asio::co_spawn(io, collect(lines->get(), &seen, &end), asio::detached);
  io.run();
  EXPECT_EQ(seen, (std::vector<std::string>{"a", "", "b c", "last"}));
  EXPECT_EQ(end->code, Errc::not_found);
  EXPECT_TRUE(no_children());
}

TEST(LineProcess, StopsAChildThatWritesALineWithoutEnd) {
  asio::io_context io;
  auto lines = LineProcess::start(io.get_executor(), shell("exec tr '\\0' x </dev/zero"));
  ASSERT_TRUE(lines.has_value());
  std::vector<std::string> seen;
  std::optional<core::Error> end;
  asio::co_spawn(io, collect(lines->get(), &seen, &end), asio::detached);
  io.run();
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(end->code, Errc::invalid);
  EXPECT_TRUE(no_children());
}

TEST(LineProcess, IsKilledAndReapedWhenDropped) {
  asio::io_context io;
  {
    auto lines = LineProcess::start(io.get_executor(), shell("sleep 300"));
    ASSERT_TRUE(lines.has_value());
  }
  const auto start = std::chrono::steady_clock::now();
  io.run();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_TRUE(no_children());
}

asio::awaitable<void> one_line(LineProcess* lines, std::chrono::milliseconds limit, std::optional<core::Error>* end) {
  auto line = co_await lines->next_line(limit);
  if (!line) *end = line.error();
  lines->stop();
}

TEST(LineProcess, SaysWhenNoLineCameInTime) {
  asio::io_context io;
  auto lines = LineProcess::start(io.get_executor(), shell("sleep 300"));
  ASSERT_TRUE(lines.has_value());
  std::optional<core::Error> end;
  asio::co_spawn(io, one_line(lines->get(), 100ms, &end), asio::detached);
  io.run();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->code, Errc::timeout);
}

}  // namespace
}  // namespace bascule::runtime
