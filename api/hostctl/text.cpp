#include "api/hostctl/text.hpp"

#include <fmt/format.h>
#include <wchar.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <span>
#include <vector>

namespace bascule::hostctl {
namespace {

struct Character {
  char32_t code{};
  std::size_t length{};  ///< bytes; 0 = not UTF-8 here
};

/// Decodes strictly: overlong forms, surrogates and anything above U+10FFFF are not UTF-8.
Character decode(std::string_view s) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char b = byte(0);
  if (b < 0x80) return {b, 1};
  if (b < 0xC2 || b > 0xF4) return {};
  const std::size_t n = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
  if (s.size() < n) return {};
  char32_t code = b & (0xFFU >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = (code << 6) | (byte(i) & 0x3FU);
  }
  const bool overlong = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
  if (overlong || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return {};
  return {code, n};
}

bool turns_direction(char32_t c) {
  return c == 0x061C || c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) ||
         c == 0xFEFF;
}
bool control(char32_t c) { return c < 0x20 || (c >= 0x7F && c < 0xA0); }

std::size_t columns_of(char32_t c) {
  const int n = ::wcwidth(static_cast<wchar_t>(c));
  return n < 0 ? 1 : static_cast<std::size_t>(n);
}

std::string scaled(double value, std::span<const char* const> units) {
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  std::string number = fmt::format("{:.1f}", value);
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return number + " " + units[unit];
}

}  // namespace

std::string safe(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character c = decode(text);
    const std::size_t n = std::max<std::size_t>(c.length, 1);
    if (c.length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
    } else if (control(c.code)) {
      out += c.code == '\n' ? "\\n" : c.code == '\t' ? "\\t" : fmt::format("\\x{:02x}", static_cast<unsigned>(c.code));
    } else if (turns_direction(c.code)) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c.code));
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n);
  }
  return out;
}

std::string escape_json_controls(std::string json) {
  std::string out;
  std::string_view rest = json;
  out.reserve(json.size());
  while (!rest.empty()) {
    const Character c = decode(rest);
    const std::size_t n = std::max<std::size_t>(c.length, 1);
    const bool risky = c.length != 0 && c.code >= 0x7F && (control(c.code) || turns_direction(c.code));
    if (risky)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c.code));
    else
      out += rest.substr(0, n);
    rest.remove_prefix(n);
  }
  return out;
}

std::size_t width(std::string_view text) {
  std::size_t n = 0;
  while (!text.empty()) {
    const Character c = decode(text);
    n += c.length == 0 ? 1 : columns_of(c.code);
    text.remove_prefix(std::max<std::size_t>(c.length, 1));
  }
  return n;
}

std::string fit(std::string_view text, std::size_t columns) {
  if (width(text) <= columns) return std::string(text);
  if (columns == 0) return {};
  std::string out;
  std::size_t used = 0;
  while (!text.empty()) {
    const Character c = decode(text);
    const std::size_t n = std::max<std::size_t>(c.length, 1);
    const std::size_t w = c.length == 0 ? 1 : columns_of(c.code);
    if (used + w > columns - 1) break;
    used += w;
    out += text.substr(0, n);
    text.remove_prefix(n);
  }
  return out + "…";
}

std::string mib(std::int64_t mib) {
  static constexpr std::array kUnits{"MiB", "GiB", "TiB"};
  return scaled(static_cast<double>(mib), kUnits);
}

std::string bytes(std::uint64_t bytes) {
  static constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  return scaled(static_cast<double>(bytes), kUnits);
}

std::string duration_ms(std::int64_t ms) {
  if (ms < 0) return "-" + duration_ms(-ms);
  if (ms < 1000) return fmt::format("{} ms", ms);
  if (ms < 60'000) return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000.0);
  const std::int64_t s = ms / 1000;
  if (s < 3600) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{} h {} min", s / 3600, s % 3600 / 60);
  return fmt::format("{} d {} h", s / 86400, s % 86400 / 3600);
}

std::string ago(std::int64_t when_ms, std::int64_t now_ms) {
  if (when_ms == 0) return "-";
  const std::int64_t s = (now_ms - when_ms) / 1000;
  const std::int64_t a = std::abs(s);
  if (a < 1) return "now";
  const std::string span = a < 60      ? fmt::format("{} s", a)
                           : a < 3600  ? fmt::format("{} min", a / 60)
                           : a < 86400 ? fmt::format("{} h", a / 3600)
                                       : fmt::format("{} d", a / 86400);
  return s < 0 ? "in " + span : span + " ago";
}

std::string utc(std::int64_t when_ms) {
  if (when_ms == 0) return "-";
  const std::time_t seconds = when_ms / 1000;
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return "-";
  std::array<char, 32> text{};
  const std::size_t n = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text.data(), n};
}

std::int64_t parse_mib(std::string_view text) {
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return -1;
  const std::string_view unit(end, text.data() + text.size());
  static constexpr std::int64_t kMost = std::int64_t{1} << 40;  // 2^60 bytes; more would overflow below
  if (number > kMost) return -1;
  if (unit.empty() || unit == "M" || unit == "MiB") return number;
  if (unit == "G" || unit == "GiB") return number * 1024;
  if (unit == "T" || unit == "TiB") return number * 1024 * 1024;
  return -1;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before2(b.size() + 1), before(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) before[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({before[j] + 1, row[j - 1] + 1, before[j - 1] + cost});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before2[j - 2] + 1);
    }
    before2.swap(before);
    before.swap(row);
  }
  return before[b.size()];
}

}  // namespace bascule::hostctl
