// What the journal forgets: counts, ages, clocks, states, order.
#include "hostd/core/prune.hpp"

#include <fmt/format.h>

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr WallMs kNow = WallMs{1000} * kOperationsKeptMs;
constexpr WallMs kOld = kNow - kOperationsKeptMs - 1;

std::string id(std::size_t n) { return fmt::format("op-{:05}", n); }

/// op-00000 .. in the order in which they ended.
CellView ended(std::size_t count, WallMs finished = kOld) {
  CellView view;
  for (std::size_t n = 0; n < count; ++n) {
    auto& op = view.operations[id(n)];
    op.revision = static_cast<Revision>(100 + n);
    op.value.vm = "vm" + std::to_string(n % 10);
    op.value.state = n % 2 == 0 ? OpState::done : OpState::undone;
    op.value.created_ms = op.value.finished_ms = finished;
  }
  return view;
}

TEST(Prune, KeepsTheNewestWhateverTheirAge) {
  EXPECT_THAT(prune(CellView{}, kNow), IsEmpty());
  EXPECT_THAT(prune(ended(kOperationsKept, 0), kNow), IsEmpty());
  EXPECT_THAT(prune(ended(kOperationsKept + 2, 0), kNow), ElementsAre(id(0), id(1)));
}

TEST(Prune, KeepsTheRestForAWeek) {
  EXPECT_THAT(prune(ended(kOperationsKept + 1, kOld + 1), kNow), IsEmpty());
  EXPECT_THAT(prune(ended(kOperationsKept + 1, kOld), kNow), ElementsAre(id(0)));
}

TEST(Prune, ForgetsAboveTheCapWhateverTheAge) {
  EXPECT_THAT(prune(ended(kOperationsMost, kNow), kNow), IsEmpty());
  EXPECT_THAT(prune(ended(kOperationsMost + 2, kNow), kNow), ElementsAre(id(0), id(1)));
}

TEST(Prune, TakesABatchOfTheOldest) {
  const auto ids = prune(ended(kOperationsMost + 500), kNow);
  ASSERT_THAT(ids, SizeIs(kForgetBatch));
  EXPECT_EQ(ids.front(), id(0));
  EXPECT_EQ(ids.back(), id(kForgetBatch - 1));
}

TEST(Prune, CountsInTheOrderOfTheStoreNotOfTheIds) {
  auto view = ended(kOperationsKept + 1);
  view.operations[id(0)].revision = 9999;  // began first, ended last
  EXPECT_THAT(prune(view, kNow), ElementsAre(id(1)));
}

TEST(Prune, AClockThatJumpedMakesNothingOlder) {
  auto view = ended(kOperationsKept + 3);
  view.operations[id(0)].value.finished_ms = kNow + kOperationsKeptMs;  // ended in the future: as if now
  view.operations[id(1)].value.created_ms = kNow;                       // ended before it began: as if then
  view.operations[id(1)].value.finished_ms = 5;
  EXPECT_THAT(prune(view, kNow), ElementsAre(id(2)));
  EXPECT_THAT(prune(ended(kOperationsKept + 3), 0), IsEmpty()) << "the clock that asks went back";
  EXPECT_THAT(prune(ended(kOperationsKept), kNow * 1000), IsEmpty()) << "it went far ahead";
}

TEST(Prune, NeverForgetsWhatIsAtWorkOrNeedsAnOperator) {
  for (const OpState state : {OpState::running, OpState::undoing, OpState::needs_operator}) {
    auto view = ended(kOperationsMost + 2);
    view.operations[id(0)].value.state = state;
    EXPECT_EQ(prune(view, kNow).front(), id(1)) << to_string(state);
    for (auto& [_, op] : view.operations) op.value.state = state;
    EXPECT_THAT(prune(view, kNow), IsEmpty()) << to_string(state);
  }
  auto view = ended(kOperationsKept + 1);
  view.operations[id(7)].value.state = OpState::running;
  EXPECT_THAT(prune(view, kNow), IsEmpty()) << "what is at work does not count either";
}

TEST(Prune, KeepsTheOperationThatFollowedOneThatNeedsAnOperator) {
  auto view = ended(kOperationsKept + 4);
  for (const auto n : {0U, 1U, 2U}) view.operations[id(n)].value.vm = "troubled";
  view.operations[id(0)].value.state = OpState::needs_operator;
  EXPECT_THAT(prune(view, kNow), ElementsAre(id(1), id(3)));  // op-00002 is the last word on it
}

}  // namespace
}  // namespace bascule::core
