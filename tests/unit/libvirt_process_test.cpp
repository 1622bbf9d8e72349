// The process of a domain is found by pid file and uuid, and its end is seen from the kernel.
#include "hostd/runtime/libvirt/domain_process.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>

namespace bascule::runtime::libvirt {
namespace {

using std::chrono_literals::operator""s;
constexpr const char* kUuid = "67ac91b2-d100-50d1-97eb-2cd4ac7567ec";

class DomainProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "domain-process-" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override {
    end();
    std::filesystem::remove_all(folder_);
  }
  /// A process whose command line says -uuid, as QEMU's does.
  void start() {
    child_ = fork();
    if (child_ == 0) {
      execl("/bin/sh", "sh", "-c", "kill -STOP $$", "-uuid", kUuid, nullptr);
      _exit(1);
    }
    ASSERT_GT(child_, 0);
    int status = 0;
    ASSERT_EQ(waitpid(child_, &status, WUNTRACED), child_);  // it has its own command line by now
    ASSERT_TRUE(WIFSTOPPED(status));
    write(std::to_string(child_) + "\n");
  }
  void end() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = 0;
  }
  void write(const std::string& text) const { std::ofstream(folder_ + "/vm1.pid") << text; }
  auto open(const std::string& uuid = kUuid) { return DomainProcess::open(io_.get_executor(), folder_, {"vm1", uuid}); }

  std::string folder_;
  pid_t child_{};
  boost::asio::io_context io_;
};

TEST_F(DomainProcessTest, ItsEndIsSeenAndNotBefore) {
  start();
  auto process = open();
  ASSERT_TRUE(process) << process.error().what;
  int ends = 0;
  boost::asio::co_spawn(io_, process->ended(), [&](std::exception_ptr, bool ended) { ends += ended ? 1 : 100; });
  io_.run_for(std::chrono::milliseconds(200));
  EXPECT_EQ(ends, 0);
  kill(child_, SIGKILL);  // not waited for: a zombie has ended, too
  io_.run_for(5s);
  EXPECT_EQ(ends, 1);
}

TEST_F(DomainProcessTest, AnotherUuidIsAnotherProcess) {
  start();
  EXPECT_FALSE(open("00000000-d100-50d1-97eb-2cd4ac7567ec"));
}

TEST_F(DomainProcessTest, NothingIsFoundWithoutAFileOrBehindAStaleOrBadOne) {
  EXPECT_FALSE(open());
  for (const char* text : {"", "x", "-1", "0", "1", "99999999999999999999", "4194305"}) {
    write(text);
    EXPECT_FALSE(open()) << text;
  }
  start();
  const auto gone = child_;
  end();
  write(std::to_string(gone));
  EXPECT_FALSE(open());
}

}  // namespace
}  // namespace bascule::runtime::libvirt
