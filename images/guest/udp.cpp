#include "images/guest/udp.hpp"

#include <arpa/inet.h>

#include <array>
#include <charconv>

#include "images/guest/report.hpp"

namespace bascule::ledger {

std::optional<sockaddr_in> parse_address(std::string_view text) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  std::uint16_t port = kDefaultPort;
  const std::size_t colon = text.find(':');
  if (colon != text.npos) {
    const std::string digits(text.substr(colon + 1));
    const char* end = digits.c_str() + digits.size();
    const auto [stop, error] = std::from_chars(digits.c_str(), end, port);
    if (error != std::errc{} || stop != end) return {};
  }
  out.sin_port = htons(port);
  const std::string host(text.substr(0, colon));
  if (::inet_pton(AF_INET, host.c_str(), &out.sin_addr) != 1) return {};
  return out;
}

std::string to_text(const sockaddr_in& address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
  return std::string(text.data()) + ":" + std::to_string(ntohs(address.sin_port));
}

std::uint64_t now_ns(clockid_t clock) {
  constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace bascule::ledger
