// Running one tool and turning how it ended into an error value. Internal to this folder.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "hostd/runtime/process.hpp"
#include "storage/drbd_port.hpp"

namespace bascule::storage {

enum class Effect : std::uint8_t { reads, changes };

/// Runs to the end; the outcome when the tool exited by itself, whatever its code. Errors:
/// outcome_unknown (changes: deadline, cancelled or killed), timeout / cancelled (reads),
/// unavailable (not installed), io, invalid.
Task<runtime::Outcome> run_tool(runtime::Argv argv, Effect effect, std::chrono::milliseconds deadline);

/// What a tool said, in one line of limited length without control characters.
std::string said(const runtime::Outcome& outcome);

/// refused: "<what>: <tool's words> (exit 10)".
core::Error refusal(std::string_view what, const runtime::Outcome& outcome);

/// Somebody (DRBD, a file system) claims the block device for itself.
bool claimed(const std::string& device);

}  // namespace bascule::storage
