// From the API's own thread to the io thread and back: the one place where two threads meet. A coroutine of the API
// waits here for what another one, on the io thread, makes for it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "hostd/runtime/background.hpp"

namespace bascule::api {

/// What both sides hold. It owns nothing of either thread, so that either may be gone before the other.
template <class T>
struct Meeting {
  std::mutex mutex;                     ///< of all below
  boost::asio::steady_timer* waiter{};  ///< lives as long as the one who waits; nullptr: it has left
  std::optional<T> answer;
};

/// The waiting side's hold on it.
template <class T>
class Seat {
 public:
  Seat(std::shared_ptr<Meeting<T>> meeting, const boost::asio::any_io_executor& here)
      : meeting_(std::move(meeting)), timer_(here, std::chrono::steady_clock::time_point::max()) {
    const std::lock_guard lock(meeting_->mutex);
    meeting_->waiter = &timer_;
  }
  ~Seat() {
    const std::lock_guard lock(meeting_->mutex);
    meeting_->waiter = nullptr;
  }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  boost::asio::steady_timer& timer() { return timer_; }

 private:
  std::shared_ptr<Meeting<T>> meeting_;
  boost::asio::steady_timer timer_;
};

/// On the other thread: does the work and wakes the waiter, if it still waits.
template <class T>
boost::asio::awaitable<void> answer_there(std::shared_ptr<Meeting<T>> meeting, boost::asio::any_io_executor back,
                                          boost::asio::awaitable<T> work) {
  auto made = co_await std::move(work);
  const std::lock_guard lock(meeting->mutex);
  meeting->answer.emplace(std::move(made));
  // While there is a waiter its thread's executor is there, too.
  if (meeting->waiter == nullptr) co_return;
  boost::asio::post(back, [meeting] {
    const std::lock_guard again(meeting->mutex);
    if (meeting->waiter != nullptr) meeting->waiter->cancel();
  });
}

/// Runs `work` on the executor `there` and returns what it made; nullopt: the waiting was cancelled, and the work goes
/// on unheard. What the work uses must be owned by it.
template <class T>
boost::asio::awaitable<std::optional<T>> carry_out_on(boost::asio::any_io_executor there, std::string what,
                                                      boost::asio::awaitable<T> work) {
  const auto here = co_await boost::asio::this_coro::executor;
  const auto meeting = std::make_shared<Meeting<T>>();
  Seat<T> seat(meeting, here);
  auto task = answer_there<T>(meeting, here, std::move(work));
  runtime::run_in_background(there, std::move(what), std::move(task));
  // The wake is posted to this thread: it cannot come before the wait has begun.
  co_await seat.timer().async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  const std::lock_guard lock(meeting->mutex);
  co_return std::move(meeting->answer);
}

}  // namespace bascule::api
