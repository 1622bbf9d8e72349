// Events in the log, each with a message of messages.hpp. Under journald they carry MESSAGE_ID and fields, elsewhere
// their name stands before the text. What nobody searches for is written by spdlog directly, at most at level info.
// Thread rule: any thread.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <utility>

#include "hostd/runtime/messages.hpp"

namespace bascule {

/// What the event is about, as fields of the journal: BASCULE_VM and so on. Empty: it is not known, or not about one.
struct About {
  std::string_view vm{}, host{}, operation{};
  std::int64_t epoch{};  ///< 0: not known
  std::string_view volume{}, alert{}, caller{};
};

/// To the journal where stdout or stderr is journald's (JOURNAL_STREAM), else to stdout. Once, before anything is said.
void start_log();

/// Whether anything listens at its level: the text need not be made otherwise.
bool heard(const msg::Message& message);
void say_text(const msg::Message& message, const About& about, std::string_view text);

template <class... A>
void say(const msg::Message& message, const About& about, fmt::format_string<A...> text, A&&... args) {
  if (heard(message)) say_text(message, about, fmt::format(text, std::forward<A>(args)...));
}

}  // namespace bascule
