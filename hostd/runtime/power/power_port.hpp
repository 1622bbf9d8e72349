// The port to other hosts' power switches. It only ever shortens a wait: without a confirmation nothing follows from
// it. The real one is AgentPower. Thread rule: io thread only.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>

#include "hostd/core/error.hpp"

namespace bascule::runtime {

class PowerPort {
 public:
  PowerPort() = default;
  PowerPort(const PowerPort&) = delete;
  PowerPort& operator=(const PowerPort&) = delete;
  virtual ~PowerPort() = default;
  /// There is a switch for this host.
  virtual bool configured(const std::string& host) const = 0;
  /// Switches it off. Success only when the switch has carried it out and, asked afterwards, says that the host is off.
  /// Every error leaves open whether it is: not_found (no switch), refused (it said no), outcome_unknown (no answer in
  /// time), io (no such agent).
  virtual boost::asio::awaitable<core::Result<>> off(std::string host) = 0;
};

}  // namespace bascule::runtime
