// The shell around core::alert_round: writes what it says, sends what it says, decides nothing. Thread rule: io thread
// only; messages are sent by threads of its own.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "hostd/alert/sender.hpp"
#include "hostd/core/alert.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/clock.hpp"

namespace bascule::alert {

class Loop {
 public:
  /// `certificates`: files whose end is watched.
  Loop(runtime::CellStore& cell, const Settings& settings, const std::string& cell_name, std::string instance,
       std::vector<std::string> certificates);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  /// For ever; run it once. With no list configured it does nothing.
  boost::asio::awaitable<void> run();
  /// What is being sent is given up: hostd ends, and its guests' watchdog waits for the next one.
  void stop() { sender_.stop(); }

 private:
  core::AlertFacts facts();
  void look_at_certificates();
  boost::asio::awaitable<void> write(core::AlertWrite write);
  void send(core::AlertMessage message);
  void ended(const core::AlertJob& job, core::AlertOutcome outcome);

  runtime::CellStore& cell_;
  const Settings& settings_;
  std::string instance_;
  std::vector<std::string> certificates_;
  std::map<std::string, core::WallMs> ends_;
  runtime::Clock::time_point looked_{};
  core::AlertMemory memory_;
  std::set<std::string> busy_;
  std::set<core::AlertJob> sending_;
  std::map<core::AlertJob, core::AlertOutcome> outcomes_;
  Sender sender_;
  boost::asio::thread_pool threads_;  ///< last: joined before what its jobs use goes
};

}  // namespace bascule::alert
