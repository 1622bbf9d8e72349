#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "hostd/runtime/process.hpp"
#include "storage/drbd_commands.hpp"
#include "storage/drbd_config.hpp"
#include "tests/unit/storage_fixture.hpp"

namespace bascule::storage {
namespace {
namespace asio = boost::asio;
using core::Errc;

constexpr DrbdVersion kBoth[] = {DrbdVersion::v8_4, DrbdVersion::v9};

std::string this_host() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

runtime::Outcome run_now(runtime::Command command) {
  asio::io_context io;
  std::optional<core::Result<runtime::Outcome>> result;
  asio::co_spawn(io, runtime::run(std::move(command)),
                 [&](std::exception_ptr, core::Result<runtime::Outcome> r) { result = std::move(r); });
  io.run();
  return result->value();
}

/// One command as program, arguments, sorted options, so that the order of options does not matter.
std::string one(const Argv& argv) {
  std::vector<std::string> options;
  std::string text = std::filesystem::path(argv.front()).filename().string();
  if (text == "drbdsetup-84") text = "drbdsetup";
  for (std::size_t i = 1; i < argv.size(); ++i) {
    if (argv[i].starts_with("--")) {
      options.push_back(argv[i]);
    } else {
      text += " " + argv[i];
    }
  }
  std::ranges::sort(options);
  for (const auto& option : options) text += " " + option;
  return text;
}

std::string normal(const std::vector<Argv>& list) {
  std::string text;
  for (const auto& argv : list) text += one(argv) + "\n";
  return text;
}

class DryRun : public ::testing::TestWithParam<DrbdVersion> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("/usr/sbin/drbdadm")) GTEST_SKIP() << "drbd-utils is not installed";
    resource_ = sample_resource(this_host(), "other-host");
    file_ = std::filesystem::temp_directory_path() / ("bascule-dry-" + std::to_string(::getpid()) + ".res");
  }
  void TearDown() override { std::filesystem::remove(file_); }

  void write() {
    const auto global = global_config(options_);
    const auto text = resource_config(resource_, options_, GetParam(), this_host());
    ASSERT_TRUE(text.has_value()) << text.error().what;
    std::ofstream(file_) << *global << *text;
  }

  std::string drbdadm(Argv rest) {
    runtime::Command command{.argv = {"/usr/sbin/drbdadm", "--config-file", file_.string(), "--dry-run"}};
    command.argv.insert(command.argv.end(), rest.begin(), rest.end());
    command.argv.push_back("vm-web");
    command.environment = {GetParam() == DrbdVersion::v8_4 ? "DRBD_DRIVER_VERSION_OVERRIDE=8.4.11"
                                                           : "DRBD_DRIVER_VERSION_OVERRIDE=9.1.13"};
    const auto outcome = run_now(command);
    EXPECT_TRUE(outcome.ok()) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    std::istringstream lines(outcome.out);
    std::vector<Argv> list;
    for (std::string line; std::getline(lines, line);) {
      std::erase(line, '\\');  // a dry run prints words as a shell would want them
      std::istringstream words(line);
      Argv argv;
      for (std::string word; words >> word;) argv.push_back(word);
      if (!argv.empty()) list.push_back(argv);
    }
    return normal(list);
  }

  DrbdCommands commands() { return DrbdCommands::make(resource_, options_, GetParam(), this_host()).value(); }

  DrbdOptions options_;
  Resource resource_;
  std::filesystem::path file_;
};

TEST_P(DryRun, OurCommandsToComeUpAreThoseOfDrbdadm) {
  for (const char* secret : {"", "abcDEF0123456789+/=_."}) {
    resource_.secret = secret;
    write();
    const auto c = commands();
    std::vector<Argv> ours{c.new_resource()};
    for (const auto& v : c.resource().volumes) ours.push_back(c.new_minor(v));
    for (auto& argv : c.new_peer()) ours.push_back(argv);
    for (const auto& v : c.resource().volumes) {
      ours.push_back(c.apply_activity_log(v));
      ours.push_back(c.attach(v, v.size_mib * 1024));
    }
    ours.push_back(c.connect(false));
    EXPECT_EQ(drbdadm({"up"}), normal(ours));
  }
}

