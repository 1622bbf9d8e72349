// The watchdog as a character device (Linux watchdog API), its descriptor kept by systemd over a restart of hostd.
#pragma once

#include <string>

#include "hostd/runtime/watchdog/watchdog_port.hpp"

namespace bascule::runtime {

class DeviceWatchdog final : public WatchdogPort {
 public:
  /// `device`: e.g. /dev/watchdog. Nothing is opened before `arm`; a descriptor that systemd handed over is taken now.
  explicit DeviceWatchdog(std::string device);
  /// Leaves an armed device armed: it resets the machine unless another hostd pets it in time.
  ~DeviceWatchdog() override;

  core::Result<WatchdogInfo> arm(std::uint32_t timeout_s, bool accept_softdog) override;
  core::Result<> pet() override;
  core::Result<> disarm() override;
  bool armed() const override { return fd_ >= 0 && started_; }
  core::Result<> expire_now() override;
  core::Result<> postpone() override;

 private:
  core::Error failure(const std::string& what) const;
  core::Result<> open_device();
  void close_device(bool keep_running);

  std::string device_;
  int fd_{-1};
  bool handed_over_{};
  bool started_{};
  bool expired_{};
};

}  // namespace bascule::runtime
