// Limits of what one step of DRBD or LVM may take. Internal to this folder.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>

namespace bascule::storage {

using std::chrono::milliseconds;

inline constexpr milliseconds kAskDeadline{30'000};
inline constexpr milliseconds kActDeadline{30'000};        // one drbdsetup command; the kernel's own waits are shorter
inline constexpr milliseconds kPromoteDeadline{60'000};    // may run the fence-peer helper, up to four times
inline constexpr milliseconds kMetadataDeadline{300'000};  // the bitmap of 16 TiB is 512 MiB
inline constexpr milliseconds kLvmDeadline{60'000};
inline constexpr milliseconds kRetryPause{250};
inline constexpr int kHeldOpenAttempts = 40;   // 10 s: udev, blkid and a dying QEMU let go within one
inline constexpr int kTransientAttempts = 20;  // 5 s
inline constexpr milliseconds kSettleLimit{10'000};
inline constexpr std::uint64_t kSlowestDiskMibS = 10;  // zeroing is given this pace

inline milliseconds zeroing_deadline(std::uint64_t mib) {
  return kLvmDeadline + milliseconds(mib * 1000 / kSlowestDiskMibS);
}

boost::asio::awaitable<void> pause(milliseconds time);

}  // namespace bascule::storage
