#include "hostd/runtime/announce/announce.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <system_error>

#include "hostd/core/names.hpp"
#include "hostd/runtime/spawn.hpp"

namespace bascule::runtime {
namespace {
using core::Errc;
using core::fail;

constexpr std::size_t kMacBytes = 6;
constexpr std::uint16_t kEthernet = 1;        // ARP hardware type, RFC 826
constexpr std::uint16_t kReverseRequest = 3;  // RFC 903

std::array<std::uint8_t, kMacBytes> bytes_of(const std::string& mac) {
  std::array<std::uint8_t, kMacBytes> out{};
  for (std::size_t i = 0; i < kMacBytes; ++i) {
    const char* at = mac.data() + 3 * i;
    std::from_chars(at, at + 2, out[i], 16);
  }
  return out;
}
}  // namespace

Frame announcement(const std::string& mac) {
  BASCULE_CHECK(core::valid_mac(mac));
  const auto own = bytes_of(mac);
  Frame frame{};
  auto* at = frame.data();
  const auto put = [&](const auto& part) { at = std::copy(part.begin(), part.end(), at); };
  const auto word = [&](std::uint16_t value) {
    *at++ = static_cast<std::uint8_t>(value >> 8U);
    *at++ = static_cast<std::uint8_t>(value & 0xffU);
  };
  std::array<std::uint8_t, kMacBytes> everybody{};
  everybody.fill(0xff);
  constexpr std::array<std::uint8_t, 4> no_address{};
  put(everybody);
  put(own);
  word(ETH_P_RARP);
  word(kEthernet);
  word(ETH_P_IP);
  *at++ = kMacBytes;
  *at++ = no_address.size();
  word(kReverseRequest);
  put(own);
  put(no_address);
  put(own);
  put(no_address);
  return frame;
}

core::Result<> announce(const std::string& bridge, const std::string& mac) {
  const unsigned index = ::if_nametoindex(bridge.c_str());
  if (index == 0) return fail(Errc::not_found, "there is no bridge " + bridge);
  const Descriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_RARP)));
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(index);
  to.sll_halen = kMacBytes;
  std::fill_n(to.sll_addr, kMacBytes, std::uint8_t{0xff});
  const Frame frame = announcement(mac);
  const bool sent = socket.get() >= 0 && ::sendto(socket.get(), frame.data(), frame.size(), MSG_DONTWAIT,
                                                  reinterpret_cast<const sockaddr*>(&to), sizeof to) ==
                                             static_cast<ssize_t>(frame.size());
  if (!sent) return fail(Errc::io, bridge + ": " + std::generic_category().message(errno));
  return {};
}

}  // namespace bascule::runtime
