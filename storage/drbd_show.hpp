// The little that only `drbdsetup show <resource>` tells: which disk is attached and the addresses
// and options a connection runs with. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "hostd/core/error.hpp"

namespace bascule::storage {

struct ShownResource {
  std::map<std::uint32_t, std::string> disk;  ///< minor -> backing device; no entry: not attached
  std::string local_address,
      remote_address;  ///< "ipv4:10.0.0.1:7800", as commands want it; empty: no connection
  bool allow_two_primaries{};
  bool operator==(const ShownResource&) const = default;
};

/// Reads what 8.4 and 9 print. Unknown statements are skipped. Errors: invalid (too long,
/// unbalanced).
core::Result<ShownResource> parse_show(std::string_view text);

}  // namespace bascule::storage
