// One suite for WatchdogPort: on the simulator's, and on the device. A machine under test is needed for the device:
// BASCULE_WATCHDOG=/dev/watchdog, with nobody else on it; tests/lab/t_parts.py runs it so on a lab host. With
// BASCULE_WATCHDOG_FIRES=1 as well the test that resets the machine is run; it is over when the machine is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <thread>

#include "hostd/runtime/watchdog/device_watchdog.hpp"
#include "tests/sim/hostd.hpp"

namespace bascule::test {
namespace {

using core::Errc;
using runtime::DeviceWatchdog;
using runtime::WatchdogPort;
using std::chrono::milliseconds;
using testing::HasSubstr;

class WatchdogRig {
 public:
  WatchdogRig() = default;
  WatchdogRig(const WatchdogRig&) = delete;
  WatchdogRig& operator=(const WatchdogRig&) = delete;
  virtual ~WatchdogRig() = default;
  virtual WatchdogPort& port() = 0;
  /// hostd dies and starts again; its device is left as it was.
  virtual void next_life() = 0;
  virtual void wait(milliseconds length) = 0;
  virtual bool machine_lives() = 0;
  virtual bool may_fire() = 0;
};

class SimRig final : public WatchdogRig {
 public:
  SimRig() : cell_({}) {
    machine().on = true;
    next_life();
  }
  WatchdogPort& port() override { return *port_; }
  void next_life() override { port_ = std::make_unique<sim::SimWatchdog>(cell_, machine()); }
  void wait(milliseconds length) override { cell_.run_until(cell_.engine.now_us() + length.count() * sim::kMs); }
  bool machine_lives() override { return machine().on && machine().boot == 0; }
  bool may_fire() override { return true; }

 private:
  sim::Machine& machine() { return cell_.machine("a1"); }
  sim::Cell cell_;
  std::unique_ptr<sim::SimWatchdog> port_;
};

class DeviceRig final : public WatchdogRig {
 public:
  explicit DeviceRig(std::string device) : device_(std::move(device)) { next_life(); }
  ~DeviceRig() override {
    if (!port_->disarm()) static_cast<void>(port_->postpone());  // nowayout: time for the next test
  }
  WatchdogPort& port() override { return *port_; }
  void next_life() override {
    port_.reset();
    port_ = std::make_unique<DeviceWatchdog>(device_);
  }
  void wait(milliseconds length) override { std::this_thread::sleep_for(length); }
  bool machine_lives() override { return true; }  // who asks is alive
  bool may_fire() override { return std::getenv("BASCULE_WATCHDOG_FIRES") != nullptr; }

 private:
  std::string device_;
  std::unique_ptr<DeviceWatchdog> port_;
};

class Watchdog : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* device = std::getenv("BASCULE_WATCHDOG");
    if (std::string(GetParam()) == "sim")
      rig_ = std::make_unique<SimRig>();
    else if (device != nullptr)
      rig_ = std::make_unique<DeviceRig>(device);
    else
      GTEST_SKIP() << "BASCULE_WATCHDOG names no device: a failure would reset this machine";
  }
  WatchdogPort& port() { return rig_->port(); }
  std::unique_ptr<WatchdogRig> rig_;
};

TEST_P(Watchdog, NothingIsArmedBeforeItIsAsked) {
  EXPECT_FALSE(port().armed());
  EXPECT_EQ(port().pet().error().code, Errc::conflict);
  EXPECT_TRUE(port().disarm());
  EXPECT_TRUE(port().postpone());
}

