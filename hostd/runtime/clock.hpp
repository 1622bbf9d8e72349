// The time hostd lives by, as a port: the machine's own clocks, or those that a simulator gives it (tests/sim), so that
// the code that ships runs in simulated time. Thread rule: io thread only.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>

namespace bascule::runtime {

/// This machine's monotonic clock; never compared with another machine's.
struct Clock {
  using duration = std::chrono::steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr bool is_steady = true;
  static time_point now();
};

/// Milliseconds since the Unix epoch, for records that people read.
std::int64_t wall_ms();

class TimerPort {
 public:
  TimerPort() = default;
  TimerPort(const TimerPort&) = delete;
  TimerPort& operator=(const TimerPort&) = delete;
  virtual ~TimerPort() = default;
  /// Ends at that time, or at `cancel`. One wait at a time.
  virtual boost::asio::awaitable<void> wait_until(Clock::time_point until) = 0;
  virtual void cancel() = 0;
};

class TimePort {
 public:
  TimePort() = default;
  TimePort(const TimePort&) = delete;
  TimePort& operator=(const TimePort&) = delete;
  virtual ~TimePort() = default;
  virtual Clock::time_point now() = 0;
  virtual std::int64_t wall_ms() = 0;
  virtual std::unique_ptr<TimerPort> make_timer(boost::asio::any_io_executor executor) = 0;
};

/// From now on time comes from there; nullptr: from the machine. Only before anything runs.
void use_time(TimePort* source);
std::unique_ptr<TimerPort> make_timer(boost::asio::any_io_executor executor);
boost::asio::awaitable<void> pause(Clock::duration length);

}  // namespace bascule::runtime
