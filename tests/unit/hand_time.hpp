// For tests of hostd's shell: a clock that is moved by hand, also between two lines of the code under test, and an etcd
// that can be away.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <set>
#include <utility>

#include "hostd/core/timing.hpp"
#include "hostd/runtime/clock.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {

namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Mono;
using core::Result;

/// Time that stands still until it is moved.
class HandTime final : public runtime::TimePort {
 public:
  explicit HandTime(asio::io_context& io) : io_(io) { runtime::use_time(this); }
  ~HandTime() override { runtime::use_time(nullptr); }
  runtime::Clock::time_point now() override { return now_; }
  std::int64_t wall_ms() override { return wall + (wall_goes ? (at() - began_).count() : 0); }
  std::unique_ptr<runtime::TimerPort> make_timer(asio::any_io_executor executor) override {
    return std::make_unique<Timer>(*this, std::move(executor));
  }
  void jump(Mono by) { now_ += by; }
  void pass(Mono time) {
    for (Mono left = time; left > Mono(0); left -= kStep) {
      settle();
      now_ += kStep;
    }
    settle();
  }
  Mono at() const { return std::chrono::duration_cast<Mono>(now_.time_since_epoch()); }
  std::int64_t wall{1};  ///< the wall clock at the start, and as long as it does not go
  bool wall_goes{};

 private:
  struct Timer final : runtime::TimerPort {
    Timer(HandTime& time, asio::any_io_executor executor) : owner(time), timer(std::move(executor)) {}
    ~Timer() override { owner.waiting_.erase(this); }
    asio::awaitable<void> wait_until(runtime::Clock::time_point when) override {
      if (owner.now_ >= when) co_return;
      until = when;
      owner.waiting_.insert(this);
      timer.expires_at(asio::steady_timer::time_point::max());
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
      owner.waiting_.erase(this);
    }
    void cancel() override { timer.cancel(); }
    HandTime& owner;
    asio::steady_timer timer;
    runtime::Clock::time_point until;
  };
  void settle() {
    for (bool again = true; again;) {
      for (auto* t : waiting_) {
        if (t->until <= now_) t->cancel();
      }
      io_.restart();
      again = io_.poll() > 0;
    }
  }
  static constexpr Mono kStep{10};
  asio::io_context& io_;
  // Ahead of the machine's, by which FakeKv judges deadlines.
  runtime::Clock::time_point now_{std::chrono::steady_clock::now() + std::chrono::hours(1)};
  Mono began_{at()};
  std::set<Timer*> waiting_;
};

/// etcd, which can be away, and takes as long as is said.
struct Etcd final : runtime::KvStore {
  Etcd(asio::any_io_executor executor, HandTime& clock) : kv(executor), time(clock) {}
  asio::awaitable<Result<kv::TxnReply>> txn(kv::Txn txn, runtime::Deadline deadline) override {
    if (away) co_return fail(Errc::unavailable, "away");
    if (sent) sent(txn);
    auto reply = co_await kv.txn(std::move(txn), deadline);
    time.jump(latency);
    co_return reply;
  }
  std::unique_ptr<runtime::KvWatch> watch(std::string prefix, kv::Revision from) override {
    return kv.watch(std::move(prefix), from);
  }
  [[nodiscard]] runtime::StoreHealth health() const override { return kv.health(); }
  FakeKv kv;
  HandTime& time;
  Mono latency{};
  bool away{};
  std::function<void(const kv::Txn&)> sent;  ///< told of each transaction before it is carried out
};

}  // namespace bascule::testkit
