#include <gmock/gmock.h>

#include <clocale>
#include <string>

#include "api/hostctl/json.hpp"
#include "api/hostctl/settings.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
using testing::HasSubstr;

TEST(HostctlText, NothingThatDrivesATerminalGetsThrough) {
  EXPECT_EQ(safe("plain ünïcode 日本"), "plain ünïcode 日本");
  EXPECT_EQ(safe("\x1b[2J\x07\r\n\t\x7f"), "\\x1b[2J\\x07\\x0d\\n\\t\\x7f");
  EXPECT_EQ(safe("\xC2\x9B"
                 "31m"),
            "\\x9b31m");  // C1 CSI
  EXPECT_EQ(safe("a\xE2\x80\xAE"
                 "b"),
            "a\\u202eb");                              // right-to-left override
  EXPECT_EQ(safe("\xff\xc0\xaf"), "\\xff\\xc0\\xaf");  // not UTF-8, overlong slash
  EXPECT_EQ(safe("\xED\xA0\x80"), "\\xed\\xa0\\x80");  // surrogate
}

TEST(HostctlText, JsonOutputEscapesWhatJsonLeavesRaw) {
  const auto j = Json::parse("{\"a\":\"x\\u001b\\u009b\\u007f\\u202e\",\"b\":\"ü\"}");
  ASSERT_TRUE(j);
  EXPECT_EQ(j->dump(), "{\"a\":\"x\\u001b\\u009b\\u007f\\u202e\",\"b\":\"ü\"}");
}

