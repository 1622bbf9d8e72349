// hostd.toml: what is taken, and the sentence for every fault.
#include "hostd/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace bascule {
namespace {

const std::string kGood = R"(cell = "lab"
host = "a1"
site = "A"
[api]
listen = "10.77.1.11:8443"
ca = "/etc/bascule/pki/ca.pem"
cert = "/etc/bascule/pki/host.pem"
key = "/etc/bascule/pki/host.key"
[etcd]
endpoints = ["https://10.77.1.11:2379", "https://10.77.1.12:2379"]
ca = "/ca"
cert = "/cert"
key = "/key"
[replication]
address = "10.77.2.11"
first_port = 7900
last_port = 7999
[migration]
address = "10.77.2.12"
[libvirt]
uri = "qemu:///session"
[networks]
clients = "br-client"
backup = "br1"
[pool]
kind = "lvm-thin"
path = "/p"
group = "vg0"
thin_pool = "thin"
[images]
path = "/i"
limit_mib = 1024
[state]
path = "/s"
[capacity]
memory_mib = 600
cpus = 4
)";

std::string with(const std::string& from, const std::string& to) {
  std::string text = kGood;
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}
std::string said(const std::string& text) {
  const auto config = parse_config(text, "t.toml");
  if (config) return "ok";
  EXPECT_EQ(config.error().code, core::Errc::invalid);
  return config.error().what;
}

TEST(Configuration, IsReadKeyByKey) {
  const auto c = parse_config(kGood, "t.toml");
  ASSERT_TRUE(c) << c.error().what;
  EXPECT_EQ(c->cell, "lab");
  EXPECT_EQ(c->host, "a1");
  EXPECT_EQ(c->site, core::Site::a);
  EXPECT_EQ(c->api.listen, "10.77.1.11:8443");
  EXPECT_EQ(c->api.tls.ca, "/etc/bascule/pki/ca.pem");
  EXPECT_EQ(c->api.tls.cert, "/etc/bascule/pki/host.pem");
  EXPECT_EQ(c->api.tls.key, "/etc/bascule/pki/host.key");
  EXPECT_THAT(c->etcd.endpoints, testing::ElementsAre("https://10.77.1.11:2379", "https://10.77.1.12:2379"));
  EXPECT_EQ(c->etcd.tls.ca + c->etcd.tls.cert + c->etcd.tls.key, "/ca/cert/key");
  EXPECT_EQ(c->replication.address, "10.77.2.11");
  EXPECT_EQ(c->replication.first_port, 7900);
  EXPECT_EQ(c->replication.last_port, 7999);
  EXPECT_EQ(c->migration_address, "10.77.2.12");
  EXPECT_EQ(c->libvirt_uri, "qemu:///session");
  EXPECT_THAT(c->networks, testing::ElementsAre(testing::Pair("backup", "br1"), testing::Pair("clients", "br-client")));
  EXPECT_EQ(c->pool.kind + c->pool.path + c->pool.group + c->pool.thin_pool, "lvm-thin/pvg0thin");
  EXPECT_EQ(c->images.path, "/i");
  EXPECT_EQ(c->images.limit_mib, 1024U);
  EXPECT_EQ(c->state_path, "/s");
  EXPECT_EQ(c->memory_mib, 600U);
  EXPECT_EQ(c->cpus, 4U);
}

TEST(Configuration, AsDeliveredIsValidAndShowsEveryDefault) {
  const auto delivered = load_config(BASCULE_SOURCE_DIR "/packaging/hostd.toml");
  ASSERT_TRUE(delivered) << delivered.error().what;
  EXPECT_EQ(delivered->replication.first_port, 7800);
  // With every commented-out key in force it is still valid: the keys exist, and the values are of their kind.
  std::ifstream file(BASCULE_SOURCE_DIR "/packaging/hostd.toml");
  std::string all;
  for (std::string line; std::getline(file, line);) {
    const bool key = line.starts_with("# [") || (line.starts_with("# ") && line.find(" = ") != std::string::npos);
    all += (key ? line.substr(2) : line) + '\n';
  }
  EXPECT_EQ(said(all), "ok");
  EXPECT_THAT(all, testing::HasSubstr("\nfirst_port = 7800"));
}

