// The port to this host's watchdog: the device that resets the machine unless it is petted in time (S1). The real one
// is DeviceWatchdog; the simulator has its own, and tests/contract/watchdog_contract_test.cpp runs on both.
// Synchronous, each call one ioctl. Thread rule: io thread only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "hostd/core/error.hpp"

namespace bascule::runtime {

struct WatchdogInfo {
  std::string identity;  ///< the driver's own word
  std::uint32_t timeout_s{};
  bool softdog{};      ///< a timer of the kernel, not a device: it does not fire when the kernel itself hangs
  bool handed_over{};  ///< the descriptor came from the hostd before, through systemd; it has not been petted
  bool card_reset{};   ///< it was what last reset this machine
};

class WatchdogPort {
 public:
  WatchdogPort() = default;
  WatchdogPort(const WatchdogPort&) = delete;
  WatchdogPort& operator=(const WatchdogPort&) = delete;
  virtual ~WatchdogPort() = default;

  /// Starts the device with `timeout_s`, read back. A device that was handed over is not petted: a restarted hostd must
  /// not lengthen its time before it has a proof. Errors: not_found (no device), conflict (somebody else has it open),
  /// refused (it takes another time-out than asked, or is a softdog that is not accepted), io.
  virtual core::Result<WatchdogInfo> arm(std::uint32_t timeout_s, bool accept_softdog) = 0;
  /// Errors: conflict when not armed or after expire_now; io.
  virtual core::Result<> pet() = 0;
  /// Error refused: the driver cannot be stopped (nowayout). It stays armed and must still be petted.
  virtual core::Result<> disarm() = 0;
  virtual bool armed() const = 0;
  /// The machine must go down: the shortest time-out the device takes, and no pet ever again.
  virtual core::Result<> expire_now() = 0;
  /// Before an orderly end of hostd with no guest here, where `disarm` was refused: as much time as the device gives.
  virtual core::Result<> postpone() = 0;
};

}  // namespace bascule::runtime
