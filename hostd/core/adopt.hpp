// A VM whose record was lost with all of etcd gets a new one: what both hosts say of its legs, and what follows from
// it. Pure; hostd/steps/adopt.cpp asks the hosts.
#pragma once

#include <string>
#include <string_view>

#include "hostd/core/error.hpp"
#include "hostd/core/notes.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

/// How a leg's data stands to the other leg's, by DRBD's generation identifiers.
enum class Lineage : std::uint8_t {
  same,
  ahead,    ///< it knows the other's generation as an older one of its own
  behind,   ///< the other was written to since: what it confirmed is missing here
  parted,   ///< both hold something of their own, or they have nothing in common
  unknown,  ///< the identifiers are no such text
};
/// Of identifiers as DRBD prints them, current:bitmap:old:old...; the lowest bit of each only says who was Primary.
Lineage lineage(std::string_view own, std::string_view other);

// Keys of the operation's result: what a host says.
std::string adopt_epoch_key(const std::string& host);
std::string adopt_generation_key(const std::string& host, const std::string& volume);

/// One sentence for the second operator: what this host remembers of the VM's run-right.
std::string remembered(const Notes& notes, const std::string& vm);

/// By what both hosts have said, no leg of `host` is older than the other one. How each stands to it, one sentence for
/// the second operator: nobody else says that two have parted. Error refused.
Result<std::string> not_older(const Operation& op, const VmView& vm, const std::string& host);

/// The record of a VM that has none: `host` alone, with an epoch above the file's and above what either host has seen.
/// Errors: conflict (nobody has approved it; there is a record; the VM is not from a file; a host has not said what it
/// has), refused (the leg of `host` lacks what the other one holds).
Result<Right> adopted(const Operation& op, const VmView& vm, const std::string& host);

}  // namespace bascule::core