TEST_P(DryRun, OurCommandsForEveryOtherActAreThoseOfDrbdadm) {
  write();
  const auto c = commands();
  const auto& volumes = c.resource().volumes;
  const auto each = [&](auto make) {
    std::vector<Argv> list;
    for (const auto& v : volumes) list.push_back(make(v));
    return normal(list);
  };
  EXPECT_EQ(drbdadm({"create-md", "--force"}), each([&](const Volume& v) { return c.create_metadata(v); }));
  EXPECT_EQ(drbdadm({"primary"}), normal(c.running().primary(false)));
  EXPECT_EQ(drbdadm({"primary", "--force"}), normal(c.running().primary(true)));
  EXPECT_EQ(drbdadm({"secondary"}), normal(c.running().secondary()));
  EXPECT_EQ(drbdadm({"disconnect"}), normal(std::vector<Argv>{c.running().disconnect(false)}));
  EXPECT_EQ(drbdadm({"disconnect", "--force"}), normal(std::vector<Argv>{c.running().disconnect(true)}));
  EXPECT_EQ(drbdadm({"verify"}), each([&](const Volume& v) { return c.verify(v); }));
  EXPECT_EQ(drbdadm({"detach"}), each([&](const Volume& v) { return c.detach(v, false); }));
  EXPECT_EQ(drbdadm({"detach", "--force"}), each([&](const Volume& v) { return c.detach(v, true); }));
  EXPECT_EQ(drbdadm({"down"}), normal(std::vector<Argv>{down_command("vm-web")}));
  if (GetParam() == DrbdVersion::v8_4) {  // on 9 drbdadm repeats every other option
    EXPECT_EQ(drbdadm({"net-options", "--allow-two-primaries=yes"}),
              normal(std::vector<Argv>{c.running().two_primaries(true)}));
    EXPECT_EQ(drbdadm({"net-options", "--allow-two-primaries=no"}),
              normal(std::vector<Argv>{c.running().two_primaries(false)}));
  }
}

TEST_P(DryRun, Ipv6AddressesAreUnderstood) {
  resource_.hosts[0].address = "fd00::1";
  resource_.hosts[1].address = "fd00::2";
  write();
  EXPECT_NE(drbdadm({"up"}).find("ipv6:[fd00::1]:7800 ipv6:[fd00::2]:7800"), std::string::npos);
  EXPECT_EQ(drbdadm({"disconnect"}), normal(std::vector<Argv>{commands().running().disconnect(false)}));
}

TEST_P(DryRun, TheFencePeerHandlerIsFoundByTheCommandTheKernelRuns) {
  options_.fence_peer = "/bin/true";  // run for real: what it returns is what the kernel gets
  write();
  runtime::Command command{.argv = {"/usr/sbin/drbdadm", "--config-file", file_.string(), "fence-peer", "vm-web"}};
  command.environment = {GetParam() == DrbdVersion::v8_4 ? "DRBD_DRIVER_VERSION_OVERRIDE=8.4.11"
                                                         : "DRBD_DRIVER_VERSION_OVERRIDE=9.1.13"};
  EXPECT_EQ(run_now(command).status, 0);
  options_.fence_peer = "/bin/false";
  write();
  EXPECT_EQ(run_now(command).status, 1);
}

/// The kernel knows the minor alone; drbdadm finds the resource and the volume.
TEST_P(DryRun, TheLocalIoErrorHandlerLearnsWhichVolumeItIs) {
  options_.fence_peer = file_.string() + ".sh";
  options_.lost_disks = file_.string() + ".out";
  write();
  std::ofstream(options_.fence_peer) << "#!/bin/sh\necho $1 $DRBD_RESOURCE $DRBD_VOLUME >$2\n";
  std::filesystem::permissions(options_.fence_peer, std::filesystem::perms::owner_all);
  const bool nine = GetParam() == DrbdVersion::v9;
  for (const auto& volume : resource_.volumes) {
    // 8.4 names the minor; 9 names the resource and says the volume beside, which drbdadm replaces by all of them.
    const std::string which = nine ? "vm-web" : "minor-" + std::to_string(volume.minor);
    runtime::Command command{.argv = {"/usr/sbin/drbdadm", "--config-file", file_.string(), "local-io-error", which}};
    command.environment = {nine ? "DRBD_DRIVER_VERSION_OVERRIDE=9.1.13" : "DRBD_DRIVER_VERSION_OVERRIDE=8.4.11",
                           "DRBD_VOLUME=" + std::to_string(volume.index)};
    const auto ran = run_now(command);
    EXPECT_EQ(ran.status, 0) << ran.err;
    std::string line;
    std::ifstream out(options_.lost_disks);
    EXPECT_TRUE(std::getline(out, line));
    EXPECT_EQ(line, "lost-disk vm-web " + (nine ? "0 1" : std::to_string(volume.index)));
  }
  std::filesystem::remove(options_.fence_peer);
  std::filesystem::remove(options_.lost_disks);
}

