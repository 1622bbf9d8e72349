// Tells the switches on which port a MAC address is now: a guest that was just started somewhere else says nothing by
// itself until its system has booted, and frames for it would go to the old place as long as the switches remember it.
// Sent from outside the guest, on its bridge; nothing of the guest is touched. Thread rule: any; blocks for no time
// worth mentioning.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "hostd/core/error.hpp"

namespace bascule::runtime {

/// The shortest frame of Ethernet without its checksum.
using Frame = std::array<std::uint8_t, 60>;

/// A RARP request from this address to everybody, as QEMU sends at the end of a migration (net/announce.c): it carries
/// no IP address, so nobody's ARP table is touched. `mac` is valid (core::valid_mac).
Frame announcement(const std::string& mac);

/// Sends it once, out of the bridge. Errors: not_found (no such bridge), io.
core::Result<> announce(const std::string& bridge, const std::string& mac);

}  // namespace bascule::runtime
