// Whether this hostd keeps its times: how late its io thread comes to timers, and how far apart the renewals of its
// lease are. Looks only; nothing is decided by it. Thread rule: io thread only.
#pragma once

#include <chrono>

#include "api/cell_port.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/clock.hpp"

namespace bascule {

class Pacer {
 public:
  Pacer(runtime::CellStore& cell, std::chrono::milliseconds renew) : cell_(cell), renew_(renew) {}
  boost::asio::awaitable<void> beat();         ///< for ever
  boost::asio::awaitable<void> watch_lease();  ///< for ever
  api::CellPort::Pace pace() const;

 private:
  using Clock = runtime::Clock;
  /// The worst of this window and of the one before.
  struct Worst {
    Clock::duration now{}, before{};
    void note(Clock::duration d) { now = std::max(now, d); }
    double seconds() const { return std::chrono::duration<double>(std::max(now, before)).count(); }
    void next() {
      before = now;
      now = {};
    }
  };
  runtime::CellStore& cell_;
  std::chrono::milliseconds renew_;
  Worst io_late_, lease_gap_;
  std::uint64_t late_renewals_{};
};

}  // namespace bascule
