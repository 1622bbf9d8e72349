// IPv4 UDP addresses and the clocks, shared by the two programs that talk.
#pragma once

#include <netinet/in.h>

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

namespace bascule::ledger {

/// "10.77.3.1:7777"; the port may be left out.
std::optional<sockaddr_in> parse_address(std::string_view text);
std::string to_text(const sockaddr_in& address);

std::uint64_t now_ns(clockid_t clock);

}  // namespace bascule::ledger