TEST(Configuration, WhatWaitsForASecondOperatorIsNamedByItsWord) {
  const auto plain = parse_config(kGood, "t.toml");
  ASSERT_TRUE(plain);
  EXPECT_TRUE(plain->four_eyes.verbs.empty()) << "one person on call can act";
  const auto good =
      parse_config(kGood + "[four_eyes]\nverbs = [\"vm-remove\", \"ha-disarm\"]\nminutes = 5\n", "t.toml");
  ASSERT_TRUE(good) << good.error().what;
  EXPECT_EQ(good->four_eyes.verbs, (std::vector<std::string>{"vm-remove", "ha-disarm"}));
  EXPECT_EQ(good->four_eyes.minutes, 5);
  EXPECT_THAT(said(kGood + "[four_eyes]\nverbs = [\"vm-start\"]\n"),
              testing::HasSubstr("'vm-start' is none of vm-remove"));
  EXPECT_THAT(said(kGood + "[four_eyes]\nminutes = 0\n"), testing::HasSubstr("a whole number from 1 to 1440"));
  EXPECT_THAT(said(kGood + "[audit]\ncountersign_minutes = 0\n"), testing::HasSubstr("a whole number from 1 to 1440"));
}

TEST(Configuration, SaysLineKeyAndRule) {
  const struct {
    const char* from;
    const char* to;
    const char* wanted;
  } table[] = {
      {"cell = \"lab\"", "cell = ", "line 1"},
      {"cell = \"lab\"\n", "", "cell is missing"},
      {"cell = \"lab\"", "cell = 3", "line 1: cell is not a string"},
      {"cell = \"lab\"", "cell = \"Lab/1\"", "cell and host: lower-case letters, digits and inner hyphens"},
      {"host = \"a1\"", "host = \"\"", "cell and host: lower-case letters"},
      {"site = \"A\"", "site = \"C\"", "site is not \"A\" or \"B\""},
      {"[api]\n", "[api]\ntypo = 1\n", "line 5: [api] typo is not a known key"},
      {"[state]\n", "[sate]\n", "sate is not a known key"},
      {"[api]\n", "api = 1\n[x]\n", "api is not a table"},
      {"listen = \"10.77.1.11:8443\"\n", "", "[api] listen is missing"},
      {"10.77.1.11:8443", "10.77.1.11", "[api] listen '10.77.1.11' is not address:port"},
      {"10.77.1.11:8443", "10.77.1.11:", "is not address:port"},
      {"10.77.1.11:8443", "10.77.1.11:0", "is not address:port"},
      {"10.77.1.11:8443", "10.77.1.11:65536", "is not address:port"},
      {"10.77.1.11:8443", "10.77.1.11:84x", "is not address:port"},
      {"10.77.1.11:8443", "a1:8443", "is not address:port"},
      {"10.77.1.11:8443", "::1:8443", "is not address:port"},
      {"10.77.1.11:8443", "[10.77.1.11]:8443", "is not address:port"},
      {"key = \"/etc/bascule/pki/host.key\"\n", "", "[api] key is missing"},
      {"[\"https://10.77.1.11:2379\", \"https://10.77.1.12:2379\"]", "[]",
       "[etcd] endpoints is not a list of 1 to 7 strings"},
      {"[\"https://10.77.1.11:2379\", \"https://10.77.1.12:2379\"]", "\"x\"",
       "[etcd] endpoints is not a list of 1 to 7 strings"},
      {"[\"https://10.77.1.11:2379\", \"https://10.77.1.12:2379\"]", "[1]",
       "[etcd] endpoints is not a list of strings"},
      {"https://10.77.1.11:2379", "http://10.77.1.11:2379",
       "[etcd] endpoint 'http://10.77.1.11:2379' does not begin with https://"},
      {"address = \"10.77.2.11\"", "address = \"a1\"", "[replication] address 'a1' is not an IP address"},
      {"address = \"10.77.2.12\"", "address = \"\"", "[migration] address '' is not an IP address"},
      {"first_port = 7900", "first_port = 80", "[replication] first_port is not a whole number from 1024 to 65535"},
      {"first_port = 7900", "first_port = 7900.0", "[replication] first_port is not a whole number"},
      {"first_port = 7900", "first_port = 8000", "[replication] first_port is above last_port"},
      {"last_port = 7999", "last_port = 65536", "[replication] last_port is not a whole number from 1024 to 65535"},
      {"last_port = 7999", "last_port = 7999\nfence_peer = \"bin/x\"", "path 'bin/x' is not absolute"},
      {"clients = \"br-client\"", "clients = 7", "[networks] clients is not name = \"bridge\""},
      {"clients = \"br-client\"", "\"a/b\" = \"br\"", "a/b is not name = \"bridge\""},
      {"clients = \"br-client\"", "clients = \"../br\"", "[networks] clients is not a bridge name"},
      {"kind = \"lvm-thin\"", "kind = \"zfs\"", "[pool] kind is not loop, lvm or lvm-thin"},
      {"group = \"vg0\"\n", "", "[pool] group is missing"},
      {"thin_pool = \"thin\"\n", "", "[pool] thin_pool is missing"},
      {"path = \"/i\"", "path = \"i\"", "path 'i' is not absolute"},
      {"limit_mib = 1024", "limit_mib = 0", "[images] limit_mib is not a whole number from 1 to 16777216"},
      {"cpus = 4", "cpus = -1", "[capacity] cpus is not a whole number from 0 to 4096"},
      {"cpus = 4", "cpus = 99999999999999999999", "line"},
  };
  for (const auto& row : table) {
    const std::string what = said(with(row.from, row.to));
    EXPECT_THAT(what, testing::HasSubstr(row.wanted)) << row.to;
    EXPECT_THAT(what, testing::StartsWith("t.toml")) << row.to;
  }
  EXPECT_EQ(said(with("cell = \"lab\"\n", "")), "t.toml: cell is missing. hostd does not start with it");
}