std::string version_name(const ::testing::TestParamInfo<DrbdVersion>& info) {
  return info.param == DrbdVersion::v8_4 ? "v8_4" : "v9";
}
INSTANTIATE_TEST_SUITE_P(Storage, DryRun, ::testing::ValuesIn(kBoth), version_name);

TEST(DrbdConfig, MatchesTheGoldenFiles) {
  const std::filesystem::path folder = BASCULE_GOLDEN_DIR;
  for (const auto version : kBoth) {
    Resource resource = sample_resource();
    resource.secret = "s3cret";
    const auto text = resource_config(resource, {}, version, "a1").value();
    const auto file = folder / ("vm-web." + std::string(to_string(version)) + ".res");
    if (std::getenv("BASCULE_REWRITE_GOLDEN") != nullptr) std::ofstream(file) << text;
    std::stringstream golden;
    golden << std::ifstream(file).rdbuf();
    EXPECT_EQ(text, golden.str()) << "BASCULE_REWRITE_GOLDEN=1 rewrites " << file;
  }
}

TEST(DrbdConfig, FencingStandsWhereEachVersionWantsIt) {
  const auto has = [](const Options& options, std::string_view key) {
    return std::ranges::any_of(options, [&](const Option& o) { return o.first == key; });
  };
  const auto old = sections(sample_resource(), {}, DrbdVersion::v8_4);
  EXPECT_TRUE(has(old.disk, "fencing"));
  EXPECT_FALSE(has(old.net, "fencing"));
  EXPECT_FALSE(has(old.resource, "auto-promote"));
  const auto nine = sections(sample_resource(), {}, DrbdVersion::v9);
  EXPECT_FALSE(has(nine.disk, "fencing"));
  EXPECT_TRUE(has(nine.net, "fencing"));
  EXPECT_TRUE(has(nine.resource, "auto-promote"));
}

TEST(DrbdConfig, PromotionIsForcedOnlyWhenAskedAndMetadataAlwaysNamesItsDevice) {
  for (const auto version : kBoth) {
    const auto c = DrbdCommands::make(sample_resource(), {}, version, "a1").value();
    for (const auto& argv : c.running().primary(false)) EXPECT_EQ(std::ranges::count(argv, "--force"), 0);
    EXPECT_EQ(c.create_metadata(c.resource().volumes[1])[3], "/dev/vg0/bascule-web-data-l1");
  }
}

TEST(DrbdConfig, NothingThatCouldEndAQuoteOrALineGetsIn) {
  const auto refused = [](auto change) {
    Resource r = sample_resource();
    change(r);
    const auto text = resource_config(r, {}, DrbdVersion::v8_4, "a1");
    return !text && text.error().code == Errc::invalid;
  };
  for (const char* bad : {"", "a b", "a\"b", "a;b", "a}b", "a\nb", "../x", "A", "-a", "a$(id)", "a\\b"}) {
    EXPECT_TRUE(refused([&](Resource& r) { r.vm = bad; })) << bad;
    EXPECT_TRUE(refused([&](Resource& r) { r.volumes[0].name = bad; })) << bad;
  }
  for (const char* bad : {"", "a b", "a\"b", "a;b", "a}", "a\nb", "-a", "a$b", "a_b"}) {
    EXPECT_TRUE(refused([&](Resource& r) { r.hosts[1].host = bad; })) << bad;
  }
  for (const char* bad : {"", "10.0.0", "10.0.0.1 ", "host", "10.0.0.1;", "::1::", "10.0.0.1/24"}) {
    EXPECT_TRUE(refused([&](Resource& r) { r.hosts[1].address = bad; })) << bad;
  }
  for (const char* bad :
       {"loop7", "/dev/a b", "/dev/\"x", "/dev/x;", "/dev/../etc", "/dev/x\n", "/dev/$x", "/dev/`x"}) {
    EXPECT_TRUE(refused([&](Resource& r) { r.volumes[0].backing[0] = bad; })) << bad;
    EXPECT_TRUE(refused([&](Resource& r) { r.volumes[0].backing[1] = bad; })) << bad;
  }
  for (const char* bad : {"a\"b", "a b", "a\nb", "a;b", "-a", "a\\"}) {
    EXPECT_TRUE(refused([&](Resource& r) { r.secret = bad; })) << bad;
  }
  EXPECT_TRUE(refused([](Resource& r) { r.secret = std::string(64, 'a'); }));
}

