// The format of a cell's records in etcd. Within one format versions of hostd run side by side: a field that one does
// not know is skipped by it, and lost when it writes that record. A change that does not bear this is a new format:
// raised by the newest hostd when no older one is left, and refused by every hostd that does not know it. A cell
// without the key has format 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bascule::runtime {

inline constexpr std::int64_t kCellFormat = 1;  ///< the newest that this hostd reads and writes

/// Why records of this format are not to be read or changed by this hostd; nullopt when they may be.
std::optional<std::string> format_refusal(std::string_view value);

}  // namespace bascule::runtime
