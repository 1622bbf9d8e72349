// Does KVM run a guest here? Only a guest can tell: /dev/kvm may exist and still run nothing.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <string>

#include "hostd/core/domain.hpp"

namespace bascule::runtime::libvirt {

struct AccelProbe {
  core::Accel accel{core::Accel::tcg};
  std::string sentence;  ///< how it was found out, for the log and the host's record
};

inline constexpr const char* qemu_path = "/usr/bin/qemu-system-x86_64";
/// A working KVM needs about 0.3 s; only a broken one takes it all.
inline constexpr std::chrono::milliseconds probe_limit{5000};

/// The guest of accel_payload.S under the given accelerator: the firmware boots it in real mode, it turns paging on,
/// enters 64-bit mode and leaves with a value it computed there. Error `refused` with the reason when it did not come
/// to that end within the limit; errors of runtime::run as they are.
boost::asio::awaitable<core::Result<>> run_probe_guest(core::Accel accel, std::string qemu = qemu_path,
                                                       std::chrono::milliseconds limit = probe_limit);

/// KVM when the probe guest ran under it, else TCG. Never fails: without proof it is TCG.
boost::asio::awaitable<AccelProbe> probe_accel(std::string qemu = qemu_path,
                                               std::chrono::milliseconds limit = probe_limit);

}  // namespace bascule::runtime::libvirt
