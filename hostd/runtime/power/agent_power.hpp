// Power switches through the fence-agents package: one program per kind of switch, `key=value` lines on its stdin.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "hostd/runtime/power/power_port.hpp"

namespace bascule::runtime {

struct PowerSwitch {
  std::string agent;                           ///< absolute path
  std::map<std::string, std::string> options;  ///< as the agent names them; shown in no message
  std::string secret_file;           ///< further options, e.g. password=...; must be readable by its owner alone
  std::chrono::seconds timeout{20};  ///< for each of the two calls
};
/// Error invalid: a key or value that could not be a line, a path that is not absolute.
core::Result<> check(const PowerSwitch& power);

class AgentPower final : public PowerPort {
 public:
  explicit AgentPower(std::map<std::string, PowerSwitch> switches) : switches_(std::move(switches)) {}
  bool configured(const std::string& host) const override { return switches_.contains(host); }
  boost::asio::awaitable<core::Result<>> off(std::string host) override;

  static constexpr std::size_t max_secret_bytes = 4096;

 private:
  std::map<std::string, PowerSwitch> switches_;
};

}  // namespace bascule::runtime
