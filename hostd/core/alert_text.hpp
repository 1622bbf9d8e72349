// An alert in words: subject, mail, SMS. Pure.
#pragma once

#include <string>
#include <string_view>

#include "hostd/core/alert.hpp"

namespace bascule::core {

inline constexpr std::size_t kSmsChars = 160;  ///< one message of the GSM alphabet

/// One line of valid UTF-8: control characters (C0, DEL, C1), line separators and characters that turn the writing
/// direction become blanks, broken bytes question marks; cut at `most` bytes, between characters.
std::string one_line(std::string_view text, std::size_t most);
/// Only characters that take one place in the GSM 03.38 alphabet, at most kSmsChars of them.
std::string gsm(std::string_view text);
/// "2026-11-28 18:40:12 UTC"
std::string utc_text(WallMs when);

std::string subject(const std::string& cell, const AlertMessage& message);
std::string body(const std::string& cell, const std::string& sender, const AlertMessage& message);
std::string sms(const std::string& cell, const AlertMessage& message);

}  // namespace bascule::core
