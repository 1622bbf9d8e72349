// The kernel's question (R1): the whole table of states of the record and of this host, one line per cell.
#include "hostd/core/loss.hpp"

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using Kind = LossVerdict::Kind;

std::string word(const LossVerdict& v) {
  switch (v.kind) {
    case Kind::win: return "win";
    case Kind::lost: return "lost";
    case Kind::wait: return "wait";
    case Kind::over: return "over";
  }
  return "?";
}

// What the record says.
Right ours() { return test::right(); }
Right ours_alone() {
  Right r = ours();
  r.insync["root"] = {test::kLegA};
  return r;
}
Right ours_but_stale() {
  Right r = ours();
  r.insync["root"] = {test::kLegB};
  return r;
}
Right ours_leaving() {
  Right r = ours();
  r.migrating_to = "b1";
  return r;
}
Right theirs() {
  Right r = ours();
  r.host = "b1";
  return r;
}
Right theirs_coming() {
  Right r = theirs();
  r.migrating_to = "a1";
  return r;
}

struct State {
  const char* name;
  const char* role;
  const char* disk;
  DomainState domain;
  const char* connection;
};
constexpr State kFrozen{"frozen primary", "Primary", "UpToDate", DomainState::running, "Connecting"};
constexpr State kBack{"the peer is back", "Primary", "UpToDate", DomainState::running, "Connected"};
constexpr State kBadDisk{"frozen primary, its own disk failed", "Primary", "Diskless", DomainState::running,
                         "Connecting"};
constexpr State kOnlyConsistent{"primary, disk not known good", "Primary", "Consistent", DomainState::running,
                                "Connecting"};
constexpr State kPromoting{"secondary to be promoted", "Secondary", "UpToDate", DomainState::absent, "StandAlone"};
constexpr State kRebooted{"secondary after a reboot", "Secondary", "Consistent", DomainState::absent, "StandAlone"};
constexpr State kOutdated{"secondary, outdated", "Secondary", "Outdated", DomainState::absent, "StandAlone"};
constexpr State kGone{"frozen primary, the guest has left", "Primary", "UpToDate", DomainState::absent, "Connecting"};
constexpr State kPaused{"frozen primary, the guest stands paused", "Primary", "UpToDate", DomainState::paused,
                        "Connecting"};
constexpr State kUnheard{"frozen primary, libvirt not heard", "Primary", "UpToDate", DomainState::unknown,
                         "Connecting"};

struct Row {
  const State& state;
  const char* ours;
  const char* alone;
  const char* stale;
  const char* leaving;
  const char* theirs;
  const char* coming;
};
const Row kTable[] = {
    // state           ours    alone   stale   leaving  theirs  coming
    {kFrozen, "win", "win", "lost", "win", "lost", "wait"},
    {kBack, "over", "over", "over", "over", "over", "over"},
    {kBadDisk, "lost", "lost", "lost", "lost", "lost", "wait"},
    {kOnlyConsistent, "lost", "lost", "lost", "lost", "lost", "wait"},
    {kPromoting, "win", "win", "lost", "wait", "lost", "lost"},
    {kRebooted, "win", "win", "lost", "wait", "lost", "lost"},
    {kOutdated, "lost", "lost", "lost", "wait", "lost", "lost"},
    {kGone, "win", "win", "lost", "wait", "lost", "wait"},
    {kPaused, "win", "win", "lost", "win", "lost", "wait"},
    {kUnheard, "win", "win", "lost", "wait", "lost", "wait"},
};

LossVerdict decide(const Right& right, const State& state) {
  VmView vm = test::running_vm();
  vm.right.value = right;
  LocalVm local;
  local.up = true;
  local.role = state.role;
  local.connection = state.connection;
  local.domain = state.domain;
  local.volumes["root"] = {state.disk, "DUnknown", "Off", 0};
  return decide_loss(vm, local, "a1");
}

TEST(Loss, OneLinePerCell) {
  for (const auto& row : kTable) {
    EXPECT_EQ(word(decide(ours(), row.state)), row.ours) << row.state.name << ", record: ours";
    EXPECT_EQ(word(decide(ours_alone(), row.state)), row.alone) << row.state.name << ", record: ours alone";
    EXPECT_EQ(word(decide(ours_but_stale(), row.state)), row.stale)
        << row.state.name << ", record: ours, leg not in sync";
    EXPECT_EQ(word(decide(ours_leaving(), row.state)), row.leaving) << row.state.name << ", record: ours, leaving";
    EXPECT_EQ(word(decide(theirs(), row.state)), row.theirs) << row.state.name << ", record: theirs";
    EXPECT_EQ(word(decide(theirs_coming(), row.state)), row.coming)
        << row.state.name << ", record: theirs, coming here";
  }
}

TEST(Loss, AWinExcludesThePeerOnEveryVolumeAndEndsTheMark) {
  const auto v = decide(ours_leaving(), kFrozen);
  EXPECT_EQ(v.revision, 30);
  EXPECT_EQ(v.right.host, "a1");
  EXPECT_EQ(v.right.epoch, 3) << "the same copy goes on";
  EXPECT_FALSE(v.right.migrating_to);
  EXPECT_EQ(v.right.insync.at("root"), std::vector<Leg>{test::kLegA});
  // Always written, also when the peer was out already: an add-back under way must lose its compare.
  EXPECT_EQ(word(decide(ours_alone(), kFrozen)), "win");
}

TEST(Loss, AWinUnderAMarkClosesTheWindowOfThePrimary) {
  EXPECT_TRUE(decide(ours_leaving(), kFrozen).closes_window);
  EXPECT_FALSE(decide(ours(), kFrozen).closes_window);
  // Its promotion holds the kernel's lock, and a window does not outlive being Secondary.
  State promoting = kPromoting;
  promoting.domain = DomainState::paused;
  EXPECT_EQ(word(decide(ours_leaving(), promoting)), "win");
  EXPECT_FALSE(decide(ours_leaving(), promoting).closes_window);
}

TEST(Loss, OneBadVolumeOfTwoIsEnoughToStayFrozen) {
  VmView vm = test::running_vm();
  vm.layout.value.volumes.push_back({"data", 101, 64, {{"a1", "da"}, {"b1", "db"}}});
  vm.right.value.insync["data"] = {{"a1", "da"}, {"b1", "db"}};
  LocalVm local;
  local.role = "Primary";
  local.connection = "Connecting";
  local.domain = DomainState::running;
  local.volumes["root"] = {"UpToDate", "DUnknown", "Off", 0};
  local.volumes["data"] = {"Failed", "DUnknown", "Off", 0};
  EXPECT_EQ(decide_loss(vm, local, "a1").sentence, "the disk of volume data is Failed");
  EXPECT_EQ(word(decide_loss(vm, local, "a1")), "lost");
  local.volumes["data"].disk = "UpToDate";
  EXPECT_EQ(word(decide_loss(vm, local, "a1")), "win");
  local.volumes.erase("data");
  EXPECT_EQ(decide_loss(vm, local, "a1").sentence, "the disk of volume data is unknown");
  vm.right.value.insync["data"] = {{"b1", "db"}};
  EXPECT_EQ(word(decide_loss(vm, local, "a1")), "lost");
}

TEST(Loss, WithoutARecordNothingIsWon) {
  VmView vm = test::running_vm();
  vm.right = {};
  EXPECT_EQ(word(decide_loss(vm, LocalVm{}, "a1")), "lost");
}

}  // namespace
}  // namespace bascule::core
