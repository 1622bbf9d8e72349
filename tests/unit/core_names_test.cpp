#include "hostd/core/names.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core_fixture.hpp"
#include "hostd/core/model.hpp"

namespace bascule::core {
namespace {

using test::text;
using namespace std::string_literals;

TEST(Names, AcceptLowerCaseLettersDigitsAndInnerHyphens) {
  for (const auto& name : {"a"s, "0"s, "vm1"s, "a-b"s, "a--b"s, "1-2-3"s, std::string(40, 'x')}) {
    EXPECT_TRUE(valid_name(name)) << name;
  }
}

TEST(Names, RefuseWhateverCouldBeAPathAnOptionOrAKey) {
  for (const auto& name : {""s,       "-"s,   "-a"s,  "a-"s,  "."s,
                           ".."s,     "a.b"s, "a/b"s, "/"s,   "../etc"s,
                           "a b"s,    " a"s,  "a\n"s, "a\0"s, "A"s,
                           "\u00e4"s, "a_b"s, "a:b"s, "a,b"s, "a%2fb"s,
                           "$(x)"s,   "`x`"s, "a;b"s, "a*"s,  std::string(41, 'x')}) {
    EXPECT_FALSE(valid_name(name)) << name;
  }
}

TEST(Names, ErrorNamesTheFieldAndTheRule) {
  EXPECT_EQ(text(check_name("volumes.name", "ok")), "ok");
  EXPECT_EQ(text(check_name("volumes.name", "No")),
            "invalid: volumes.name: a name is 1 to 40 lower-case letters, digits and inner hyphens");
}

TEST(Reasons, AcceptAnyLanguageUpToTheLimit) {
  for (const auto& reason : {"x"s, "ticket 12: new disk"s, "r\u00e9paration"s, "\u30d0\u30b9"s, "\U0001f600"s,
                             "  padded"s, "\u00a0"s, std::string(Limits::reason_bytes, 'x')}) {
    EXPECT_EQ(text(check_reason(reason)), "ok") << reason;
  }
}

TEST(Reasons, RefuseWhatSaysNothingOrDrivesATerminal) {
  const std::string utf8 = "invalid: reason: not valid UTF-8";
  const std::string control = "invalid: reason: control characters are not allowed";
  const std::pair<std::string, std::string> cases[] = {
      {"", "invalid: reason: every change needs one; nothing was changed"},
      {"   ", "invalid: reason: must say something"},
      {std::string(Limits::reason_bytes + 1, 'x'), "invalid: reason: at most 500 bytes"},
      {"a\nb", control},
      {"a\tb", control},
      {"a\0b"s, control},
      {"\x1b[31m", control},
      {"\x7f", control},
      {"\xc2\x9b", control},  // CSI as C1
      {"\xc2\x80", control},
      {"\x80", utf8},      // continuation without a start
      {"a\xc3", utf8},     // cut short
      {"\xc3(", utf8},     // no continuation
      {"\xc0\xaf", utf8},  // overlong slash
      {"\xc1\xbf", utf8},
      {"\xe0\x80\xaf", utf8},      // overlong, three bytes
      {"\xf0\x80\x80\xaf", utf8},  // overlong, four bytes
      {"\xed\xa0\x80", utf8},      // surrogate
      {"\xf4\x90\x80\x80", utf8},  // beyond U+10FFFF
      {"\xf5\x80\x80\x80", utf8},
      {"\xff", utf8},
      {"\xe2\x82", utf8},
      {"\xf0\x9f\x98", utf8},
  };
  for (const auto& [reason, wanted] : cases)
    EXPECT_EQ(text(check_reason(reason)), wanted) << testing::PrintToString(reason);
}

TEST(Reasons, AcceptTheEdgesOfUtf8) {
  for (const auto& reason : {"\xc2\xa0"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s, "\xee\x80\x80"s,
                             "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s}) {
    EXPECT_EQ(text(check_reason(reason)), "ok") << testing::PrintToString(reason);
  }
}

TEST(Macs, AcceptUnicastLowerCaseOnly) {
  for (const auto* mac : {"52:54:00:00:00:01", "00:00:00:00:00:01", "fe:ff:ff:ff:ff:ff", "0a:00:00:00:00:00"}) {
    EXPECT_TRUE(valid_mac(mac)) << mac;
  }
  for (const auto* mac : {"", "52:54:00:00:00", "52:54:00:00:00:01:02", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff",
                          "00:00:00:00:00:00", "52:54:00:00:00:0G", "52-54-00-00-00-01", "52:54:00:00:00:0A",
                          "5254:00:00:00:001", "0b:00:00:00:00:00", "52:54:00:00:00:1 "}) {
    EXPECT_FALSE(valid_mac(mac)) << mac;
  }
}

TEST(Errors, EachCodeHasItsOwnWord) {
  std::set<std::string_view> words;
  for (int i = 0; i <= static_cast<int>(Errc::internal); ++i) words.insert(to_string(static_cast<Errc>(i)));
  EXPECT_EQ(words.size(), static_cast<std::size_t>(Errc::internal) + 1);
}

TEST(Errors, ReadingTheValueOfAFailureIsABugThatSaysItsSentence) {
  const Result<int> failed = fail(Errc::io, "the disk said no");
  try {
    static_cast<void>(failed.value());
    FAIL();
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "the disk said no");
  }
}

TEST(Errors, ABrokenInvariantStopsTheProgramInEveryBuild) {
  EXPECT_DEATH(BASCULE_CHECK(1 + 1 == 3), "check failed: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace bascule::core