TEST(Config, TheCalendarOfVerifiesIsChecked) {
  EXPECT_EQ(parse_config(kGood, "t.toml")->verify.at, "") << "only when somebody asks";
  const auto good = parse_config(kGood + "[verify]\nat = \"01:30\"\nhours = 2\nevery_days = 30\n", "t.toml");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->verify, (core::VerifyCalendar{"01:30", 2, 30}));
  EXPECT_THAT(said(kGood + "[verify]\nat = \"25:00\"\n"), testing::HasSubstr("[verify] at is not a time of the day"));
  EXPECT_THAT(said(kGood + "[verify]\nhours = 25\n"), testing::HasSubstr("a whole number from 1 to 24"));
}

TEST(Configuration, OfAlerts) {
  const auto alerts = [](const std::string& lines) { return kGood + "[alerts]\n" + lines; };
  const std::string mail = "[alerts.to.noc]\nway = \"mail\"\nurl = \"smtps://m:465\"\nfrom = \"b@x\"\nto = [\"n@x\"]\n";
  EXPECT_TRUE(parse_config(kGood, "t.toml")->alerts.rules.lists.empty()) << "nobody is told";
  const auto good = parse_config(alerts("heartbeat_at = \"08:30\"\nunprotected_minutes = 5\nstorm_messages = 3\n") +
                                     mail + "severity = \"info\"\nheartbeat = true\n" +
                                     "[alerts.to.boss]\nway = \"webhook\"\nurl = \"https://h/x\"\nafter_minutes = 30\n",
                                 "t.toml");
  ASSERT_TRUE(good) << good.error().what;
  const auto& rules = good->alerts.rules;
  EXPECT_EQ(rules.heartbeat_minute, 510);
  EXPECT_EQ(rules.unprotected_ms, 300'000);
  EXPECT_EQ(rules.storm_messages, 3U);
  EXPECT_THAT(rules.lists, testing::ElementsAre(core::AlertList{"boss", core::Severity::warning, 1'800'000, false},
                                                core::AlertList{"noc", core::Severity::info, 0, true}));
  EXPECT_EQ(good->alerts.to.at("noc").url, "smtps://m:465");
  const struct {
    std::string text;
    const char* words;
  } table[] = {
      {alerts("heartbeat = true\n"), "[alerts] heartbeat is not a known key"},
      {alerts("heartbeat_at = \"8\"\n"), "[alerts] heartbeat_at is not a time of the day in UTC such as 08:00"},
      {alerts("") + mail + "severity = \"bad\"\n", "[alerts.to.noc] severity is not info, warning or critical"},
      {alerts("") + mail + "sever = 1\n", "[alerts.to.noc] sever is not a known key"},
      {alerts("") + mail + "after_minutes = 5\n", "every list has after_minutes"},
      {alerts("[alerts.to.x]\nway = \"fax\"\n"), "[alerts.to.x] way is not mail, sms, sms-spool or webhook"},
      {alerts("[alerts.to.x]\n"), "[alerts.to.x] way is missing"},
      {alerts("[alerts.to.x]\nway = \"mail\"\nurl = \"smtp://m\"\nfrom = \"b@x\"\n"), "nobody would get it"},
      {alerts("[alerts.to.x]\nway = \"webhook\"\nurl = \"http://h/\"\n"), "[alerts.to.x] url 'http://h/' is not https"},
      {alerts("[alerts.to.\"A/b\"]\nway = \"mail\"\n"), "[alerts.to] A/b is not a table named by a list"},
  };
  for (const auto& row : table) EXPECT_THAT(said(row.text), testing::HasSubstr(row.words));
}

TEST(Configuration, OfTimesTakesAProfileAndWhatDiffersFromIt) {
  const auto timing = [](const std::string& lines) { return parse_config(kGood + "[timing]\n" + lines, "t.toml"); };
  EXPECT_EQ(timing("")->timing, core::Timing{});
  EXPECT_EQ(timing("profile = \"fast\"")->timing, *core::timing_profile("fast"));
  const auto longer = timing("profile = \"fast\"\ntakeover_ms = 9000\nverifications = 3");
  ASSERT_TRUE(longer);
  EXPECT_EQ(longer->timing.takeover, core::Mono(9000));
  EXPECT_EQ(longer->timing.verifications, 3);
  EXPECT_EQ(longer->timing.watchdog, core::Mono(4000));
  const auto refused = [&](const std::string& lines) { return said(kGood + "[timing]\n" + lines); };
  EXPECT_THAT(refused("profile = \"faster\""), testing::HasSubstr("profile is not standard or fast"));
  EXPECT_THAT(refused("takeover_ms = 15000"), testing::HasSubstr("= 15304 ms"));
  EXPECT_THAT(refused("watchdog_ms = 9500"), testing::HasSubstr("not whole seconds"));
  EXPECT_THAT(refused("renew = 1"), testing::HasSubstr("renew is not a known key"));
}

TEST(Configuration, OfAWatchdogAndOfPowerSwitches) {
  const std::string power = "[power.b1]\nagent = \"/usr/sbin/fence_ipmilan\"\nsecret_file = \"/etc/s\"\n"
                            "timeout_s = 7\n[power.b1.options]\nip = \"192.0.2.1\"\n";
  const auto config =
      parse_config(kGood + "[watchdog]\ndevice = \"/dev/watchdog1\"\naccept_softdog = true\n" + power, "t");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->watchdog.device, "/dev/watchdog1");
  EXPECT_TRUE(config->watchdog.accept_softdog);
  ASSERT_TRUE(config->power.contains("b1"));
  EXPECT_EQ(config->power.at("b1").timeout, std::chrono::seconds(7));
  EXPECT_EQ(config->power.at("b1").options.at("ip"), "192.0.2.1");
  const auto refused = [&](const std::string& lines) { return said(kGood + lines); };
  EXPECT_THAT(refused("[watchdog]\naccept_softdog = 1"), testing::HasSubstr("accept_softdog is not true or false"));
  EXPECT_THAT(refused("[power.b1]\nagent = \"fence_ipmilan\""), testing::HasSubstr("not an absolute path"));
  EXPECT_THAT(refused("[power.b1]\n"), testing::HasSubstr("agent is missing"));
  EXPECT_THAT(refused("[power.b1]\nagent = \"/a\"\n[power.b1.options]\nip = \"x\\naction=on\""),
              testing::HasSubstr("is not one line"));
  EXPECT_THAT(refused("[power.b1]\nagent = \"/a\"\n[power.b1.options]\naction = \"on\""),
              testing::HasSubstr("option 'action'"));
  EXPECT_THAT(refused("[power.a1]\nagent = \"/a\""), testing::HasSubstr("does not switch itself off"));
  EXPECT_THAT(refused("[power]\nb1 = 3"), testing::HasSubstr("not a table named by a host"));
}

TEST(Configuration, HasALimitOnItsSizeAndDepth) {
  EXPECT_EQ(said(kGood + "#" + std::string(64 * 1024, 'x')), "t.toml: larger than 64 KiB");
  EXPECT_THAT(said("x = " + std::string(20000, '[')), testing::StartsWith("t.toml: line 1"));
  EXPECT_THAT(said("x = " + std::string(20000, '[') + std::string(20000, ']')), testing::StartsWith("t.toml: line 1"));
}

TEST(Configuration, ThatCannotBeReadIsAnErrorOfItsOwn) {
  const auto missing = load_config("/nonexistent/hostd.toml");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, core::Errc::io);
  EXPECT_EQ(missing.error().what, "cannot read the configuration /nonexistent/hostd.toml");
}

TEST(Configuration, AcceptsAnIpv6ListenAddressInBrackets) {
  EXPECT_EQ(said(with("10.77.1.11:8443", "[fd00::1]:8443")), "ok");
}

}  // namespace
}  // namespace bascule
