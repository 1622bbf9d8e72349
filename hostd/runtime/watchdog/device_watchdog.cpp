#include "hostd/runtime/watchdog/device_watchdog.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace bascule::runtime {
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr const char* kStoredName = "watchdog";
constexpr const char* kSoftdogIdentity = "Software Watchdog";  // softdog.c
constexpr int kShortest = 1;   // s; what every driver of Debian's kernel takes or rounds up
constexpr int kLongest = 600;  // s; below the limit of every driver of Debian's kernel

/// The descriptor that systemd kept for us (FileDescriptorStoreMax); -1 when there is none. Others are closed.
int stored_descriptor() {
  char** names = nullptr;
  const int count = ::sd_listen_fds_with_names(0, &names);
  int found = -1;
  for (int i = 0; i < count; ++i) {
    const int fd = SD_LISTEN_FDS_START + i;
    if (found < 0 && std::strcmp(names[i], kStoredName) == 0)
      found = fd;
    else
      ::close(fd);
  }
  for (int i = 0; i < count; ++i) std::free(names[i]);
  std::free(static_cast<void*>(names));
  return found;
}

}  // namespace

DeviceWatchdog::DeviceWatchdog(std::string device) : device_(std::move(device)) {
  fd_ = stored_descriptor();
  handed_over_ = fd_ >= 0;
  // It was armed by the hostd before, and runs: it counts as armed from the first instant.
  started_ = handed_over_;
  if (handed_over_) static_cast<void>(::fcntl(fd_, F_SETFD, FD_CLOEXEC));
}

DeviceWatchdog::~DeviceWatchdog() {
  if (fd_ >= 0) ::close(fd_);  // without the magic character: the driver goes on counting
}

core::Error DeviceWatchdog::failure(const std::string& what) const {
  return fail(Errc::io, fmt::format("watchdog {}: {}: {}", device_, what, std::strerror(errno)));
}

Result<> DeviceWatchdog::open_device() {
  fd_ = ::open(device_.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd_ >= 0) return {};
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
    return fail(Errc::not_found,
                fmt::format("there is no watchdog {}: name one in [watchdog] device, or load its driver "
                            "(softdog only if [watchdog] accept_softdog says so)",
                            device_));
  }
  if (errno == EBUSY) {
    return fail(Errc::conflict, fmt::format("watchdog {} is held by another program: systemd's RuntimeWatchdogSec, "
                                            "watchdog.service or sbd must leave it to hostd",
                                            device_));
  }
  return failure("cannot be opened");
}

void DeviceWatchdog::close_device(bool keep_running) {
  if (fd_ < 0) return;
  if (!keep_running) static_cast<void>(!::write(fd_, "V", 1));
  ::sd_pid_notifyf(0, 0, "FDSTOREREMOVE=1\nFDNAME=%s", kStoredName);
  ::close(fd_);
  fd_ = -1;
  started_ = handed_over_ = false;
}

Result<WatchdogInfo> DeviceWatchdog::arm(std::uint32_t timeout_s, bool accept_softdog) {
  if (fd_ < 0) {
    if (auto opened = open_device(); !opened) return opened.error();
  }
  watchdog_info about{};
  if (::ioctl(fd_, WDIOC_GETSUPPORT, &about) != 0) return failure("does not say what it is");
  WatchdogInfo info;
  info.identity = std::string(reinterpret_cast<const char*>(about.identity),
                              ::strnlen(reinterpret_cast<const char*>(about.identity), sizeof about.identity));
  info.softdog = info.identity == kSoftdogIdentity;
  info.handed_over = handed_over_;
  if (info.softdog && !accept_softdog) {
    close_device(false);
    return fail(Errc::refused, fmt::format("watchdog {} is a softdog, which does not fire when the kernel hangs; "
                                           "[watchdog] accept_softdog = true accepts that",
                                           device_));
  }
  int timeout = 0;
  static_cast<void>(::ioctl(fd_, WDIOC_GETTIMEOUT, &timeout));
  if (timeout != static_cast<int>(timeout_s)) {
    timeout = static_cast<int>(timeout_s);
    if (::ioctl(fd_, WDIOC_SETTIMEOUT, &timeout) != 0 || ::ioctl(fd_, WDIOC_GETTIMEOUT, &timeout) != 0) {
      const auto error = failure(fmt::format("does not take {} s", timeout_s));
      close_device(false);
      return error;
    }
  }
  if (timeout != static_cast<int>(timeout_s)) {
    close_device(false);
    return fail(Errc::refused, fmt::format("watchdog {} gives {} s instead of {}: the sum of times would not hold; set "
                                           "[timing] watchdog_ms to what it can do",
                                           device_, timeout, timeout_s));
  }
  info.timeout_s = timeout_s;
  int status = 0;
  info.card_reset = ::ioctl(fd_, WDIOC_GETBOOTSTATUS, &status) == 0 && (status & WDIOF_CARDRESET) != 0;
  started_ = true;
  // Kept open over a crash or restart of hostd; else closing it would pet it once more. Without systemd: no effect.
  if (!handed_over_) ::sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=watchdog", &fd_, 1);
  return info;
}

Result<> DeviceWatchdog::pet() {
  if (!armed()) return fail(Errc::conflict, "watchdog " + device_ + " is not armed");
  if (expired_) return fail(Errc::conflict, "watchdog " + device_ + " is to reset this machine; it is not petted");
  int ignored = 0;
  if (::ioctl(fd_, WDIOC_KEEPALIVE, &ignored) != 0) return failure("cannot be petted");
  return {};
}

Result<> DeviceWatchdog::disarm() {
  if (!armed()) return {};
  int option = WDIOS_DISABLECARD;
  // Under nowayout this is refused, or ignored by the driver at the close; the first is asked for so as to know.
  if (::ioctl(fd_, WDIOC_SETOPTIONS, &option) != 0) {
    if (errno == EBUSY || errno == EOPNOTSUPP || errno == ENOTTY) {
      return fail(Errc::refused, "watchdog " + device_ + " cannot be stopped once started (nowayout)");
    }
    return failure("cannot be stopped");
  }
  close_device(false);
  return {};
}

Result<> DeviceWatchdog::expire_now() {
  if (!armed()) return fail(Errc::conflict, "watchdog " + device_ + " is not armed");
  expired_ = true;
  int timeout = kShortest;
  if (::ioctl(fd_, WDIOC_SETTIMEOUT, &timeout) != 0) return failure("does not take a shorter time");
  return {};
}

Result<> DeviceWatchdog::postpone() {
  if (!armed()) return {};
  int timeout = kLongest;
  if (::ioctl(fd_, WDIOC_SETTIMEOUT, &timeout) != 0) return failure("does not take a longer time");
  return {};
}

}  // namespace bascule::runtime
