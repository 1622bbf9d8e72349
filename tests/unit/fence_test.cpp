// The kernel's question on its way: the real helper program against the real server, over a socket of its own.
#include "hostd/runtime/fence/fence_server.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <vector>

#include "hostd/note_store.hpp"

namespace bascule::runtime {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;

class Fence : public testing::Test {
 protected:
  Fence() {
    char name[] = "/tmp/bascule-fence-XXXXXX";
    folder_ = ::mkdtemp(name);
    path_ = folder_ + "/fence.sock";
  }
  ~Fence() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<FenceServer> serve(FenceServer::Decide decide) {
    auto made = FenceServer::make(io_.get_executor(), path_, std::move(decide));
    EXPECT_TRUE(made) << made.error().what;
    asio::co_spawn(io_, (*made)->run(), asio::detached);
    return std::move(*made);
  }
  /// An answer that is there at once.
  FenceServer::Decide always(FenceAnswer answer) {
    return [this, answer](std::string resource) -> asio::awaitable<FenceAnswer> {
      asked_.push_back(std::move(resource));
      co_return answer;
    };
  }
  pid_t start(const std::string& resource, const char* seconds = "20") {
    std::string env = "DRBD_RESOURCE=" + resource;
    std::string program = helper();
    std::string path = path_;
    std::string limit = seconds;
    char* argv[] = {program.data(), path.data(), limit.data(), nullptr};
    char* envp[] = {env.data(), nullptr};
    pid_t pid = 0;
    EXPECT_EQ(::posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, envp), 0);
    return pid;
  }
  /// Serves until the helper has ended; its exit code, or nullopt when it still runs after `patience`.
  std::optional<int> end_of(pid_t pid, std::chrono::milliseconds patience = 10s) {
    const auto until = std::chrono::steady_clock::now() + patience;
    int status = 0;
    while (std::chrono::steady_clock::now() < until) {
      io_.restart();
      io_.run_for(10ms);
      if (::waitpid(pid, &status, WNOHANG) == pid) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    return std::nullopt;
  }
  void stop(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

  asio::io_context io_{1};
  static std::string helper() {
    const char* given = ::getenv("BASCULE_FENCE_PEER");  // another build of it: tests/mutants
    return given != nullptr ? given : BASCULE_FENCE_PEER;
  }
  std::optional<int> lost_disk(const std::string& resource, const std::string& volume) {
    std::string of = "DRBD_RESOURCE=" + resource, which = "DRBD_VOLUME=" + volume, program = helper();
    std::string mode = "lost-disk", folder = folder_ + "/lost-disks";
    char* argv[] = {program.data(), mode.data(), folder.data(), nullptr};
    char* envp[] = {of.data(), which.data(), nullptr};
    pid_t pid = 0;
    EXPECT_EQ(::posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv, envp), 0);
    return end_of(pid);
  }

  std::string folder_, path_;
  std::vector<std::string> asked_;
};

TEST_F(Fence, TheAnswerIsTheExitCode) {
  for (const auto answer : {FenceAnswer::excluded, FenceAnswer::power_off, FenceAnswer::not_won}) {
    asked_.clear();
    auto server = serve(always(answer));
    EXPECT_EQ(end_of(start("vm-web")), static_cast<int>(answer));
    EXPECT_EQ(asked_, std::vector<std::string>{"vm-web"});
  }
}

TEST_F(Fence, AHelperThatWasKilledDoesNotWait) {
  asio::steady_timer never(io_, std::chrono::hours(1));
  auto server = serve([&](std::string) -> asio::awaitable<FenceAnswer> {
    boost::system::error_code ec;
    co_await never.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    co_return FenceAnswer::excluded;
  });
  const pid_t first = start("vm-web");
  const pid_t second = start("vm-web");
  EXPECT_FALSE(end_of(first, 500ms));
  EXPECT_EQ(server->waiting("vm-web"), 2U);
  EXPECT_EQ(server->waiting("vm-db"), 0U);
  stop(first);
  EXPECT_FALSE(end_of(second, 200ms));
  EXPECT_EQ(server->waiting("vm-web"), 1U);
  never.cancel();
  EXPECT_EQ(end_of(second), 4);
  EXPECT_EQ(server->waiting("vm-web"), 0U);
}

TEST_F(Fence, NothingIsAnsweredForANameThatIsNone) {
  auto server = serve(always(FenceAnswer::excluded));
  for (const auto* name : {"", "vm web", "../x", "VM", "vm-web\nfence-peer vm-db"}) {
    EXPECT_EQ(end_of(start(name)), 1) << name;
  }
  EXPECT_TRUE(asked_.empty());
}

TEST_F(Fence, WithoutHostdTheHelperAsksAgainUntilItIsThere) {
  const pid_t pid = start("vm-web");
  EXPECT_FALSE(end_of(pid, 500ms)) << "it waits";
  auto server = serve(always(FenceAnswer::excluded));
  EXPECT_EQ(end_of(pid), 4);
}

TEST_F(Fence, WithoutHostdForTooLongItStaysFrozen) { EXPECT_EQ(end_of(start("vm-web", "1"), 5s), 1); }

TEST_F(Fence, AHostdThatEndsBeforeItsAnswerIsNoAnswer) {
  asio::steady_timer never(io_, std::chrono::hours(1));
  const pid_t pid = start("vm-web");
  {
    auto first = serve([&](std::string) -> asio::awaitable<FenceAnswer> {
      boost::system::error_code ec;
      co_await never.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      co_return FenceAnswer::not_won;
    });
    EXPECT_FALSE(end_of(pid, 500ms)) << "undecided: silence is waited out";
  }
  never.cancel();
  auto second = serve(always(FenceAnswer::excluded));
  EXPECT_TRUE(end_of(pid).has_value());
}

/// A hostd that says one thing after the other, each over the connection of one question.
TEST_F(Fence, OnlyAWholeAnswerIsAnAnswer) {
  const std::vector<std::string> said{"", "9\n", "4", "40\n", "\n", "7\n"};
  asio::local::stream_protocol::acceptor acceptor(io_, path_);
  const pid_t pid = start("vm-web");
  for (const auto& words : said) {
    pollfd asked{acceptor.native_handle(), POLLIN, 0};
    ASSERT_EQ(::poll(&asked, 1, 10'000), 1) << "it does not ask again before '" << words << "'";
    asio::local::stream_protocol::socket socket(io_);
    acceptor.accept(socket);
    std::string question;
    asio::read_until(socket, asio::dynamic_buffer(question), '\n');
    EXPECT_EQ(question, "fence-peer vm-web\n");
    asio::write(socket, asio::buffer(words));
  }
  EXPECT_EQ(end_of(pid), 7);
}

TEST_F(Fence, ManyMayAskAtOnce) {
  auto server = serve(always(FenceAnswer::excluded));
  std::vector<pid_t> pids;
  for (int i = 0; i < 20; ++i) pids.push_back(start("vm-w" + std::to_string(i)));
  for (const pid_t pid : pids) EXPECT_EQ(end_of(pid), 4);
  EXPECT_EQ(asked_.size(), 20U);
}

TEST_F(Fence, ALostDiskIsWrittenDownWithoutHostd) {
  EXPECT_EQ(lost_disk("vm-web", "0"), 1) << "no folder: not written, and it says so";
  std::filesystem::create_directories(NoteFile::lost_folder(folder_));
  EXPECT_EQ(lost_disk("vm-web", "0"), 0);
  EXPECT_EQ(lost_disk("vm-web", "0"), 0) << "it fails again before hostd has looked";
  EXPECT_EQ(lost_disk("vm-db-1", "3 12"), 0) << "as DRBD 9's drbdadm says it: any of them";
  for (const auto* name : {"", "../vm-web", "vm web"}) EXPECT_EQ(lost_disk(name, "0"), 1) << name;
  for (const auto* number : {"", " ", "-1", "1000000", "x", "1x"}) EXPECT_EQ(lost_disk("vm-web", number), 1) << number;
  NoteStore store(std::make_unique<NoteFile>(folder_));
  ASSERT_TRUE(store.load());
  EXPECT_EQ(store.notes().vms.at("web").lost, std::vector<std::uint16_t>{0});
  auto lost = store.notes().vms.at("db-1").lost;
  std::ranges::sort(lost);
  EXPECT_EQ(lost, (std::vector<std::uint16_t>{3, 12}));
  EXPECT_EQ(store.notes().vms.size(), 2U);
  EXPECT_TRUE(std::filesystem::is_empty(NoteFile::lost_folder(folder_))) << "taken up";
  NoteStore again(std::make_unique<NoteFile>(folder_));
  ASSERT_TRUE(again.load());
  EXPECT_EQ(again.notes(), store.notes()) << "and kept";
}

TEST_F(Fence, WhatIsNoLostDiskIsLeftAlone) {
  std::filesystem::create_directories(NoteFile::lost_folder(folder_));
  for (const auto* name : {"vm-web", "vm-web.", "vm-web.x", "vm-web.1x", "other.0", "vm-web.99999999"}) {
    std::ofstream(NoteFile::lost_folder(folder_) + "/" + name) << "";
  }
  NoteStore store(std::make_unique<NoteFile>(folder_));
  ASSERT_TRUE(store.load());
  EXPECT_TRUE(store.notes().vms.empty());
}

TEST_F(Fence, TheLostDisksOfOneVmAreDropped) {
  std::filesystem::create_directories(NoteFile::lost_folder(folder_));
  NoteStore store(std::make_unique<NoteFile>(folder_));
  ASSERT_TRUE(store.load());
  EXPECT_EQ(lost_disk("vm-web", "0"), 0);
  EXPECT_EQ(lost_disk("vm-web2", "0"), 0);
  ASSERT_TRUE(store.drop_lost_disks("web"));
  NoteStore next(std::make_unique<NoteFile>(folder_));
  ASSERT_TRUE(next.load());
  EXPECT_FALSE(next.notes().vms.contains("web"));
  EXPECT_TRUE(next.notes().vms.contains("web2"));
}

TEST_F(Fence, TheSocketIsTheOwnersAlone) {
  auto server = serve(always(FenceAnswer::excluded));
  EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms(0600));
}

}  // namespace
}  // namespace bascule::runtime
