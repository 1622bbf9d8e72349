// What the ledger tells the collector, one datagram a report, and the collector's log line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "images/guest/record.hpp"

namespace bascule::ledger {

inline constexpr std::size_t kMaxReportBytes = 512;  ///< one datagram, one frame
inline constexpr std::size_t kMaxTextBytes = 200;
inline constexpr std::uint16_t kDefaultPort = 7777;

enum class Event : std::uint8_t {
  record,  ///< record `seq` is durable
  start,   ///< a run begins after record `seq`
  stop,    ///< a run was asked to end, after record `seq`
  error,   ///< a run ends because of `text`, after record `seq`
};

struct Report {
  Event event = Event::record;
  Mac mac{};
  Id disk{};
  Id run{};
  std::uint64_t seq = 0;
  std::uint64_t nonce = 0;
  std::uint64_t sum = 0;
  std::uint64_t mono_ns = 0;
  std::uint64_t wall_ns = 0;
  std::string text;  ///< printable ASCII, only with Event::error
  bool operator==(const Report&) const = default;
};

/// A report and how it came in.
struct Received {
  std::uint64_t mono_ns = 0;  ///< the collector's monotonic clock
  std::uint64_t wall_ns = 0;
  std::string from;  ///< address:port
  Report report;
};

Report report_of(const Record& record);

std::string to_text(const Report& report);  ///< one line without its end
/// Exactly what to_text() makes, or nothing.
std::optional<Report> parse_report(std::string_view text);

std::string to_text(const Received& received);
std::optional<Received> parse_received(std::string_view line);

std::string to_text(const Mac& mac);  ///< 52:54:00:aa:bb:cc
std::optional<Mac> parse_mac(std::string_view text);
std::string to_text(const Id& id);  ///< 32 hex digits

}  // namespace bascule::ledger
