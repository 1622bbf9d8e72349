// What `cell backup` writes and `cell restore` reads. docs/cell-backup.md.
#pragma once

#include <cstdint>
#include <string_view>

namespace bascule::hostctl {

inline constexpr std::string_view kBackupKind = "bascule-cell-backup";
inline constexpr std::int64_t kBackupFormat = 1;  ///< a program that reads the file refuses a number it does not know

}  // namespace bascule::hostctl
