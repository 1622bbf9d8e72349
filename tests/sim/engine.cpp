#include "tests/sim/engine.hpp"

#include <algorithm>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "hostd/core/error.hpp"

namespace bascule::sim {
namespace asio = boost::asio;
using runtime::Clock;

namespace {
constexpr std::uint64_t kMostEvents = 20'000'000;
constexpr Us kEpoch = 1000 * kSecond;  // monotonic clocks do not begin at zero
constexpr std::int64_t kWallEpochMs = 1'800'000'000'000;

/// A wait of a process on its machine's clock.
class SimTimer final : public runtime::TimerPort {
 public:
  explicit SimTimer(Process& process) : process_(process) {}

  asio::awaitable<void> wait_until(Clock::time_point until) override {
    auto started = [this, until](Process::Token token) {
      token_ = token;
      if (until == Clock::time_point::max()) return;
      auto& engine = process_.engine();
      const Us when = std::max(engine.now_us(), process_.clock().until(until));
      engine.at(when, [handle = process_.handle(), token] {
        if (const auto alive = handle.lock()) (*alive)->resume(token);
      });
    };
    auto parked = process_.park(started);
    co_await std::move(parked);
    token_ = 0;
  }
  void cancel() override {
    if (token_ != 0) process_.resume(std::exchange(token_, 0));
  }

 private:
  Process& process_;
  Process::Token token_{};
};
}  // namespace

std::uint64_t Rng::next() {
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

std::int64_t Rng::in(std::int64_t from, std::int64_t to) {
  const auto span = static_cast<std::uint64_t>(to - from) + 1;
  return from + static_cast<std::int64_t>(next() % span);
}

bool Rng::chance(double probability) {
  return static_cast<double>(next() >> 11U) < probability * 9007199254740992.0;  // 2^53
}

Clock::time_point MachineClock::at(Us now) const {
  const auto local = static_cast<Us>(static_cast<double>(now) * rate) + offset + kEpoch;
  return Clock::time_point(std::chrono::microseconds(local));
}

Us MachineClock::until(Clock::time_point local) const {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(local.time_since_epoch()).count();
  return static_cast<Us>(std::ceil(static_cast<double>(us - offset - kEpoch) / rate)) + 1;  // never a little early
}

Process::Process(Engine& engine, std::string name, const MachineClock& clock)
    : engine_(engine),
      name_(std::move(name)),
      clock_(clock),
      io_(std::make_unique<asio::io_context>(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE)),
      work_(io_->get_executor()),
      self_(std::make_shared<Process*>(this)) {}

Process::~Process() { kill(); }

void Process::kill() {
  self_.reset();
  if (!io_) return;
  const auto before = std::exchange(engine_.running_, this);
  auto dying = std::exchange(parked_, {});
  dying.clear();
  work_.reset();
  io_.reset();
  engine_.running_ = before;
}

void Process::hang(bool on) {
  hung_ = on;
  if (!on) wake();
}

void Process::wake() {
  if (ready_) return;
  ready_ = true;
  engine_.ready_.push_back(self_);
}

void Process::post(std::function<void()> task) {
  asio::post(*io_, std::move(task));
  wake();
}

asio::awaitable<void> Process::park(std::function<void(Token)> started) {
  const Token token = engine_.new_token();
  auto initiate = [this, token, &started](auto handler) {
    auto kept = std::make_shared<decltype(handler)>(std::move(handler));
    parked_[token] = [this, kept] { asio::post(*io_, std::move(*kept)); };
    started(token);
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(initiate, asio::use_awaitable);
}

void Process::resume(Token token) {
  const auto it = parked_.find(token);
  if (it == parked_.end()) return;
  const auto go_on = std::move(it->second);
  parked_.erase(it);
  go_on();
  wake();
}

asio::awaitable<void> Process::sleep(Us length) {
  auto started = [this, length](Token token) {
    engine_.after(length, [handle = handle(), token] {
      if (const auto alive = handle.lock()) (*alive)->resume(token);
    });
  };
  auto parked = park(started);
  co_await std::move(parked);
}

void Process::run() {
  ready_ = false;
  if (hung_ || !io_) return;
  const auto before = std::exchange(engine_.running_, this);
  const auto alive = std::weak_ptr<Process*>(self_);
  io_->poll();
  engine_.running_ = before;
}

Inside::Inside(Process& process)
    : engine_(process.engine()), before_(std::exchange(process.engine().running_, &process)) {}
Inside::~Inside() { engine_.running_ = before_; }

namespace {
Engine* living = nullptr;
}

Engine::Engine(std::uint64_t seed) : rng_(seed) {
  runtime::use_time(this);
  living = this;
}
Engine::~Engine() {
  living = nullptr;
  runtime::use_time(nullptr);
}
Engine* Engine::current() { return living; }

void Engine::at(Us when, std::function<void()> what) {
  queue_.push_back({std::max(when, now_), ++order_, std::move(what)});
  std::ranges::push_heap(queue_, std::greater<>{});
}

void Engine::drain() {
  while (!ready_.empty()) {
    const auto batch = std::exchange(ready_, {});
    for (const auto& handle : batch) {
      if (const auto process = handle.lock()) (*process)->run();
    }
  }
}

bool Engine::step(Us until) {
  drain();
  if (queue_.empty() || queue_.front().when > until) {
    now_ = std::max(now_, until);
    return false;
  }
  std::ranges::pop_heap(queue_, std::greater<>{});
  const Event event = std::move(queue_.back());
  queue_.pop_back();
  now_ = event.when;
  ++events_;
  BASCULE_CHECK(events_ < kMostEvents);  // a run that does not end is a bug of the simulator or of what it runs
  event.what();
  drain();
  return true;
}

void Engine::say(std::string_view who, std::string_view what) {
  if (tell_) (*tell_)(now_, who, what);
}

Clock::time_point Engine::now() {
  static const MachineClock plain;
  return (running_ == nullptr ? plain : running_->clock()).at(now_);
}

std::int64_t Engine::wall_ms() {
  return kWallEpochMs + now_ / kMs + (running_ == nullptr ? 0 : running_->clock().wall_offset_ms);
}

std::unique_ptr<runtime::TimerPort> Engine::make_timer(asio::any_io_executor) {
  BASCULE_CHECK(running_ != nullptr);
  return std::make_unique<SimTimer>(*running_);
}

}  // namespace bascule::sim
