#include "hostd/runtime/say.hpp"

#include <gtest/gtest.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>
#include <vector>

#include "hostd/runtime/cell/tell.hpp"

namespace bascule {
namespace {

using core::OpKind;
using core::OpState;

class Kept final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  std::vector<std::string> lines;

 protected:
  void sink_it_(const spdlog::details::log_msg& m) override {
    lines.push_back(std::string(m.source.empty() ? "-" : m.source.funcname) + ": " +
                    std::string(m.payload.data(), m.payload.size()));
  }
  void flush_() override {}
};

/// What is said while it lives, without journald.
struct Listening {
  std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
  std::shared_ptr<Kept> kept = std::make_shared<Kept>();
  Listening() { spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", kept)); }
  ~Listening() { spdlog::set_default_logger(before); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;
};

core::Operation operation(OpKind kind, OpState state) {
  core::Operation op;
  op.id = "op-1";
  op.kind = kind;
  op.state = state;
  op.vm = "vm1";
  return op;
}

TEST(Say, NothingIsMadeOfWhatNobodyHears) {
  const Listening listening;
  spdlog::default_logger()->set_level(spdlog::level::err);
  EXPECT_FALSE(heard(msg::lease_late));
  EXPECT_TRUE(heard(msg::disk_failed));
  say(msg::lease_late, {}, "late");
  say(msg::disk_failed, {}, "{}", "gone");
  EXPECT_EQ(listening.kept->lines, std::vector<std::string>{"disk-failed: gone"});
}

TEST(Say, EachEndOfAnOperationIsTheEventThatAnOperatorSearchesFor) {
  struct Case {
    OpKind kind;
    OpState state;
    msg::Message expected;
  };
  const Case cases[] = {
      {OpKind::vm_failover, OpState::done, msg::failover_done},
      {OpKind::vm_failover, OpState::undone, msg::failover_failed},
      {OpKind::vm_failover, OpState::needs_operator, msg::operation_needs_person},
      {OpKind::vm_migrate, OpState::done, msg::migration_done},
      {OpKind::vm_failback, OpState::undone, msg::migration_undone},
      {OpKind::vm_restart, OpState::done, msg::vm_restarted},
      {OpKind::vm_start, OpState::done, msg::vm_started},
      {OpKind::vm_shutdown, OpState::done, msg::vm_stopped},
      {OpKind::vm_power_off, OpState::done, msg::vm_stopped},
      {OpKind::watchdog_prove, OpState::done, msg::watchdog_proved},
      {OpKind::watchdog_prove, OpState::undone, msg::watchdog_not_proved},
      {OpKind::host_maintenance, OpState::done, msg::maintenance_changed},
      {OpKind::ha_disarm, OpState::done, msg::ha_disarmed},
      {OpKind::ha_arm, OpState::done, msg::ha_armed},
      {OpKind::volume_grow, OpState::done, msg::operation_done},
      {OpKind::volume_grow, OpState::undone, msg::operation_undone},
  };
  for (const auto& c : cases) EXPECT_EQ(runtime::end_of(operation(c.kind, c.state)).name, c.expected.name);
  EXPECT_EQ(runtime::begin_of(operation(OpKind::vm_migrate, OpState::running)).name, "migration-begun");
  EXPECT_EQ(runtime::begin_of(operation(OpKind::vm_start, OpState::running)).name, "operation-begun");
}

TEST(Say, ALegThatLeavesTheRecordAndOneThatComesBackAreTold) {
  const core::Leg here{"a1", "x"};
  const core::Leg there{"b1", "y"};
  core::Right both;
  both.insync["v1"] = {here, there};
  core::Right alone;
  alone.insync["v1"] = {here};
  const Listening listening;
  runtime::tell_right("vm1", both, alone, "cut");
  runtime::tell_right("vm1", alone, both, "in sync");
  runtime::tell_right("vm1", both, both, "no change");
  runtime::tell_right("vm1", {}, both, "made");
  EXPECT_EQ(listening.kept->lines,
            (std::vector<std::string>{"leg-left: vm1: the leg of volume v1 on b1 is out of the record: cut",
                                      "leg-back: vm1: the leg of volume v1 on b1 is in the record: in sync"}));
}

}  // namespace
}  // namespace bascule
