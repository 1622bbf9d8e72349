// What a name, reason or address from outside may look like. Everything that reaches a path, a DRBD configuration,
// a domain or an etcd key has passed one of these.
#pragma once

#include <string_view>

#include "hostd/core/error.hpp"

namespace bascule::core {

/// Lower-case letters, digits, inner hyphens; 1..Limits::name_bytes. No dots or slashes, so no path tricks.
bool valid_name(std::string_view name);
/// Same, as an error that names the field.
Result<> check_name(std::string_view field, std::string_view name);
/// 1..Limits::reason_bytes bytes of UTF-8 without control characters.
Result<> check_reason(std::string_view reason);
/// aa:bb:cc:dd:ee:ff, unicast.
bool valid_mac(std::string_view mac);

}  // namespace bascule::core
