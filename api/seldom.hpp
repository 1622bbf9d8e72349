// What anybody can cause as often as he likes, told once a minute: nobody fills the log by asking.
// Thread rule: any thread.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>

namespace bascule::api {

class Seldom {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::minutes kApart{1};
  static constexpr std::size_t kKinds = 64;  ///< within kApart; more are not told

  /// Whether this is to be told: not told within kApart.
  bool due(const std::string& what, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    std::erase_if(told_, [&](const auto& one) { return now - one.second >= kApart; });
    return told_.size() < kKinds && told_.try_emplace(what, now).second;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Clock::time_point> told_;
};

}  // namespace bascule::api
