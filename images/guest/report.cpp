#include "images/guest/report.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

namespace bascule::ledger {
namespace {

constexpr std::string_view kTag = "ledger1";
constexpr std::array<std::string_view, 4> kEvents{"record", "start", "stop", "error"};
constexpr std::string_view kDigits = "0123456789abcdef";
constexpr std::size_t kMaxFromBytes = 64;

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string out;
  for (const unsigned byte : bytes) {
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

bool unhex(std::string_view text, std::span<std::uint8_t> out) {
  if (text.size() != 2 * out.size()) return false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto high = kDigits.find(text[2 * i]);
    const auto low = kDigits.find(text[2 * i + 1]);
    if (high == kDigits.npos || low == kDigits.npos) return false;
    out[i] = static_cast<std::uint8_t>(high << 4U | low);
  }
  return true;
}

std::string hex(std::uint64_t value) {
  std::array<std::uint8_t, 8> bytes{};
  for (auto it = bytes.rbegin(); it != bytes.rend(); ++it, value >>= 8U) *it = static_cast<std::uint8_t>(value & 255U);
  return hex(std::span<const std::uint8_t>(bytes));
}

bool number(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

bool hex_number(std::string_view text, std::uint64_t& out) {
  std::array<std::uint8_t, 8> bytes{};
  if (!unhex(text, bytes)) return false;
  out = 0;
  for (const std::uint8_t byte : bytes) out = out << 8U | byte;
  return true;
}

// Takes "key=value" and the space after it off the front; false if it is not there.
bool take(std::string_view& text, std::string_view key, std::string_view& value) {
  if (!text.starts_with(key) || text.size() <= key.size() || text[key.size()] != '=') return false;
  text.remove_prefix(key.size() + 1);
  const std::size_t end = std::min(text.find(' '), text.size());
  value = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return !value.empty();
}

bool printable(char c) { return c >= ' ' && c <= '~'; }

std::string clean_text(std::string_view text) {
  std::string out(text.substr(0, kMaxTextBytes));
  std::ranges::replace_if(out, [](char c) { return !printable(c); }, '?');
  return out.empty() ? "?" : out;
}

// The fields in their order; what they look like in detail is left to parse_report().
std::optional<Report> parse_fields(std::string_view text) {
  if (text.size() > kMaxReportBytes || !std::ranges::all_of(text, printable)) return {};
  if (!text.starts_with(kTag) || text.size() <= kTag.size() || text[kTag.size()] != ' ') return {};
  text.remove_prefix(kTag.size() + 1);

  Report out;
  std::string_view value;
  if (!take(text, "event", value)) return {};
  const auto event = std::ranges::find(kEvents, value);
  if (event == kEvents.end()) return {};
  out.event = static_cast<Event>(event - kEvents.begin());
  if (!take(text, "mac", value)) return {};
  const auto mac = parse_mac(value);
  if (!mac) return {};
  out.mac = *mac;
  if (!take(text, "disk", value) || !unhex(value, out.disk)) return {};
  if (!take(text, "run", value) || !unhex(value, out.run)) return {};
  if (!take(text, "seq", value) || !number(value, out.seq)) return {};
  if (!take(text, "nonce", value) || !hex_number(value, out.nonce)) return {};
  if (!take(text, "sum", value) || !hex_number(value, out.sum)) return {};
  if (!take(text, "mono", value) || !number(value, out.mono_ns)) return {};
  if (!take(text, "wall", value) || !number(value, out.wall_ns)) return {};
  if (out.event == Event::record && out.seq == 0) return {};
  if (out.event == Event::error) {
    constexpr std::string_view kText = "text=";
    if (!text.starts_with(kText) || text.size() > kText.size() + kMaxTextBytes) return {};
    out.text = text.substr(kText.size());
  }
  return out;
}

}  // namespace

Report report_of(const Record& record) {
  return {.event = Event::record,
          .mac = record.mac,
          .disk = record.disk,
          .run = record.run,
          .seq = record.seq,
          .nonce = record.nonce,
          .sum = record.sum,
          .mono_ns = record.mono_ns,
          .wall_ns = record.wall_ns,
          .text = {}};
}

std::string to_text(const Report& report) {
  std::string out(kTag);
  out += " event=";
  out += kEvents.at(static_cast<std::size_t>(report.event));
  out += " mac=" + to_text(report.mac);
  out += " disk=" + to_text(report.disk);
  out += " run=" + to_text(report.run);
  out += " seq=" + std::to_string(report.seq);
  out += " nonce=" + hex(report.nonce);
  out += " sum=" + hex(report.sum);
  out += " mono=" + std::to_string(report.mono_ns);
  out += " wall=" + std::to_string(report.wall_ns);
  if (report.event == Event::error) out += " text=" + clean_text(report.text);
  return out;
}

std::optional<Report> parse_report(std::string_view text) {
  auto out = parse_fields(text);
  if (out && to_text(*out) != text) out.reset();  // leading zeros, leftovers, empty text
  return out;
}

std::string to_text(const Received& received) {
  return "recv_mono=" + std::to_string(received.mono_ns) + " recv_wall=" + std::to_string(received.wall_ns) +
         " from=" + received.from + " " + to_text(received.report);
}

std::optional<Received> parse_received(std::string_view line) {
  Received out;
  std::string_view value;
  if (!take(line, "recv_mono", value) || !number(value, out.mono_ns)) return {};
  if (!take(line, "recv_wall", value) || !number(value, out.wall_ns)) return {};
  if (!take(line, "from", value) || value.size() > kMaxFromBytes) return {};
  out.from = value;
  auto report = parse_report(line);
  if (!report) return {};
  out.report = std::move(*report);
  return out;
}

std::string to_text(const Mac& mac) {
  std::string out;
  for (const std::uint8_t& byte : mac) out += (out.empty() ? "" : ":") + hex(std::span<const std::uint8_t>(&byte, 1));
  return out;
}

std::optional<Mac> parse_mac(std::string_view text) {
  Mac out{};
  if (text.size() != 3 * out.size() - 1) return {};
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (i > 0 && text[3 * i - 1] != ':') return {};
    if (!unhex(text.substr(3 * i, 2), std::span(out).subspan(i, 1))) return {};
  }
  return out;
}

std::string to_text(const Id& id) { return hex(std::span<const std::uint8_t>(id)); }

}  // namespace bascule::ledger
