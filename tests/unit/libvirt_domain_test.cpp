#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hostd/core/domain.hpp"

namespace bascule::core {
namespace {

DomainSpec good() {
  DomainSpec spec;
  spec.name = "vm1";
  spec.uuid = domain_uuid("lab", "vm1");
  spec.memory_mib = 64;
  spec.disks = {{0, "/dev/drbd1", "root"}};
  spec.nics = {{"br-client", "52:54:00:00:00:01"}};
  return spec;
}

TEST(DomainUuid, IsTheSameEverywhereAndForEver) {
  // A change here would make every running VM a stranger to a new hostd.
  EXPECT_EQ(domain_uuid("lab", "vm1"), domain_uuid("lab", "vm1"));
  EXPECT_EQ(domain_uuid("lab", "vm1"), "af7db73a-0d1b-5e55-9e93-3d0484a9edb3");
  EXPECT_NE(domain_uuid("lab", "vm1"), domain_uuid("lab", "vm2"));
  EXPECT_NE(domain_uuid("lab", "vm1"), domain_uuid("lab2", "vm1"));
  EXPECT_EQ(domain_uuid("lab", "vm1")[14], '5');
}

TEST(DomainSpecCheck, TakesAGoodOneAndNamesTheFieldOfABadOne) {
  ASSERT_TRUE(check(good()));
  const struct {
    const char* field;
    void (*spoil)(DomainSpec&);
  } cases[] = {
      {"name", [](DomainSpec& s) { s.name = "../x"; }},
      {"uuid", [](DomainSpec& s) { s.uuid = "x"; }},
      {"uuid", [](DomainSpec& s) { s.uuid[3] = '<'; }},
      {"cpus", [](DomainSpec& s) { s.cpus = 0; }},
      {"cpus", [](DomainSpec& s) { s.cpus = Limits::cpus + 1; }},
      {"memory_mib", [](DomainSpec& s) { s.memory_mib = 0; }},
      {"memory_mib", [](DomainSpec& s) { s.memory_mib = Limits::memory_mib + 1; }},
      {"cpu_model", [](DomainSpec& s) { s.cpu_model = "host'"; }},
      {"cpu_model", [](DomainSpec& s) { s.cpu_model = ""; }},
      {"disks", [](DomainSpec& s) { s.disks.clear(); }},
      {"disks", [](DomainSpec& s) { s.disks.push_back({0, "/dev/drbd2", "b"}); }},
      {"disks", [](DomainSpec& s) { s.disks.push_back({1, "/dev/drbd1", "b"}); }},
      {"disks", [](DomainSpec& s) { s.disks[0].index = 8; }},
      {"disks", [](DomainSpec& s) { s.disks[0].serial = "<x>"; }},
      {"nics", [](DomainSpec& s) { s.nics[0].bridge = "br client"; }},
      {"nics", [](DomainSpec& s) { s.nics[0].bridge = ".."; }},
      {"nics", [](DomainSpec& s) { s.nics[0].bridge = "a-name-that-is-too-long"; }},
      {"nics", [](DomainSpec& s) { s.nics[0].mac = "52:54:00:00:00"; }},
      {"nics", [](DomainSpec& s) { s.nics.push_back(s.nics[0]); }},
      {"nics", [](DomainSpec& s) { s.nics.resize(Limits::nics_per_vm + 1); }},
  };
  for (const auto& c : cases) {
    auto spec = good();
    c.spoil(spec);
    const auto result = check(spec);
    ASSERT_FALSE(result) << c.field;
    EXPECT_EQ(result.error().code, Errc::invalid);
    EXPECT_THAT(result.error().what, ::testing::StartsWith(c.field));
  }
}

TEST(RightProofCheck, NeedsThisVmThisHostAndACommittedRecord) {
  EXPECT_TRUE(check(StartProof{{"vm1", "a1", 1, 7}}, "vm1", "a1"));
  EXPECT_FALSE(check(StartProof{{"vm2", "a1", 1, 7}}, "vm1", "a1"));
  EXPECT_FALSE(check(StartProof{{"vm1", "b1", 1, 7}}, "vm1", "a1"));
  EXPECT_FALSE(check(StartProof{{"vm1", "a1", 0, 7}}, "vm1", "a1"));
  EXPECT_FALSE(check(ResumeProof{{"vm1", "a1", 1, 0}}, "vm1", "a1"));
}

TEST(ValidIp, TakesAddressesAndNothingElse) {
  for (const char* ip :
       {"10.77.2.11", "0.0.0.0", "255.255.255.255", "::1", "fd00::77:2", "fe80::1:2:3:4", "1:2:3:4:5:6:7:8", "::"}) {
    EXPECT_TRUE(valid_ip(ip)) << ip;
  }
  for (const char* bad : {"", "b1", "10.77.2", "10.77.2.256", "10.77.2.1.1", "01.2.3.4", "1.2.3.4 ", "1.2.3.+4",
                          "fe80::1%eth0", "[::1]", "1:2:3:4:5:6:7", "1::2::3", ":::", "1:2:3:4:5:6:7:8:9",
                          "12345::", "1:", "10.0.0.1:49152", "1:2:3:4:5:6:7::8"}) {
    EXPECT_FALSE(valid_ip(bad)) << bad;
  }
}

TEST(PercentDone, IsUnknownUntilTheSizeIsKnown) {
  MigrationStats stats;
  EXPECT_EQ(percent_done(stats), -1);
  stats.memory_total = 1000;
  stats.memory_remaining = 250;
  EXPECT_EQ(percent_done(stats), 75);
  stats.memory_remaining = 2000;  // more got dirty than there is: not less than nothing is done
  EXPECT_EQ(percent_done(stats), 0);
  stats.job = MigrationStats::Job::completed;
  EXPECT_EQ(percent_done(stats), 100);
}

}  // namespace
}  // namespace bascule::core