TEST_P(Watchdog, PettedInTimeTheMachineLivesAndDisarmedItLivesOn) {
  const auto info = port().arm(2, true);
  ASSERT_TRUE(info) << info.error().what;
  EXPECT_EQ(info->timeout_s, 2U);
  EXPECT_TRUE(port().armed());
  for (int i = 0; i < 6; ++i) {
    rig_->wait(milliseconds(500));
    const auto petted = port().pet();
    ASSERT_TRUE(petted) << petted.error().what;
  }
  const auto again = port().arm(2, true);
  ASSERT_TRUE(again) << "armed twice it is armed once: " << again.error().what;
  if (const auto off = port().disarm(); !off) {
    EXPECT_EQ(off.error().code, Errc::refused) << "nowayout: " << off.error().what;
    EXPECT_TRUE(port().armed()) << "it must still be petted";
    EXPECT_TRUE(port().pet());
    EXPECT_TRUE(port().postpone());
  } else {
    EXPECT_FALSE(port().armed());
    EXPECT_EQ(port().pet().error().code, Errc::conflict);
  }
  rig_->wait(milliseconds(3000));
  EXPECT_TRUE(rig_->machine_lives());
}

TEST_P(Watchdog, TheNextLifeOfHostdTakesTheRunningDeviceOver) {
  ASSERT_TRUE(port().arm(4, true));
  rig_->next_life();
  rig_->wait(milliseconds(500));
  const auto again = port().arm(4, true);
  ASSERT_TRUE(again) << again.error().what;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(port().pet());
    rig_->wait(milliseconds(1000));
  }
  EXPECT_TRUE(rig_->machine_lives());
}

TEST_P(Watchdog, ToldToExpireItTakesNoPetAndResetsTheMachine) {
  if (!rig_->may_fire()) GTEST_SKIP() << "BASCULE_WATCHDOG_FIRES is not set";
  ASSERT_TRUE(port().arm(10, true));
  ASSERT_TRUE(port().expire_now());
  EXPECT_EQ(port().pet().error().code, Errc::conflict);
  rig_->wait(milliseconds(4000));
  EXPECT_FALSE(rig_->machine_lives());
}

INSTANTIATE_TEST_SUITE_P(Both, Watchdog, testing::Values("sim", "device"),
                         [](const auto& which) { return std::string(which.param); });

TEST(SimulatedWatchdog, UnpettedItResetsTheMachineAndArmedAgainItIsNotPetted) {
  SimRig rig;
  ASSERT_TRUE(rig.port().arm(2, true));
  rig.wait(milliseconds(1500));
  rig.next_life();
  ASSERT_TRUE(rig.port().arm(2, true));
  rig.wait(milliseconds(400));
  EXPECT_TRUE(rig.machine_lives());
  rig.wait(milliseconds(2200));  // reset_time
  EXPECT_FALSE(rig.machine_lives());
}

TEST(DeviceWatchdog, SaysThatThereIsNone) {
  DeviceWatchdog none("/nonexistent/watchdog");
  const auto info = none.arm(10, true);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, Errc::not_found);
  EXPECT_THAT(info.error().what, HasSubstr("/nonexistent/watchdog"));
  EXPECT_FALSE(none.armed());
}

TEST(DeviceWatchdog, SaysWhyItDoesNotTakeADevice) {
  const char* device = std::getenv("BASCULE_WATCHDOG");
  if (device == nullptr) GTEST_SKIP() << "BASCULE_WATCHDOG names no device";
  bool softdog = false;
  {
    DeviceWatchdog first(device);
    DeviceWatchdog second(device);
    EXPECT_FALSE(first.arm(100'000, true)) << "no driver of Debian's kernel counts so far";
    EXPECT_FALSE(first.armed());
    const auto info = first.arm(5, true);
    ASSERT_TRUE(info) << info.error().what;
    softdog = info->softdog;
    EXPECT_EQ(second.arm(5, true).error().code, Errc::conflict) << "one holder";
  }
  DeviceWatchdog third(device);
  if (softdog) {
    EXPECT_EQ(third.arm(5, false).error().code, Errc::refused) << "a softdog that nobody has accepted";
    EXPECT_FALSE(third.armed());
  }
  // nowayout: it counts on, whoever has closed it.
  ASSERT_TRUE(third.arm(5, true));
  if (!third.disarm()) EXPECT_TRUE(third.postpone());
}

}  // namespace
}  // namespace bascule::test
