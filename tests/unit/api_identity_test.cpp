#include "api/identity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bascule::api {
namespace {

using core::Role;
using ::testing::HasSubstr;
using Uris = std::vector<std::string>;

void refused(const Uris& uris, const std::string& words) {
  const auto caller = caller_from(uris);
  ASSERT_FALSE(caller.has_value()) << ::testing::PrintToString(uris);
  EXPECT_EQ(caller.error().code, core::Errc::forbidden);
  EXPECT_THAT(caller.error().what, HasSubstr(words)) << ::testing::PrintToString(uris);
}

struct Good {
  const char* uri;
  Role role;
  const char* project;
  const char* name;
};

TEST(Identity, EveryRoleIsReadFromItsUri) {
  for (const auto& g :
       {Good{"urn:bascule:operator:olga", Role::operator_, "", "olga"},
        Good{"urn:bascule:auditor:anna", Role::auditor, "", "anna"}, Good{"urn:bascule:host:a1", Role::host, "", "a1"},
        Good{"urn:bascule:client:blue:carl", Role::client, "blue", "carl"},
        Good{"urn:bascule:client:b:c", Role::client, "b", "c"},
        Good{"urn:bascule:operator:operator", Role::operator_, "", "operator"}}) {
    const auto caller = caller_from({g.uri});
    ASSERT_TRUE(caller.has_value()) << g.uri;
    EXPECT_EQ(caller->role, g.role);
    EXPECT_EQ(caller->project, g.project);
    EXPECT_EQ(caller->name, g.name);
  }
}

TEST(Identity, OtherUrisBesideOursDoNotMatter) {
  const auto caller =
      caller_from({"https://example.org/olga", "urn:uuid:1", "urn:bascule:operator:olga", "spiffe://x/y"});
  ASSERT_TRUE(caller.has_value());
  EXPECT_EQ(caller->name, "olga");
}

TEST(Identity, ACertificateThatNamesNobodyIsNobody) {
  refused({}, "no Bascule identity");
  refused({"https://example.org", "urn:basculex:operator:olga"}, "no Bascule identity");
  refused({"URN:BASCULE:operator:olga"}, "no Bascule identity");
  refused({" urn:bascule:operator:olga"}, "no Bascule identity");
  refused({"x urn:bascule:operator:olga"}, "no Bascule identity");
  refused({"urn:bascule"}, "no Bascule identity");
}

TEST(Identity, TwoIdentitiesAreNone) {
  refused({"urn:bascule:operator:olga", "urn:bascule:client:blue:carl"}, "more than one");
  refused({"urn:bascule:operator:olga", "urn:bascule:operator:olga"}, "more than one");
  refused({"urn:bascule:operator:olga", "urn:bascule:"}, "more than one");
}

TEST(Identity, UnknownRolesAreRefused) {
  refused({"urn:bascule:root:olga"}, "unknown role");
  refused({"urn:bascule:operators:olga"}, "unknown role");
  refused({"urn:bascule:olga"}, "unknown role");
  refused({"urn:bascule:console:blue:carl"}, "unknown role");
}

TEST(Identity, PartsTooManyOrTooFewAreRefused) {
  refused({"urn:bascule:operator"}, "unknown role");
  refused({"urn:bascule:client:carl"}, "unknown role");
  refused({"urn:bascule:client:blue:carl:more"}, "unknown role");
  refused({"urn:bascule:operator:blue:olga"}, "unknown role");
  refused({"urn:bascule:host:a1:b1"}, "unknown role");
}

TEST(Identity, NamesThatAreNotNamesAreRefused) {
  const Uris bad{"urn:bascule:",
                 "urn:bascule:operator:",
                 "urn:bascule::olga",
                 "urn:bascule:operator:Olga",
                 "urn:bascule:operator:ol ga",
                 "urn:bascule:operator:olga ",
                 "urn:bascule:operator:../olga",
                 "urn:bascule:operator:olga/x",
                 "urn:bascule:operator:-olga",
                 "urn:bascule:operator:olga-",
                 "urn:bascule:operator:ol%67a",
                 "urn:bascule:operator:ölga",
                 "urn:bascule:operator:" + std::string(41, 'o'),
                 "urn:bascule:client:Blue:carl",
                 "urn:bascule:client::carl",
                 "urn:bascule:client:blue:",
                 "urn:bascule:client:*:carl",
                 "urn:bascule:operator:olga\n",
                 std::string("urn:bascule:operator:olga\0x", 27),
                 std::string("urn:bascule:operator:olga\0", 26)};
  for (const auto& uri : bad) refused({uri}, "not valid");
}

TEST(Identity, ANameMayBeAsLongAsNamesAre) {
  EXPECT_TRUE(caller_from({"urn:bascule:operator:" + std::string(40, 'o')}).has_value());
}

TEST(Identity, ARefusalDoesNotRepeatWhatTheCertificateSaid) {
  const auto caller = caller_from({"urn:bascule:operator:\x1b[31mX"});
  ASSERT_FALSE(caller.has_value());
  EXPECT_EQ(caller.error().what.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace bascule::api
