// Simulated time and the processes that live in it. One thread, one queue of events; the same seed gives the same run.
// A Process is one life of one hostd: the shipped coroutines on an io_context of its own, on the clock of its machine.
// To kill it is to destroy it; to hang it is not to run it.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/runtime/clock.hpp"

namespace bascule::sim {

/// Microseconds since the schedule began: the simulator's own time, which no machine sees.
using Us = std::int64_t;
inline constexpr Us kMs = 1000;
inline constexpr Us kSecond = 1000 * kMs;

/// SplitMix64: small, and the same everywhere.
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  /// from..to, both included.
  std::int64_t in(std::int64_t from, std::int64_t to);
  bool chance(double probability);

 private:
  std::uint64_t state_;
};

/// How a machine's clocks differ from the simulator's time.
struct MachineClock {
  Us offset{};       ///< of the monotonic clock: machines boot at different times
  double rate{1.0};  ///< crystals differ; core::Timing allows 1 %
  std::int64_t wall_offset_ms{};
  runtime::Clock::time_point at(Us now) const;
  Us until(runtime::Clock::time_point local) const;
};

class Engine;

class Process {
 public:
  using Token = std::uint64_t;
  Process(Engine& engine, std::string name, const MachineClock& clock);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  /// Ends every coroutine where it stands. The objects they used must still be there.
  void kill();
  void hang(bool on);
  bool hung() const { return hung_; }

  boost::asio::any_io_executor executor() { return io_->get_executor(); }
  /// Runs it inside this process.
  void post(std::function<void()> task);
  /// Waits until somebody resumes the token that `started` was given.
  boost::asio::awaitable<void> park(std::function<void(Token)> started);
  void resume(Token token);
  /// In the simulator's time, not the machine's.
  boost::asio::awaitable<void> sleep(Us length);

  Engine& engine() { return engine_; }
  const std::string& name() const { return name_; }
  const MachineClock& clock() const { return clock_; }
  /// Outlives the process: for whoever wants to know whether it still lives.
  std::weak_ptr<Process*> handle() const { return self_; }

 private:
  friend class Engine;
  void run();
  void wake();
  Engine& engine_;
  std::string name_;
  const MachineClock& clock_;
  std::unique_ptr<boost::asio::io_context> io_;
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::map<Token, std::function<void()>> parked_;
  std::shared_ptr<Process*> self_;
  bool hung_{}, ready_{};
};

/// While it lives, whatever is called lives in this process and on its machine's clock.
class Inside {
 public:
  explicit Inside(Process& process);
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside();

 private:
  Engine& engine_;
  Process* before_;
};

class Engine final : public runtime::TimePort {
 public:
  explicit Engine(std::uint64_t seed);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() override;

  /// The one that lives now; nullptr: none.
  static Engine* current();

  Us now_us() const { return now_; }
  Rng& rng() { return rng_; }
  void at(Us when, std::function<void()> what);
  void after(Us length, std::function<void()> what) { at(now_ + length, std::move(what)); }
  /// The next event and everything that follows from it at once. False: there is none before `until`.
  bool step(Us until);
  Process::Token new_token() { return ++tokens_; }
  std::uint64_t events() const { return events_; }

  /// What happened, for people; nothing is kept unless `tell` is set.
  void say(std::string_view who, std::string_view what);
  bool telling() const { return tell_ != nullptr; }
  void tell(std::function<void(Us, std::string_view, std::string_view)> sink) {
    tell_ = std::make_unique<std::function<void(Us, std::string_view, std::string_view)>>(std::move(sink));
  }

  // The time of the process that runs now.
  runtime::Clock::time_point now() override;
  std::int64_t wall_ms() override;
  std::unique_ptr<runtime::TimerPort> make_timer(boost::asio::any_io_executor executor) override;
  Process* running() { return running_; }

 private:
  friend class Process;
  friend class Inside;
  struct Event {
    Us when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator>(const Event& other) const { return when != other.when ? when > other.when : order > other.order; }
  };
  void drain();
  Us now_{};
  std::uint64_t order_{}, events_{};
  Process::Token tokens_{};
  std::vector<Event> queue_;  // a heap
  std::vector<std::weak_ptr<Process*>> ready_;
  Process* running_{};
  Rng rng_;
  std::unique_ptr<std::function<void(Us, std::string_view, std::string_view)>> tell_;
};

}  // namespace bascule::sim
