#include "hostd/identities.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bascule {
namespace {
using api::CertificateNames;
using core::Role;
using ::testing::HasSubstr;

const std::string kTop = "urn_issuers = [\"CN=ca\"]\n";
const std::string kOlga =
    "[[identity]]\nissuer = \"CN=x\"\nemail = \"olga@example.com\"\nrole = \"operator\"\nname = \"olga\"\n";

std::string fault(const std::string& text) {
  const auto map = parse_identities(text, "f");
  return map ? "none" : map.error().what;
}
std::string with(const std::string& lines) { return kTop + "[[identity]]\n" + lines; }

TEST(Identities, TheExampleThatIsInstalledIsGood) {
  const auto map = load_identities(std::string(BASCULE_SOURCE) + "/packaging/identities.toml");
  ASSERT_TRUE(map) << map.error().what;
  ASSERT_EQ(map->rules.size(), 2U);
  EXPECT_FALSE(map->any_issuer);
  EXPECT_EQ(map->rules[1].caller.projects, (std::vector<std::string>{"blue", "green"}));
  EXPECT_EQ(map->rules[1].caller.project, "blue");
}

TEST(Identities, EveryFaultIsNamedWithItsLine) {
  const std::string who = "role = \"operator\"\nname = \"olga\"\n";
  const std::string from = "issuer = \"CN=x\"\n";
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {kOlga, "urn_issuers is missing"},
           {kTop + "x = 1\n", "line 2: 'x' is not known"},
           {"urn_issuers = \"CN=ca\"\n", "urn_issuers is not a list"},
           {"urn_issuers = [1]\n", "urn_issuers is not a list"},
           {kTop + "identity = 3\n", "'identity' is not known"},
           {kTop + "[identity]\n", "'identity' is not known"},
           {with("email = \"a@b\"\n" + who), "issuer is missing"},
           {with(from + who), "exactly one of uri, email and dns"},
           {with(from + "email = \"a@b\"\ndns = \"x\"\n" + who), "exactly one of uri, email and dns"},
           {with(from + "email = \"olga\"\n" + who), "email is not an address"},
           {with(from + "dns = \"*.example.com\"\n" + who), "a name with * would fit many"},
           {with(from + "uri = \"urn:bascule:operator:x\"\n" + who), "says by itself who it is"},
           {with(from + "dns = \"\"\n" + who), "dns is not a text"},
           {with(from + "dns = 3\n" + who), "dns is not a text"},
           {with(from + "dns = \"x\\u0000y\"\n" + who), "dns is not a text"},
           {with(from + "dns = \"x\"\nname = \"olga\"\n"), "role is not operator, auditor or client"},
           {with(from + "dns = \"x\"\nrole = \"host\"\nname = \"a1\"\n"), "a host is known by its own"},
           {with(from + "dns = \"x\"\nrole = \"operator\"\n"), "name is missing"},
           {with(from + "dns = \"x\"\nrole = \"operator\"\nname = \"Olga\"\n"), "name is missing, or not"},
           {with(from + "dns = \"x\"\nproject = \"p\"\n" + who), "only a client has projects"},
           {with(from + "dns = \"x\"\nrole = \"client\"\nname = \"c\"\n"), "a client needs project"},
           {with(from + "dns = \"x\"\nrole = \"client\"\nname = \"c\"\nproject = \"a\"\nprojects = [\"b\"]\n"),
            "not both"},
           {with(from + "dns = \"x\"\nrole = \"client\"\nname = \"c\"\nprojects = [\"B\"]\n"),
            "project 'B' is not a valid"},
           {with(from + "dns = \"x\"\nmail = \"y\"\n" + who), "line 5: 'mail' is not known"},
           {kTop + kOlga + kOlga, "line 7: the name 'olga@example.com' of this CA is mapped in line 2 already"},
           {kTop + kOlga +
                "[[identity]]\nissuer = \"CN=x\"\nemail = \"olga@EXAMPLE.com\"\nrole = \"auditor\"\nname = \"o\"\n",
            "mapped in line 2 already"},
           {kTop + "[[identity]\n", "line 2"}}) {
    EXPECT_THAT(fault(text), HasSubstr(words)) << text;
  }
  EXPECT_EQ(load_identities("/nonexistent").error().code, core::Errc::io);
}

TEST(Identities, ANameCountsFromItsCaAndAsItStands) {
  const auto map = parse_identities(kTop + kOlga, "f").value();
  const auto who = [&](const CertificateNames& names) {
    const auto caller = api::caller_from(names, map);
    return caller ? caller->name : caller.error().what;
  };
  EXPECT_EQ(who({"CN=x", {}, {"olga@example.com"}, {}}), "olga");
  EXPECT_EQ(who({"CN=x", {}, {"other@example.com", "olga@Example.COM"}, {}}), "olga");
  EXPECT_THAT(who({"CN=x", {}, {"Olga@example.com"}, {}}), HasSubstr("names no Bascule identity"));
  EXPECT_THAT(who({"CN=y", {}, {"olga@example.com"}, {}}), HasSubstr("names no Bascule identity"));
  EXPECT_THAT(who({"CN=x", {"olga@example.com"}, {}, {"olga@example.com"}}), HasSubstr("names no Bascule identity"));
  EXPECT_THAT(who({"CN=x", {}, {std::string("olga@example.com\0", 17)}, {}}), HasSubstr("names no Bascule identity"));
  EXPECT_EQ(who({"CN=ca", {"urn:bascule:auditor:anna"}, {}, {}}), "anna");
  EXPECT_THAT(who({"CN=x", {"urn:bascule:auditor:anna"}, {}, {}}), HasSubstr("its CA may not give one"));
  EXPECT_THAT(who({"CN=x", {"urn:bascule:auditor:anna"}, {"olga@example.com"}, {}}), HasSubstr("too"));
}

TEST(Identities, WithoutAMappingNothingHasChanged) {
  const auto caller = api::caller_from({"CN=any", {"urn:bascule:client:blue:carl"}, {"olga@example.com"}, {}}, {});
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->project, "blue");
  EXPECT_TRUE(caller->owns("blue"));
  EXPECT_FALSE(caller->owns("green"));
  EXPECT_FALSE(core::Caller{}.owns(""));
}

}  // namespace
}  // namespace bascule
