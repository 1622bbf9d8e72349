// A condition that coroutines on one io_context wait for: notify() wakes every waiter. No threads.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <utility>

namespace bascule::runtime {

class Signal {
 public:
  explicit Signal(boost::asio::any_io_executor executor) : timer_(std::move(executor)) {
    timer_.expires_at(std::chrono::steady_clock::time_point::max());
  }
  /// Everything that waits now goes on; later waiters wait for the next notify.
  void notify() {
    ++count_;
    timer_.expires_at(std::chrono::steady_clock::time_point::max());  // cancels the waits
  }
  std::uint64_t count() const { return count_; }
  boost::asio::any_io_executor executor() { return timer_.get_executor(); }

  /// Returns at the next notify after `seen`, at the deadline, or at once when there was one since.
  boost::asio::awaitable<void> wait(std::uint64_t seen, std::chrono::steady_clock::time_point deadline) {
    if (count_ != seen) co_return;
    const auto executor = co_await boost::asio::this_coro::executor;
    boost::asio::steady_timer own(executor);
    own.expires_at(deadline);
    // The shared timer is cancelled by notify; the private one bounds the wait.
    co_await wait_either(own);
  }

 private:
  boost::asio::awaitable<void> wait_either(boost::asio::steady_timer& own);
  boost::asio::steady_timer timer_;
  std::uint64_t count_{0};
};

}  // namespace bascule::runtime

#include <boost/asio/experimental/awaitable_operators.hpp>

namespace bascule::runtime {
inline boost::asio::awaitable<void> Signal::wait_either(boost::asio::steady_timer& own) {
  using namespace boost::asio::experimental::awaitable_operators;
  constexpr auto token = boost::asio::as_tuple(boost::asio::use_awaitable);
  co_await (timer_.async_wait(token) || own.async_wait(token));
}
}  // namespace bascule::runtime
