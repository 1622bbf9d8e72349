#include "hostd/core/names.hpp"

#include <algorithm>
#include <string>

#include "hostd/core/model.hpp"

namespace bascule::core {
namespace {
bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

/// Length of the UTF-8 sequence that starts here, 0 when malformed (overlong and surrogates included).
std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char b = byte(0);
  if (b < 0x80) return 1;
  const std::size_t n = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
  if (b < 0xC2 || b > 0xF4 || s.size() < n) return 0;
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if ((b == 0xE0 && second < 0xA0) || (b == 0xED && second > 0x9F) || (b == 0xF0 && second < 0x90) ||
      (b == 0xF4 && second > 0x8F)) {
    return 0;
  }
  return n;
}
}  // namespace

bool valid_name(std::string_view name) {
  if (name.empty() || name.size() > Limits::name_bytes) return false;
  if (!lower_or_digit(name.front()) || !lower_or_digit(name.back())) return false;
  return std::ranges::all_of(name, [](char c) { return lower_or_digit(c) || c == '-'; });
}

Result<> check_name(std::string_view field, std::string_view name) {
  if (valid_name(name)) return {};
  return fail(Errc::invalid, std::string(field) + ": a name is 1 to " + std::to_string(Limits::name_bytes) +
                                 " lower-case letters, digits and inner hyphens");
}

Result<> check_reason(std::string_view reason) {
  if (reason.empty()) return fail(Errc::invalid, "reason: every change needs one; nothing was changed");
  if (reason.size() > Limits::reason_bytes) {
    return fail(Errc::invalid, "reason: at most " + std::to_string(Limits::reason_bytes) + " bytes");
  }
  bool visible = false;
  while (!reason.empty()) {
    const std::size_t n = utf8_length(reason);
    const auto first = static_cast<unsigned char>(reason.front());
    if (n == 0) return fail(Errc::invalid, "reason: not valid UTF-8");
    // C1 controls (U+0080..U+009F) can drive a terminal too.
    const bool c1 = n == 2 && first == 0xC2 && static_cast<unsigned char>(reason[1]) < 0xA0;
    if (first < 0x20 || first == 0x7F || c1) {
      return fail(Errc::invalid, "reason: control characters are not allowed");
    }
    visible = visible || first != ' ';
    reason.remove_prefix(n);
  }
  if (!visible) return fail(Errc::invalid, "reason: must say something");
  return {};
}

bool valid_mac(std::string_view mac) {
  if (mac.size() != 17) return false;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    if (i % 3 == 2 ? mac[i] != ':' : !hex(mac[i])) return false;
  }
  const char low = mac[1];
  const int nibble = low <= '9' ? low - '0' : low - 'a' + 10;
  return (nibble & 1) == 0 && mac != "00:00:00:00:00:00";
}

}  // namespace bascule::core
