// Words for people: what is safe on a terminal, how wide it is, units and times.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bascule::hostctl {

/// Text from a server or file, made safe for a terminal: control characters (C0 with tab and newline, DEL, C1), bytes
/// that are not UTF-8 and characters that turn the writing direction become visible escapes such as \x1b or \u202e.
std::string safe(std::string_view text);
/// The same for serialized JSON: what JSON leaves raw inside strings becomes a \u escape; newlines and spaces stay.
std::string escape_json_controls(std::string json);

/// Columns on a terminal (wide characters count 2, combining ones 0).
std::size_t width(std::string_view text);
/// Cut to `columns`, with an ellipsis when something was lost.
std::string fit(std::string_view text, std::size_t columns);

std::string mib(std::int64_t mib);         ///< "512 MiB", "1.5 GiB", "2 TiB"
std::string bytes(std::uint64_t bytes);    ///< "12 B", "3.4 MiB"
std::string duration_ms(std::int64_t ms);  ///< "43 ms", "2.4 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"
/// "3 min ago", "in 5 s" (clocks differ), "-" for 0.
std::string ago(std::int64_t when_ms, std::int64_t now_ms);
std::string utc(std::int64_t when_ms);  ///< 2024-05-01T10:00:00Z, "-" for 0

/// "2048", "2048M", "2G", "1T" (also MiB, GiB, TiB) as MiB; -1 when it is none of these.
std::int64_t parse_mib(std::string_view text);

/// Optimal string alignment distance, for "did you mean".
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace bascule::hostctl
