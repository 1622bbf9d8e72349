// Who comes next: the fair queue, turns of calls on the io thread, and the way there from another thread.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>

#include "api/crossing.hpp"
#include "api/turns.hpp"

namespace bascule::api {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using ::testing::ElementsAre;

TEST(FairQueue, OneOfEachNameInTurnWhoeverSendsMany) {
  FairQueue<int> queue;
  for (int i = 1; i <= 3; ++i) queue.push("greedy", i);
  queue.push("modest", 10);
  queue.push("late", 20);
  std::vector<int> out;
  while (auto next = queue.pop()) out.push_back(*next);
  EXPECT_THAT(out, ElementsAre(1, 10, 20, 2, 3));
  EXPECT_TRUE(queue.empty());
}

TEST(FairQueue, WhoMayNotComeKeepsItsPlace) {
  FairQueue<int> queue;
  queue.push("greedy", 1);
  queue.push("modest", 10);
  EXPECT_EQ(queue.pop_if([](const std::string& name) { return name != "greedy"; }), 10);
  EXPECT_FALSE(queue.pop_if([](const std::string& name) { return name != "greedy"; }).has_value());
  EXPECT_EQ(queue.pop(), 1);
}

TEST(FairQueue, WhoHasMostLosesTheNewest) {
  FairQueue<int> queue;
  EXPECT_FALSE(queue.drop().has_value());
  queue.push("modest", 10);
  for (int i = 1; i <= 3; ++i) queue.push("greedy", i);
  EXPECT_EQ(queue.drop(), 3);
  EXPECT_EQ(queue.drop(), 2);
  EXPECT_EQ(queue.size_of("greedy"), 1U);
  EXPECT_EQ(queue.size(), 2U);
  while (queue.drop()) {
  }
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.pop().has_value());
}

struct Calls : testing::Test {
  asio::io_context io;
  Turns turns{io.get_executor()};
  std::vector<std::string> order;

  asio::awaitable<void> call(std::string name, bool staff, milliseconds length) {
    auto turn = turns.take(name, staff);
    co_await std::move(turn);
    order.push_back(name);
    const auto end = Clock::now() + length;
    while (Clock::now() < end) {
    }
  }
  void start(const std::string& name, bool staff, milliseconds length = milliseconds(0)) {
    asio::co_spawn(io, call(name, staff, length), asio::detached);
  }
};

TEST_F(Calls, NamesTakeTurnsAndStaffDoesNotStandBehindAllOthers) {
  for (int i = 0; i < 3; ++i) start("carl", false);
  start("gina", false);
  start("olga", true);
  start("olga", true);
  io.run();
  EXPECT_THAT(order, ElementsAre("carl", "olga", "carl", "olga", "gina", "carl"));
}

/// What the lease needs: however many calls are ready, a timer beside them is never later than about one of them, and
/// they leave the thread as much time as they take.
TEST_F(Calls, ATimerBesideLongCallsComesInTimeAndHasHalfOfTheThread) {
  constexpr milliseconds kLong{10};
  constexpr int kCalls = 20;
  for (int i = 0; i < kCalls; ++i) start("greedy", false, kLong);
  int beats = 0;
  asio::steady_timer beat(io);
  std::function<void()> again = [&] {
    beat.expires_after(milliseconds(1));
    beat.async_wait([&](auto) {
      ++beats;
      if (order.size() < kCalls) again();
    });
  };
  again();
  const auto began = Clock::now();
  io.run();
  EXPECT_GE(Clock::now() - began, (2 * kCalls - 1) * kLong);
  EXPECT_GT(beats, 2 * kCalls) << "between two calls there was no time for anything else";
}

asio::awaitable<std::thread::id> where(milliseconds length) {
  asio::steady_timer timer(co_await asio::this_coro::executor, length);
  co_await timer.async_wait(asio::use_awaitable);
  co_return std::this_thread::get_id();
}

struct Crossing : testing::Test {
  asio::io_context there{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{there.get_executor()};
  std::jthread thread{[this] { there.run(); }};
  asio::io_context here{1};
  ~Crossing() override { there.stop(); }

  asio::awaitable<void> cross(milliseconds length, std::optional<std::thread::id>& out, std::thread::id& back) {
    auto task = where(length);
    out = co_await carry_out_on<std::thread::id>(there.get_executor(), "a test", std::move(task));
    back = std::this_thread::get_id();
  }
};

TEST_F(Crossing, TheWorkIsDoneThereAndTheAnswerComesBackHere) {
  std::vector<std::optional<std::thread::id>> out(100);
  std::vector<std::thread::id> back(100);
  for (std::size_t i = 0; i < out.size(); ++i) {
    asio::co_spawn(here, cross(milliseconds(i % 3), out[i], back[i]), asio::detached);
  }
  here.run();
  for (const auto& id : out) EXPECT_EQ(id, thread.get_id());
  for (const auto& id : back) EXPECT_EQ(id, std::this_thread::get_id());
}

asio::awaitable<void> at_most(asio::awaitable<void> task, milliseconds length, bool& over) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(co_await asio::this_coro::executor, length);
  auto end = timer.async_wait(asio::use_awaitable);
  auto either = std::move(task) || std::move(end);
  co_await std::move(either);
  over = true;
}

TEST_F(Crossing, WhoeverStopsWaitingIsFreeAtOnceAndTheWorkEndsUnheard) {
  std::optional<std::thread::id> out;
  std::thread::id back;
  bool over = false;
  auto crossing = cross(milliseconds(300), out, back);
  asio::co_spawn(here, at_most(std::move(crossing), milliseconds(10), over), asio::detached);
  const auto began = Clock::now();
  here.run();
  EXPECT_TRUE(over);
  EXPECT_LT(Clock::now() - began, milliseconds(250));
  std::this_thread::sleep_for(milliseconds(350));  // it ends, and finds nobody
}

TEST_F(Crossing, ASideThatIsGoneIsNotWaitedForByTheOther) {
  std::optional<std::thread::id> out;
  std::thread::id back;
  {
    asio::io_context gone{1};
    asio::co_spawn(gone, cross(milliseconds(50), out, back), asio::detached);
    gone.run_for(milliseconds(5));
  }
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_FALSE(out.has_value());
}

}  // namespace
}  // namespace bascule::api
