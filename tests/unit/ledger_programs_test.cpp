// The three programs together, on loopback: as the lab uses them, without the VM around.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "images/guest/udp.hpp"
#include "tests/unit/ledger_testkit.hpp"

namespace bascule::ledger {
namespace {

using testkit::Disk;
using testkit::kOffset;
using Arguments = std::vector<std::string>;

constexpr auto kPatience = std::chrono::seconds(20);
const std::string kPrograms = BASCULE_PROGRAMS;

/// A program of ours, killed at the end if it still runs.
class Program {
 public:
  enum class Flush : bool { works, fails };
  Program(const std::string& name, Arguments arguments, const std::string& out = "/dev/null",
          Flush flush = Flush::works) {
    arguments.insert(arguments.begin(), kPrograms + "/" + name);
    pid_ = ::fork();
    if (pid_ != 0) return;
    const int fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::dup2(fd, STDOUT_FILENO);
    ::dup2(fd, STDERR_FILENO);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (flush == Flush::fails && !testkit::break_flush()) ::_exit(126);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (pid_ > 0) end(SIGKILL);
  }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int end(int signal) {
    ::kill(pid_, signal);
    return wait();
  }

 private:
  pid_t pid_ = -1;
};

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void send(const sockaddr_in& to, const std::string& datagram) {
  const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
  ::sendto(socket, datagram.data(), datagram.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  ::close(socket);
}

class LedgerPrograms : public ::testing::Test {
 protected:
  LedgerPrograms() : log_(disk_.path() + ".log"), out_(disk_.path() + ".out") {
    // A port that was free a moment ago; the collector says so if it no longer is.
    const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
    address_ = *parse_address("127.0.0.1:0");
    socklen_t length = sizeof address_;
    ::bind(socket, reinterpret_cast<const sockaddr*>(&address_), sizeof address_);
    ::getsockname(socket, reinterpret_cast<sockaddr*>(&address_), &length);
    ::close(socket);
  }
  ~LedgerPrograms() override {
    std::filesystem::remove(log_);
    std::filesystem::remove(out_);
  }

  Arguments collect() const { return {"--listen", to_text(address_), "--log", log_}; }
  Arguments write(std::uint64_t count) const {
    return {"--device",    disk_.path(),
            "--offset",    std::to_string(kOffset),
            "--mac",       "52:54:00:00:00:01",
            "--collector", to_text(address_),
            "--rate",      "500",
            "--count",     std::to_string(count)};
  }
  int check(const Disk& leg, Arguments more = {}) const {
    Arguments arguments{"--leg", leg.path(), "--log", log_, "--offset", std::to_string(kOffset)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Program("ledger-check", arguments, out_).wait();
  }
  void wait_for(const std::function<bool()>& done) const {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!done() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_TRUE(done()) << read_file(log_);
  }
  void wait_for_line(const std::string& part) const {
    wait_for([&] { return read_file(log_).find(part) != std::string::npos; });
  }

  Disk disk_;
  std::string log_;
  std::string out_;
  sockaddr_in address_{};
};

TEST_F(LedgerPrograms, RecordsRestartsAndGarbageEndInACleanVerdict) {
  Program collector("ledger-collect", collect());
  wait_for_line("# collector started");
  EXPECT_EQ(Program("ledger", write(20)).wait(), 0);
  send(address_, "garbage\nrecv_mono=1");
  send(address_, std::string(60'000, 'x'));
  send(address_, "");
  EXPECT_EQ(Program("ledger", write(50)).wait(), 0);
  wait_for_line("event=stop");
  wait_for_line("seq=70 ");
  EXPECT_EQ(collector.end(SIGTERM), 0);
  EXPECT_NE(read_file(log_).find("# not a report: 3 so far"), std::string::npos);

  EXPECT_EQ(check(disk_, {"--json"}), 0) << read_file(out_);
  const auto json = nlohmann::json::parse(read_file(out_));
  EXPECT_EQ(json["acknowledged"], 70);
  EXPECT_EQ(json["runs"].size(), 2U);
}

TEST_F(LedgerPrograms, ALedgerKilledAtAnyMomentHasLostNothing) {
  Program collector("ledger-collect", collect());
  wait_for_line("# collector started");
  for (int round = 0; round < 5; ++round) {
    const std::size_t before = read_file(log_).size();
    Program ledger("ledger", write(0));
    wait_for([&] { return read_file(log_).size() > before + 3000; });
    ledger.end(SIGKILL);
  }
  collector.end(SIGKILL);
  EXPECT_EQ(check(disk_), 0) << read_file(out_);
}

TEST_F(LedgerPrograms, TheJudgeComparesTwoLegsByteByByte) {
  Program collector("ledger-collect", collect());
  wait_for_line("# collector started");
  EXPECT_EQ(Program("ledger", write(10)).wait(), 0);
  wait_for_line("event=stop");
  const Disk other(disk_);
  EXPECT_EQ(check(disk_, {"--leg", other.path()}), 0) << read_file(out_);
  other.poke(Disk::at(11), "x");  // excused as a write cut off, but the legs differ
  EXPECT_EQ(check(disk_, {"--leg", other.path()}), 1);
  EXPECT_NE(read_file(out_).find("legs differ: 1  (11)"), std::string::npos) << read_file(out_);
}

TEST_F(LedgerPrograms, ARefusedDiskIsReportedToTheCollector) {
  Program collector("ledger-collect", collect());
  wait_for_line("# collector started");
  disk_.poke(kOffset + 5 * kBlockBytes, "somebody's data");
  EXPECT_EQ(Program("ledger", write(1)).wait(), 1);
  wait_for_line("event=error");
  EXPECT_NE(read_file(log_).find("text=no header but blocks in use"), std::string::npos);
  EXPECT_EQ(check(disk_), 1);
}

TEST_F(LedgerPrograms, WhatCouldNotBeFlushedIsNeverReported) {
  Program collector("ledger-collect", collect());
  wait_for_line("# collector started");
  EXPECT_EQ(Program("ledger", write(5)).wait(), 0);  // formats, with a flush that works
  EXPECT_EQ(Program("ledger", write(5), out_, Program::Flush::fails).wait(), 1);
  wait_for_line("text=cannot flush");
  EXPECT_EQ(read_file(log_).find("event=record", read_file(log_).rfind("event=start")), std::string::npos);
  EXPECT_EQ(check(disk_), 1) << "an I/O error in the guest is not clean";
}

TEST_F(LedgerPrograms, TheCollectorGoesOnAfterItWasKilledInTheMiddleOfALine) {
  std::ofstream(log_) << "# collector started\nrecv_mono=12 recv_wall=9 fr";
  Program collector("ledger-collect", collect());
  wait_for_line("cut off\n# collector started on");
  EXPECT_EQ(Program("ledger", write(3)).wait(), 0);
  wait_for_line("event=stop");
  EXPECT_EQ(check(disk_), 0) << read_file(out_);
}

TEST_F(LedgerPrograms, WithoutALogOrALegThereIsNoJudgement) {
  EXPECT_EQ(check(disk_), 2);
  std::ofstream{log_};
  EXPECT_EQ(check(disk_), 1) << "an empty log proves nothing";
  const Disk tiny(1);
  EXPECT_EQ(check(tiny), 2);
  EXPECT_EQ(check(disk_, {"--vm", "nonsense"}), 2);
  EXPECT_EQ(Program("ledger-check", {"--frob"}).wait(), 2);
  EXPECT_EQ(Program("ledger", {"--device", "x"}).wait(), 2);
}

}  // namespace
}  // namespace bascule::ledger
