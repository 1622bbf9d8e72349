// The audit chain: what is hashed, and how a break is found. The hash itself is the caller's (SHA-256 over
// `canonical`).
#pragma once

#include <string>

#include "hostd/core/model.hpp"

namespace bascule::core {

inline constexpr std::size_t kHashHexChars = 64;

/// Every field up to `previous`, in the order of the struct, as netstrings `<bytes>:<text>,`; integers as decimal text.
/// A netstring leaves no two records with the same text, which joined fields would.
std::string canonical(const AuditRecord& record);

/// `previous` of the first record.
std::string first_previous();

}  // namespace bascule::core
