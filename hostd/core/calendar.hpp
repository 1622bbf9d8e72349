// When care that is asked for "every day at HH:MM" is due. Pure; times are UTC, on the wall clock: a clock that jumps
// costs a copy too many or too late, never data.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/model.hpp"

namespace bascule::core {

/// "02:30" as minutes of the day; nullopt for anything else.
std::optional<int> minute_of_day(std::string_view text);

/// When a cold copy is made if nobody says when.
inline constexpr const char* kCopyAt = "02:00";

/// A copy that failed is tried again after this long, not only at the next time of the calendar.
inline constexpr WallMs kCopyRetryMs = 15 * 60 * 1000;

/// Some time of the calendar lies between the last good copy and now. With none made yet (`last` null) it is due at
/// once: until then there is nothing to start from.
bool copy_due(const std::vector<std::string>& at, const LastCare* last, WallMs now);

/// When both legs of every volume are compared block by block (online verify) without anybody asking. What does not fit
/// into one night is begun in the next.
struct VerifyCalendar {
  std::string at;     ///< HH:MM in UTC; empty: only when somebody asks
  int hours{4};       ///< verifies are begun for so long from then on
  int every_days{7};  ///< each volume is compared once in so many days
  bool operator==(const VerifyCalendar&) const = default;
};

/// `last`: how the volume's last verify ended; null: it never was. One that found a difference is compared again in the
/// next night, by when it has been resynced or is out of the record.
bool verify_due(const VerifyCalendar& calendar, const LastCare* last, WallMs now);

}  // namespace bascule::core
