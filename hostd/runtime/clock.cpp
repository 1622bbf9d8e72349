#include "hostd/runtime/clock.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace bascule::runtime {
namespace asio = boost::asio;

namespace {

class MachineTimer final : public TimerPort {
 public:
  explicit MachineTimer(asio::any_io_executor executor) : timer_(std::move(executor)) {}
  asio::awaitable<void> wait_until(Clock::time_point until) override {
    timer_.expires_at(until);
    co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  void cancel() override { timer_.cancel(); }

 private:
  asio::steady_timer timer_;
};

class MachineTime final : public TimePort {
 public:
  Clock::time_point now() override { return std::chrono::steady_clock::now(); }
  std::int64_t wall_ms() override {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  }
  std::unique_ptr<TimerPort> make_timer(asio::any_io_executor executor) override {
    return std::make_unique<MachineTimer>(std::move(executor));
  }
};

MachineTime machine_time;
TimePort* in_use = &machine_time;

}  // namespace

void use_time(TimePort* source) { in_use = source == nullptr ? &machine_time : source; }
Clock::time_point Clock::now() { return in_use->now(); }
std::int64_t wall_ms() { return in_use->wall_ms(); }
std::unique_ptr<TimerPort> make_timer(asio::any_io_executor executor) {
  return in_use->make_timer(std::move(executor));
}

asio::awaitable<void> pause(Clock::duration length) {
  const auto timer = make_timer(co_await asio::this_coro::executor);
  co_await timer->wait_until(Clock::now() + length);
}

}  // namespace bascule::runtime