TEST(DrbdConfig, RefusesResourcesThatContradictThemselves) {
  const auto refused = [](auto change) {
    Resource r = sample_resource();
    change(r);
    return !check(r, "a1");
  };
  EXPECT_TRUE(check(sample_resource(), "a1").has_value());
  EXPECT_FALSE(check(sample_resource(), "c1").has_value());
  EXPECT_FALSE(check(sample_resource(), "b1").has_value()) << "b1 does not know its own device for `data`";
  EXPECT_TRUE(refused([](Resource& r) { r.hosts[1].host = "a1"; }));
  EXPECT_TRUE(refused([](Resource& r) { r.hosts[1].address = r.hosts[0].address; }));
  EXPECT_TRUE(refused([](Resource& r) { r.hosts[1].address = "fd00::1"; }));
  EXPECT_TRUE(refused([](Resource& r) { r.hosts[1].node_id = 0; }));
  EXPECT_TRUE(refused([](Resource& r) { r.hosts[1].port = 0; }));
  EXPECT_TRUE(refused([](Resource& r) { r.volumes[1].minor = 100; }));
  EXPECT_TRUE(refused([](Resource& r) { r.volumes[1].index = 0; }));
  EXPECT_TRUE(refused([](Resource& r) { r.volumes[1].name = "root"; }));
  EXPECT_TRUE(refused([](Resource& r) { r.volumes[1].backing[0] = "/dev/loop7"; }));
  EXPECT_TRUE(refused([](Resource& r) { r.volumes[0].minor = 1U << 20; }));
  EXPECT_TRUE(refused([](Resource& r) { r.volumes[0].size_mib = 0; }));
  EXPECT_TRUE(refused([](Resource& r) { r.volumes.clear(); }));
}

TEST(DrbdConfig, RefusesOptionsOutsideTheirLimits) {
  const auto refused = [](auto change) {
    DrbdOptions o;
    change(o);
    return !check(o);
  };
  EXPECT_TRUE(check(DrbdOptions{}).has_value());
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.fence_peer = "hostd-fence-peer"; }));
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.fence_peer = "/x \"y"; }));
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.lost_disks = "lost disks"; }));
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.timeout_ds = 30; })) << "not shorter than ping-int";
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.ping_int_s = 121; }));
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.handler_timeout_s = 0; })) << "0 is no limit at all";
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.resync_min_kib = o.resync_max_kib + 1; }));
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.verify_alg = "crc32c; x"; }));
  EXPECT_TRUE(refused([](DrbdOptions& o) { o.al_extents = 6434; }));
}

TEST(DrbdConfig, KnowsAFreshGenerationFromAnyOther) {
  EXPECT_TRUE(just_created("0000000000000004:0000000000000000:0000000000000000:0000000000000000:0:0:0:0:0:0:0"));
  EXPECT_TRUE(just_created("0000000000000005:0000000000000000"));
  EXPECT_FALSE(just_created("46D20E3281D3B83C:C07CEA1FE5161B10"));
  EXPECT_FALSE(just_created("0000000000000000:0"));
  EXPECT_FALSE(just_created("4:0"));
  EXPECT_FALSE(just_created(""));
  EXPECT_FALSE(just_created("000000000000000x:"));
}

TEST(DrbdCommands, TheSizeBothLegsHadLastIsReadFromTheMetadata) {
  EXPECT_EQ(
      agreed_kib("flags: Secondary\nlast agreed size: 20 MB (40960 sectors)\nlast agreed max bio size: 4096 Byte\n"),
      20480);
  EXPECT_EQ(agreed_kib("meta-data: clean\nzero size device -- never seen peer yet?\n"), 0);
  EXPECT_FALSE(agreed_kib(""));
  EXPECT_FALSE(agreed_kib("last agreed size: 20 MB"));
  EXPECT_FALSE(agreed_kib("last agreed size: 20 MB (-1 sectors)"));
  EXPECT_FALSE(agreed_kib("last agreed size: 20 MB (99999999999999999999 sectors)"));
  EXPECT_FALSE(agreed_kib("last agreed size: 20 MB (40960 sectors"));
}

TEST(DrbdConfig, TellsTheVersionsApart) {
  EXPECT_EQ(*parse_drbd_version("8.4.11\n"), DrbdVersion::v8_4);
  EXPECT_EQ(*parse_drbd_version("version: 8.4.11 (api:1/proto:86-101)\n"), DrbdVersion::v8_4);
  EXPECT_EQ(*parse_drbd_version("9.2.8"), DrbdVersion::v9);
  EXPECT_FALSE(parse_drbd_version("8.3.16").has_value());
  EXPECT_FALSE(parse_drbd_version("").has_value());
}

}  // namespace
}  // namespace bascule::storage
