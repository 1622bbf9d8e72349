#include "hostd/core/calendar.hpp"

#include <algorithm>

namespace bascule::core {
namespace {
constexpr WallMs kMinute = 60'000;
bool digit(char c) { return c >= '0' && c <= '9'; }

/// The newest instant at that minute of a day which is not after now.
WallMs latest_at(int minute, WallMs now) {
  const WallMs today = now / kDayMs * kDayMs + minute * kMinute;
  return today > now ? today - kDayMs : today;
}
}  // namespace

std::optional<int> minute_of_day(std::string_view text) {
  if (text.size() != 5 || text[2] != ':' || !digit(text[0]) || !digit(text[1]) || !digit(text[3]) || !digit(text[4])) {
    return {};
  }
  const int hour = (text[0] - '0') * 10 + (text[1] - '0');
  const int minute = (text[3] - '0') * 10 + (text[4] - '0');
  if (hour > 23 || minute > 59) return {};
  return hour * 60 + minute;
}

bool copy_due(const std::vector<std::string>& at, const LastCare* last, WallMs now) {
  if (last == nullptr) return true;
  if (!last->good) return now - last->when_ms > kCopyRetryMs;
  return std::ranges::any_of(at, [&](const std::string& text) {
    const auto minute = minute_of_day(text);
    return minute && last->when_ms < latest_at(*minute, now);
  });
}

bool verify_due(const VerifyCalendar& calendar, const LastCare* last, WallMs now) {
  const auto minute = minute_of_day(calendar.at);
  if (!minute) return false;
  const WallMs begin = latest_at(*minute, now);
  if (now - begin >= calendar.hours * 60 * kMinute) return false;
  if (last == nullptr) return true;
  const WallMs nights = last->good ? calendar.every_days - 1 : 0;
  return last->when_ms < begin - nights * kDayMs;
}

}  // namespace bascule::core
