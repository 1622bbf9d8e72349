// A condition that coroutines on one io_context wait for: notify() wakes every waiter. No threads.
#pragma once

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <utility>
#include <vector>

#include "hostd/runtime/clock.hpp"

namespace bascule::runtime {

class Signal {
 public:
  explicit Signal(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}
  /// Everything that waits now goes on; later waiters wait for the next notify.
  void notify() {
    ++count_;
    for (TimerPort* waiter : *waiters_) waiter->cancel();
  }
  std::uint64_t count() const { return count_; }
  boost::asio::any_io_executor executor() { return executor_; }

  /// Returns at the next notify after `seen`, at the deadline, or at once when there was one since.
  boost::asio::awaitable<void> wait(std::uint64_t seen, Clock::time_point deadline) {
    if (count_ != seen) co_return;
    const Waiter waiter(waiters_, make_timer(executor_));
    co_await waiter.timer->wait_until(deadline);
  }

 private:
  using Waiters = std::shared_ptr<std::vector<TimerPort*>>;  // a wait that nobody ends may outlive the signal
  struct Waiter {
    Waiter(Waiters a, std::unique_ptr<TimerPort> t) : all(std::move(a)), timer(std::move(t)) {
      all->push_back(timer.get());
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() { std::erase(*all, timer.get()); }
    Waiters all;
    std::unique_ptr<TimerPort> timer;
  };
  boost::asio::any_io_executor executor_;
  Waiters waiters_ = std::make_shared<std::vector<TimerPort*>>();
  std::uint64_t count_{0};
};

}  // namespace bascule::runtime
