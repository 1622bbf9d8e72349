// The shell around core::ha_round: gathers what this host knows, asks for the operations that the round names, switches
// silent hosts off. Decides nothing. Thread rule: io thread only.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "hostd/core/ha.hpp"
#include "hostd/guardian.hpp"
#include "hostd/node.hpp"
#include "hostd/runtime/power/power_port.hpp"

namespace bascule {

class HaLoop {
 public:
  HaLoop(Node& node, const Guardian& guardian, runtime::PowerPort& power);
  /// For ever; run it once.
  boost::asio::awaitable<void> run();
  core::HaFacts facts() const;

 private:
  using Clock = runtime::Clock;
  boost::asio::awaitable<void> carry_out(core::HaAction action);
  boost::asio::awaitable<core::Result<>> submit(core::HaAction action);
  boost::asio::awaitable<void> fence(std::string host, std::string why);
  void tell(std::map<std::string, std::string> waits);
  /// Until something may change by the passing of time alone.
  core::Mono next_look() const;

  struct Pause {
    Clock::time_point until;
    std::chrono::seconds length;
  };
  Node& node_;
  const Guardian& guardian_;
  runtime::PowerPort& power_;
  Clock::time_point started_{Clock::now()};
  std::set<std::string> at_work_;        ///< VMs and hosts an action is under way for
  std::map<std::string, Pause> pauses_;  ///< by VM: an action failed and is not tried again before
  std::deque<Clock::time_point> fenced_;
};

}  // namespace bascule
