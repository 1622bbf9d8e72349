// Power switches: only a confirmed "off" is one. The agent is a script that does what the test says.
#include "hostd/runtime/power/agent_power.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace bascule::runtime {
namespace {

namespace asio = boost::asio;

class Power : public testing::Test {
 protected:
  Power() {
    char name[] = "/tmp/bascule-power-XXXXXX";
    folder_ = ::mkdtemp(name);
    write("secret", "password=hush-hush\n", 0600);
  }
  ~Power() override { std::filesystem::remove_all(folder_); }
  void write(const std::string& name, const std::string& text, mode_t mode) {
    std::ofstream(folder_ + "/" + name) << text;
    ::chmod((folder_ + "/" + name).c_str(), mode);
  }
  std::string read(const std::string& name) {
    std::ifstream in(folder_ + "/" + name);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }
  /// `off` ends with this code, `status` with that one; what it was told is kept.
  std::string off(const std::string& off_does, const std::string& status_does) {
    write("agent",
          "#!/bin/sh\ncd " + folder_ +
              "\ncat >told\ncat told >>all\necho \"$@\" >args\ncase $(sed -n 's/^action=//p' told) in off) " +
              off_does + ";; status) " + status_does + ";; esac\n",
          0700);
    PowerSwitch power;
    power.agent = folder_ + "/agent";
    power.options = {{"ip", "192.0.2.1"}, {"plug", "b1"}};
    power.secret_file = folder_ + "/secret";
    power.timeout = std::chrono::seconds(1);
    AgentPower port({{"b1", power}});
    core::Result<> result{};
    asio::io_context io(1);
    asio::co_spawn(io, port.off("b1"), [&](std::exception_ptr, core::Result<> done) { result = std::move(done); });
    io.run();
    return result ? "ok" : std::string(core::to_string(result.error().code)) + ": " + result.error().what;
  }
  std::string folder_;
};

TEST_F(Power, OnlyOffThatIsConfirmedIsOff) {
  EXPECT_EQ(off("exit 0", "exit 2"), "ok") << read("all");
  EXPECT_THAT(off("exit 0", "exit 0"), testing::HasSubstr("says after switching b1 off that it is not (status 0)"));
  EXPECT_THAT(off("exit 0", "exit 1"), testing::StartsWith("refused:"));
  EXPECT_THAT(off("echo no power >&2; exit 1", "exit 2"), testing::HasSubstr("ended with 1: no power"));
  EXPECT_THAT(off("kill -9 $$", "exit 2"), testing::StartsWith("outcome-unknown:"));
}

TEST_F(Power, SilenceIsNoAnswer) {
  EXPECT_THAT(off("sleep 30", "exit 2"), testing::HasSubstr("gave no answer within 1 s"));
  EXPECT_THAT(off("exit 0", "sleep 30"), testing::HasSubstr("gave no answer within 1 s"));
}

TEST_F(Power, SecretsGoByStdinAlone) {
  ASSERT_EQ(off("exit 0", "exit 2"), "ok");
  const auto told = read("all");
  for (const auto* line : {"action=off\n", "action=status\n", "password=hush-hush\n", "plug=b1\n", "method=onoff\n"}) {
    EXPECT_THAT(told, testing::HasSubstr(line));
  }
  EXPECT_EQ(read("args"), "\n");
  EXPECT_THAT(off("exit 1", "exit 2"), testing::Not(testing::HasSubstr("hush")));
}

TEST_F(Power, ASecretThatOthersCanReadIsNotUsed) {
  ::chmod((folder_ + "/secret").c_str(), 0644);
  EXPECT_THAT(off("exit 0", "exit 2"), testing::HasSubstr("readable by others"));
}

TEST_F(Power, OnlyHostsWithASwitchAreSwitched) {
  AgentPower none({});
  EXPECT_FALSE(none.configured("b1"));
}

}  // namespace
}  // namespace bascule::runtime
