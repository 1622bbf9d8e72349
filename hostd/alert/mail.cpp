#include "hostd/alert/mail.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

namespace bascule::alert {
namespace {

constexpr std::size_t kLine = 76;       // RFC 2045
constexpr std::size_t kWordBytes = 42;  // in base64 with =?utf-8?B?..?= below RFC 2047's 75

std::string base64(std::string_view in) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < in.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      bits = (bits << 8) | (i + k < in.size() ? static_cast<unsigned char>(in[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k <= in.size() ? kDigits[(bits >> (18 - 6 * k)) & 63] : '=';
    }
  }
  return out;
}

bool printable(char c) { return c >= 0x20 && c < 0x7F; }

std::string date_text(core::WallMs when) {
  const std::time_t seconds = when / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000", kDays[utc.tm_wday], utc.tm_mday, kMonths[utc.tm_mon],
                     utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

}  // namespace

std::string quoted_printable(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  std::size_t line = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      out += "\r\n";
      line = 0;
      continue;
    }
    const bool at_end = i + 1 == text.size() || text[i + 1] == '\n';
    const bool plain = printable(c) && c != '=' && !(c == ' ' && at_end);
    const std::size_t width = plain ? 1 : 3;
    if (line + width > kLine - 1) {
      out += "=\r\n";
      line = 0;
    }
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'=', kHex[byte >> 4], kHex[byte & 15]};
    }
    line += width;
  }
  return out;
}

std::string header_words(std::string_view text) {
  if (std::ranges::all_of(text, printable) && text.find("=?") == std::string_view::npos && text.size() <= 900) {
    return std::string(text);
  }
  std::string out;
  while (!text.empty()) {
    std::size_t n = std::min(kWordBytes, text.size());
    // Not inside a character: its later bytes begin with 10.
    while (n < text.size() && n > kWordBytes - 4 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) --n;
    out += (out.empty() ? "" : "\r\n ") + ("=?utf-8?B?" + base64(text.substr(0, n)) + "?=");
    text.remove_prefix(n);
  }
  return out;
}

std::string mail_text(const Mail& mail) {
  std::string to;
  for (const auto& one : mail.to) to += (to.empty() ? "" : ",\r\n ") + one;
  const auto domain = mail.from.substr(mail.from.find('@') + 1);
  std::string out;
  const auto header = [&out](std::string_view name, const std::string& value) {
    out += fmt::format("{}: {}\r\n", name, value);
  };
  header("Date", date_text(mail.date));
  header("From", "Bascule <" + mail.from + ">");
  header("To", to);
  header("Subject", header_words(mail.subject));
  header("Message-ID", "<" + header_words(mail.key) + "@" + domain + ">");
  header("Auto-Submitted", "auto-generated");
  header("X-Bascule-Alert", header_words(mail.alert));
  header("MIME-Version", "1.0");
  header("Content-Type", "text/plain; charset=utf-8");
  header("Content-Transfer-Encoding", "quoted-printable");
  return out + "\r\n" + quoted_printable(mail.body);
}

}  // namespace bascule::alert
