#include "hostd/core/alert_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace bascule::core {
namespace {

constexpr std::size_t kSubjectBytes = 160;
constexpr std::string_view kRepeat =
    "This may be a repeat: the host that was sending it was lost before it could write down that it had. A repeat has "
    "the same Message-ID and the same key.";

/// Length of the UTF-8 character that `s` begins with and its code point; 0: broken.
std::size_t character(std::string_view s, char32_t& point) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char b = byte(0);
  point = b;
  if (b < 0x80) return 1;
  const std::size_t n = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
  if (b < 0xC2 || b > 0xF4 || s.size() < n) return 0;
  point = b & (0xFFU >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    point = (point << 6) | (byte(i) & 0x3FU);
  }
  static constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[n] || (point >= 0xD800 && point < 0xE000) || point > 0x10FFFF) return 0;
  return n;
}

bool drives_a_display(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0x200E || c == 0x200F ||
         (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF;
}

std::string upper(std::string_view word) {
  std::string out(word);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

void field(std::string& out, std::string_view name, const std::string& value) {
  if (!value.empty()) out += fmt::format("{:<12}{}\n", std::string(name) + ':', value);
}

Severity worst(const AlertMessage& m) { return std::ranges::max_element(m.alerts, {}, &Alert::severity)->severity; }

std::string one(const std::string& cell, const Alert& a) {
  std::string out;
  const std::pair<const char*, const std::string&> parts[] = {
      {"What happened", a.what}, {"What Bascule did", a.did}, {"What to do", a.todo}};
  for (const auto& [name, text] : parts) {
    if (!text.empty()) out += fmt::format("{}:\n  {}\n\n", name, text);
  }
  field(out, "Severity", std::string(to_string(a.severity)));
  field(out, "Cell", cell);
  field(out, "VM", a.vm);
  field(out, "Host", a.host);
  field(out, "Site", a.site);
  field(out, "Operation", a.operation);
  field(out, "Time", utc_text(a.created_ms));
  if (a.ended_ms != 0) field(out, "Over since", utc_text(a.ended_ms));
  field(out, "Alert", a.id);
  return out;
}

}  // namespace

std::string one_line(std::string_view text, std::size_t most) {
  std::string out;
  while (!text.empty()) {
    char32_t point = 0;
    const std::size_t n = character(text, point);
    const std::string_view shown = n == 0 ? "?" : drives_a_display(point) ? " " : text.substr(0, n);
    if (out.size() + shown.size() > most) break;
    out += shown;
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

std::string gsm(std::string_view text) {
  std::string out;
  while (!text.empty() && out.size() < kSmsChars) {
    char32_t point = 0;
    const std::size_t n = character(text, point);
    text.remove_prefix(std::max<std::size_t>(n, 1));
    if (n == 0 || point >= 0x7F) {
      out += '?';
      continue;
    }
    switch (const char c = static_cast<char>(point)) {  // what takes two places in the alphabet, or is not in it
      case '[':
      case '{': out += '('; break;
      case ']':
      case '}': out += ')'; break;
      case '`':
      case '^': out += '\''; break;
      case '\\':
      case '|': out += '/'; break;
      case '~': out += '-'; break;
      default: out += c < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string utc_text(WallMs when) {
  // Civil date from days, after H. Hinnant.
  const WallMs seconds = when / 1000;
  const WallMs days = seconds / 86400 - (seconds % 86400 < 0 ? 1 : 0);
  const WallMs rest = seconds - days * 86400;
  const WallMs z = days + 719468;
  const WallMs era = (z >= 0 ? z : z - 146096) / 146097;
  const WallMs doe = z - era * 146097;
  const WallMs yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const WallMs doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const WallMs mp = (5 * doy + 2) / 153;
  const WallMs day = doy - (153 * mp + 2) / 5 + 1;
  const WallMs month = mp < 10 ? mp + 3 : mp - 9;
  const WallMs year = yoe + era * 400 + (month <= 2 ? 1 : 0);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", year, month, day, rest / 3600, rest / 60 % 60,
                     rest % 60);
}

std::string subject(const std::string& cell, const AlertMessage& m) {
  const std::string what = m.alerts.size() == 1
                               ? m.alerts.front().title
                               : fmt::format("{} more alerts, first: {}", m.alerts.size(), m.alerts.front().title);
  return one_line(fmt::format("[Bascule {}] {}: {}", cell, upper(to_string(worst(m))), what), kSubjectBytes);
}

std::string body(const std::string& cell, const std::string& sender, const AlertMessage& m) {
  std::string out;
  if (m.alerts.size() == 1) {
    const Alert& a = m.alerts.front();
    out = a.title + "\n\n" + one(cell, a);
    if (a.kind != AlertKind::heartbeat && a.kind != AlertKind::test) {
      out += fmt::format("\nAcknowledge it, so that it goes to nobody further:\n  hostctl alert ack {} --reason TEXT\n",
                         a.id);
    }
  } else {
    out = fmt::format("{} alerts in one message, because there were many in a short time.\nAll of them: hostctl alert "
                      "list\n",
                      m.alerts.size());
    for (const Alert& a : m.alerts) {
      out += fmt::format("\n{}  {}: {}\n  {}\n  {}\n  alert {}\n", utc_text(a.created_ms), upper(to_string(a.severity)),
                         a.title, a.what, a.todo, a.id);
    }
  }
  out += fmt::format("\nSent by host {} of cell {}.\n", sender, cell);
  if (m.repeat) out += std::string(kRepeat) + '\n';
  return out;
}

std::string sms(const std::string& cell, const AlertMessage& m) {
  const Alert& a = m.alerts.front();
  const std::string time = utc_text(a.created_ms).substr(11, 5);
  std::string head = fmt::format("{}{} {} {}Z: ", m.repeat ? "(repeat?) " : "", cell, upper(to_string(worst(m))), time);
  if (m.alerts.size() > 1) {
    return gsm(
        fmt::format("{}{} more alerts, first: {} -> hostctl alert list", head, m.alerts.size(), one_line(a.title, 70)));
  }
  // The command at the end stays whole; the title gives way.
  const std::string tail = a.hint.empty() ? "" : " -> " + a.hint;
  const std::size_t room = head.size() + tail.size() < kSmsChars ? kSmsChars - head.size() - tail.size() : 0;
  return gsm(head + one_line(a.title, room) + tail);
}

}  // namespace bascule::core
