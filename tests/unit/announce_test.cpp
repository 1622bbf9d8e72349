// The frame that tells the switches where a guest is now.
#include "hostd/runtime/announce/announce.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace bascule::runtime {
namespace {

TEST(Announce, SendsWhatQemuSends) {
  std::string hex;
  for (const auto byte : announcement("52:54:00:ab:cd:ef")) hex += fmt::format("{:02x}", byte);
  EXPECT_EQ(hex,
            "ffffffffffff"  // to everybody
            "525400abcdef"  // from the guest's address: what a switch learns
            "8035"          // RARP
            "0001"
            "0800"
            "06"
            "04"
            "0003"  // Ethernet, IPv4, lengths, request
            "525400abcdef"
            "00000000"  // the sender
            "525400abcdef"
            "00000000"  // whose IP address is asked for
            "000000000000000000000000000000000000");
}

TEST(Announce, ABridgeThatIsNotThereIsAnError) {
  const auto sent = announce("bascule-none", "52:54:00:ab:cd:ef");
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, core::Errc::not_found);
}

}  // namespace
}  // namespace bascule::runtime
