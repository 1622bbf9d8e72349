// The PIN of a card: from a file only its owner reads, from a program that asks for it, or from the terminal. Never
// from the command line, the environment or hostctl.toml.
#pragma once

#include <string>

#include "api/hostctl/settings.hpp"

namespace bascule::hostctl {

inline constexpr std::size_t kMaxPin = 256;

/// The caller wipes it. Errors: invalid, io, cancelled.
core::Result<std::string> read_pin(const Settings& settings, const std::string& what);
void wipe(std::string& secret);

}  // namespace bascule::hostctl
