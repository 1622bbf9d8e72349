#include <gmock/gmock.h>

#include <string>

#include "api/hostctl/manifest.hpp"
#include "hostd/core/model.hpp"

namespace bascule::hostctl {
namespace {
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kGood = R"(# a client's database
kind: vm
name: db
project: acme
cpus: 2
memory_mib: 256
hosts: {nominal: a1, peer: b1}
power: on
migration_policy: gentle
volumes:
  - name: root
    size_mib: 128
    image: guest
  - name: data
    size_mib: 1024
networks:
  - network: clients
    mac: "52:54:00:00:00:01"
)";

std::string with(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

/// Everything wrong with the first document, one a line.
std::string problems(const std::string& text) {
  const Reading reading = read_yaml(text);
  std::string out;
  for (const auto& p : reading.problems) out += to_string("vm.yaml", p) + "\n";
  if (!reading.problems.empty()) return out;
  for (const auto& p : check_vm(reading.documents.at(0))) out += to_string("vm.yaml", p) + "\n";
  return out;
}

TEST(HostctlManifest, AWholeDefinitionPasses) { EXPECT_EQ(problems(kGood), ""); }

TEST(HostctlManifest, ValuesKeepTheirTypesAndOnStaysAWord) {
  const Reading r = read_yaml(kGood);
  ASSERT_THAT(r.documents, SizeIs(1));
  EXPECT_EQ(r.documents[0].value.dump(),
            R"({"kind":"vm","name":"db","project":"acme","cpus":2,"memory_mib":256,)"
            R"("hosts":{"nominal":"a1","peer":"b1"},"power":"on","migration_policy":"gentle",)"
            R"("volumes":[{"name":"root","size_mib":128,"image":"guest"},{"name":"data","size_mib":1024}],)"
            R"("networks":[{"network":"clients","mac":"52:54:00:00:00:01"}]})");
}

TEST(HostctlManifest, AnErrorNamesFileLineAndField) {
  EXPECT_EQ(problems(with(kGood, "cpus: 2", "cpus: banana")),
            "vm.yaml:5: cpus must be a whole number from 1 to 255, not \"banana\"\n");
  EXPECT_EQ(problems(with(kGood, "size_mib: 1024", "size_mib: 4")),
            "vm.yaml:15: volumes[1].size_mib must be a whole number of MiB from 8 to 16777216, not 4\n");
}

TEST(HostctlManifest, AnUnknownFieldIsAnErrorThatSaysWhatWasMeant) {
  EXPECT_EQ(problems(with(kGood, "memory_mib", "memroy_mib")),
            "vm.yaml:2: memory_mib is missing: it must be a whole number of MiB from 64 to 1048576\n"
            "vm.yaml:6: memroy_mib is not a field here; did you mean 'memory_mib'?\n");
  EXPECT_EQ(problems(with(kGood, "    image: guest", "    imgae: guest")),
            "vm.yaml:13: volumes[0].imgae is not a field here; did you mean 'image'?\n");
  EXPECT_THAT(problems(with(kGood, "power: on", "console: vnc")),
              HasSubstr("vm.yaml:8: console is not a field here; there are copy_at, cpus, drill_every_days, hosts, kind"));
}

TEST(HostctlManifest, AMissingFieldIsNamed) {
  EXPECT_EQ(problems(with(kGood, "name: db\n", "")),
            "vm.yaml:2: name is missing: it must be a name: 1 to 40 lower-case "
            "letters, digits and inner hyphens\n");
  EXPECT_THAT(problems(with(kGood, "  - name: data\n    size_mib: 1024", "  - size_mib: 1024")),
              HasSubstr("vm.yaml:14: volumes[1].name is missing"));
}

TEST(HostctlManifest, AFieldThatIsThereTwiceIsAnError) {
  EXPECT_EQ(problems(with(kGood, "power: on", "power: on\npower: off")),
            "vm.yaml:9: power is there twice; first on line 8\n");
}

TEST(HostctlManifest, NamesThatCouldBePathsAreRefused) {
  for (const char* bad : {"../etc", "a/b", "A1", "-a", "a-", "a b", "''"}) {
    EXPECT_THAT(problems(with(kGood, "name: db", std::string("name: ") + bad)), HasSubstr("vm.yaml:3: name must be"))
        << bad;
  }
  EXPECT_THAT(problems(with(kGood, "name: db", "name: " + std::string(41, 'a'))), HasSubstr("vm.yaml:3: name"));
  EXPECT_EQ(problems(with(kGood, "name: db", "name: " + std::string(40, 'a'))), "");
}

TEST(HostctlManifest, AListOfTheWrongSizeOrTypeIsRefused) {
  EXPECT_THAT(
      problems(with(kGood, "networks:\n  - network: clients\n    mac: \"52:54:00:00:00:01\"", "networks: clients")),
      HasSubstr("vm.yaml:16: networks must be a list of at most 8 networks"));
  std::string nine = "kind: vm\nname: x\nproject: p\nmemory_mib: 64\nvolumes:\n";
  for (int i = 0; i < 9; ++i) nine += "  - {name: v" + std::to_string(i) + ", size_mib: 8}\n";
  EXPECT_THAT(problems(nine), HasSubstr("vm.yaml:5: volumes must be a list of 1 to 8"));
  EXPECT_THAT(problems("[]\n"), HasSubstr("vm.yaml:1: "));
  EXPECT_THAT(problems("just words\n"), HasSubstr("vm.yaml:1: "));
}

TEST(HostctlManifest, SeveralDocumentsKeepTheirOwnLines) {
  const Reading r = read_yaml(std::string(kGood) + "---\n" + with(kGood, "cpus: 2", "cpus: 0") + "---\n# nothing\n");
  ASSERT_THAT(r.problems, IsEmpty());
  ASSERT_THAT(r.documents, SizeIs(2));
  EXPECT_THAT(check_vm(r.documents[0]), IsEmpty());
  const auto bad = check_vm(r.documents[1]);
  ASSERT_THAT(bad, SizeIs(1));
  EXPECT_EQ(bad[0].line, 24);
  EXPECT_EQ(bad[0].field, "cpus");
}

TEST(HostctlManifest, BrokenYamlNamesItsLine) {
  EXPECT_THAT(problems("kind: vm\nname: [a\nproject: b\n"), HasSubstr("this is not YAML"));
  EXPECT_THAT(problems("kind: vm\n\tname: a\n"), HasSubstr("vm.yaml:2: this is not YAML"));
  EXPECT_THAT(problems("# only a comment\n"), HasSubstr("there is no document"));
  EXPECT_THAT(problems(std::string("kind: vm\0", 9)), HasSubstr("not text"));
}

TEST(HostctlManifest, AFileThatGrowsWithoutEndIsStopped) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 10; ++i) {
    const std::string p = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + p + "," + p + "," + p + "," + p + "," + p +
            "," + p + "," + p + "," + p + "," + p + "," + p + "]\n";
  }
  EXPECT_THAT(problems(bomb), HasSubstr("too large"));
  EXPECT_THAT(problems("a: " + std::string(200, '[') + std::string(200, ']')), HasSubstr("nested too deeply"));
  EXPECT_THAT(problems(std::string(kMaxManifestBytes + 1, '#')), HasSubstr("larger than"));
  EXPECT_THAT(problems("name: " + std::string(kMaxScalarBytes + 1, 'a')), HasSubstr("longer than"));
}

