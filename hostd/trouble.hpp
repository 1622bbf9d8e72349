// What is wrong with the VMs that this host holds, into the log as it begins and ends: the same findings that alerts
// are made of (core::alert_events), also where nobody is to be told by mail. Thread rule: io thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <map>
#include <string>

#include "hostd/core/alert.hpp"
#include "hostd/runtime/cell/store.hpp"

namespace bascule {

class TroubleTeller {
 public:
  TroubleTeller(const runtime::CellStore& cell, const core::AlertRules& rules) : cell_(cell), rules_(rules) {}
  boost::asio::awaitable<void> run();
  /// One look; `now` on any clock that only goes forward.
  void look(core::Mono now);

 private:
  struct Seen {
    core::Mono since{};
    std::string vm;
    bool told{};
  };
  const runtime::CellStore& cell_;
  const core::AlertRules& rules_;
  std::map<std::string, Seen> seen_;  ///< by the alert's id
};

}  // namespace bascule