TEST(HostctlText, UnitsAreTheOnesPeopleUse) {
  EXPECT_EQ(mib(512), "512 MiB");
  EXPECT_EQ(mib(1536), "1.5 GiB");
  EXPECT_EQ(mib(16777216), "16 TiB");
  EXPECT_EQ(bytes(0), "0 B");
  EXPECT_EQ(bytes(1500), "1.5 KiB");
  EXPECT_EQ(duration_ms(43), "43 ms");
  EXPECT_EQ(duration_ms(2400), "2.4 s");
  EXPECT_EQ(duration_ms(185'000), "3 min 5 s");
  EXPECT_EQ(duration_ms(7'800'000), "2 h 10 min");
  EXPECT_EQ(ago(1'000'000, 1'181'000), "3 min ago");
  EXPECT_EQ(ago(1'005'000, 1'000'000), "in 5 s");
  EXPECT_EQ(ago(0, 1), "-");
  EXPECT_EQ(utc(1'714'557'600'000), "2024-05-01T10:00:00Z");
}

TEST(HostctlText, SizesAreReadWithTheirUnit) {
  EXPECT_EQ(parse_mib("2048"), 2048);
  EXPECT_EQ(parse_mib("2G"), 2048);
  EXPECT_EQ(parse_mib("1TiB"), 1048576);
  for (const char* bad : {"", "G", "-1", "2g", "1.5G", "2KB", "9999999999999999999", " 2", "2 G"}) {
    EXPECT_EQ(parse_mib(bad), -1) << bad;
  }
}

TEST(HostctlText, DistanceCountsASwapAsOne) {
  EXPECT_EQ(edit_distance("memroy", "memory"), 1U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(HostctlTable, ColumnsAlignAndNumbersStandRight) {
  Table t({"NAME", ">SIZE", "STATE"});
  t.add({"db", "1 GiB", "running"});
  t.add({"a-longer-name", "512 MiB", ""});
  EXPECT_EQ(t.render(false, 0), "NAME              SIZE  STATE\n"
                                "db               1 GiB  running\n"
                                "a-longer-name  512 MiB  -\n");
}

TEST(HostctlTable, CellsAreMadeSafeAndTheLastOneIsCut) {
  Table t({"NAME", "NOTE"});
  t.add({"a\x1b[31m", "one two three four five"});
  EXPECT_EQ(t.render(false, 25), "NAME       NOTE\na\\x1b[31m  one two three…\n");
  EXPECT_THAT(t.render(false, 8), HasSubstr("four five"));  // too narrow to be worth a cut
}

TEST(HostctlTable, WideCharactersCountTwice) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr);
  EXPECT_EQ(width("日本"), 4U);
  EXPECT_EQ(width("e\xCC\x81"), 1U);
  EXPECT_EQ(fit("日本語", 5), "日本…");
}

TEST(HostctlTable, ColourOnlyWhenAsked) {
  EXPECT_EQ(paint(false, Colour::red, "x"), "x");
  EXPECT_EQ(paint(true, Colour::red, "x"), "\x1b[31mx\x1b[0m");
}

TEST(HostctlJson, ReadingNeverThrows) {
  const auto j = Json::parse(R"({"a":1,"b":"x","c":[1,2],"d":null,"e":18446744073709551615,"f":2.0,"g":true})");
  ASSERT_TRUE(j);
  EXPECT_EQ(j->integer("a"), 1);
  EXPECT_EQ(j->integer("b", 7), 7);
  EXPECT_EQ(j->integer("e", 7), 7);
  EXPECT_EQ(j->integer("f"), 2);
  EXPECT_EQ(j->text("a"), "1");
  EXPECT_EQ(j->text("zzz"), "");
  EXPECT_EQ((*j)["c"].items().size(), 2U);
  EXPECT_TRUE((*j)["b"]["deep"]["er"].is_null());
  EXPECT_TRUE(j->flag("g"));
  EXPECT_FALSE(j->flag("a"));
  EXPECT_FALSE(Json::parse("{"));
  EXPECT_FALSE(Json::parse(std::string(100000, '[')));
}

TEST(HostctlSettings, AnEndpointIsHttpsWithHostAndPort) {
  const auto text = [](const char* t) {
    const auto e = parse_endpoint(t);
    return e ? to_string(*e) : e.error().what;
  };
  EXPECT_EQ(text("https://a1:8443"), "https://a1:8443");
  EXPECT_EQ(text("10.77.1.11"), "https://10.77.1.11:8443");
  EXPECT_EQ(text("https://[fd00::1]:99/"), "https://[fd00::1]:99");
  for (const char* bad : {"http://a1", "https://", "https://a1:0", "https://a1:70000", "https://a1:x", "https://u@a1",
                          "https://a1/v1", "https://[fd00::1", "https://a1:", "a1 b1", "[::1]8443"}) {
    EXPECT_THAT(text(bad), HasSubstr("write https://")) << bad;
  }
}

TEST(HostctlSettings, TheNearestPlaceWinsAndAMissingSettingSaysWhereItGoes) {
  const Environment env = [](const std::string& name) -> std::optional<std::string> {
    if (name == "BASCULE_ENDPOINTS") return "a1:1, b1:2";
    if (name == "BASCULE_CA") return "env-ca";
    return std::nullopt;
  };
  auto file = read_config("endpoints = [\"c1\"]\nca = \"file-ca\"\ncert = \"file-cert\"\ntimeout = 5\n", "f.toml");
  ASSERT_TRUE(file) << file.error().what;
  Given flags;
  auto missing = settle(flags, env, *file);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().what, HasSubstr("--key FILE, BASCULE_KEY"));
  flags.key = "flag-key";
  auto s = settle(flags, env, *file);
  ASSERT_TRUE(s) << s.error().what;
  EXPECT_EQ(s->endpoints.size(), 2U);
  EXPECT_EQ(s->ca, "env-ca");
  EXPECT_EQ(s->cert, "file-cert");
  EXPECT_EQ(s->timeout_s, 5);
}

TEST(HostctlSettings, AConfigurationErrorNamesItsLine) {
  const auto text = [](const char* t) { return read_config(t, "f.toml").error().what; };
  EXPECT_THAT(text("ca = \"x\"\ncret = \"y\"\n"), HasSubstr("f.toml:2: 'cret' is not known"));
  EXPECT_THAT(text("timeout = 0"), HasSubstr("f.toml:1: timeout"));
  EXPECT_THAT(text("ca = "), HasSubstr("f.toml:1"));
  EXPECT_THAT(text("endpoints = [1]"), HasSubstr("list of texts"));
}

}  // namespace
}  // namespace bascule::hostctl