TEST(HostctlManifest, TheSchemasLimitsAreHostds) {
  using L = core::Limits;
  const auto with_cpus = [](std::uint64_t n) { return with(kGood, "cpus: 2", "cpus: " + std::to_string(n)); };
  const auto with_memory = [](std::uint64_t n) {
    return with(kGood, "memory_mib: 256", "memory_mib: " + std::to_string(n));
  };
  const auto with_size = [](std::uint64_t n) {
    return with(kGood, "size_mib: 1024", "size_mib: " + std::to_string(n));
  };
  EXPECT_EQ(problems(with_cpus(L::cpus)), "");
  EXPECT_NE(problems(with_cpus(L::cpus + 1)), "");
  EXPECT_EQ(problems(with_memory(L::memory_mib)), "");
  EXPECT_NE(problems(with_memory(L::memory_mib + 1)), "");
  EXPECT_EQ(problems(with_size(L::volume_mib)), "");
  EXPECT_NE(problems(with_size(L::volume_mib + 1)), "");
  EXPECT_EQ(L::name_bytes, 40U);
  EXPECT_EQ(L::volumes_per_vm, 8U);
  EXPECT_EQ(L::nics_per_vm, 8U);
}

TEST(HostctlManifest, ControlCharactersInAValueAreShownHarmless) {
  EXPECT_THAT(problems(with(kGood, "power: on", "power: \"\\e[31m\"")), HasSubstr("not \"\\u001b[31m\""));
}

}  // namespace
}  // namespace bascule::hostctl
