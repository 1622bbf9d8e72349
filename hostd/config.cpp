#include "hostd/config.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include <toml++/toml.h>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <fstream>
#include <functional>
#include <sstream>

#include "hostd/core/domain.hpp"
#include "hostd/core/four_eyes.hpp"
#include "hostd/core/names.hpp"

namespace bascule {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kMaxConfigBytes = 64 * 1024;

/// Reads keys out of one table, remembers the first fault, and finds keys nobody asked for.
class Table {
 public:
  Table(const toml::table* table, std::string name, std::string& fault)
      : table_(table), name_(std::move(name)), fault_(fault) {}

  void text(const char* key, std::string& out, bool needed = false) {
    const auto* node = find(key, needed);
    if (node == nullptr) return;
    if (const auto* value = node->as_string(); value != nullptr && value->get().size() < 4096)
      out = value->get();
    else
      wrong(*node, key, "a string");
  }
  template <class T>
  void number(const char* key, T& out, std::int64_t low, std::int64_t high) {
    const auto* node = find(key, false);
    if (node == nullptr) return;
    const auto* value = node->as_integer();
    if (value == nullptr || value->get() < low || value->get() > high) {
      return wrong(*node, key, fmt::format("a whole number from {} to {}", low, high));
    }
    out = static_cast<T>(value->get());
  }
  void flag(const char* key, bool& out) {
    const auto* node = find(key, false);
    if (node == nullptr) return;
    const auto* value = node->as_boolean();
    if (value == nullptr) return wrong(*node, key, "true or false");
    out = value->get();
  }
  void list(const char* key, std::vector<std::string>& out, std::size_t most, bool needed = true) {
    const auto* node = find(key, needed);
    if (node == nullptr) return;
    const auto* array = node->as_array();
    if (array == nullptr || (needed && array->empty()) || array->size() > most) {
      return wrong(*node, key, fmt::format("a list of {}{} strings", needed ? "1 to " : "at most ", most));
    }
    for (const auto& item : *array) {
      if (const auto* value = item.as_string())
        out.push_back(value->get());
      else
        return wrong(item, key, "a list of strings");
    }
  }
  void words(std::map<std::string, std::string>& out) {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_) {
      const auto* value = node.as_string();
      if (value == nullptr || !core::valid_name(key.str()))
        return wrong(node, std::string(key.str()).c_str(), "name = \"bridge\"");
      out[std::string(key.str())] = value->get();
      asked_.emplace_back(key.str());
    }
  }
  /// Options of a program: any key, one line each.
  void lines(std::map<std::string, std::string>& out) {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_) {
      const auto* value = node.as_string();
      if (value == nullptr) return wrong(node, std::string(key.str()).c_str(), "a string");
      out[std::string(key.str())] = value->get();
      asked_.emplace_back(key.str());
    }
  }
  /// Every table in this one, by its name.
  template <class Read>
  void each(const char* named, Read read) {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_) {
      if (!node.is_table() || !core::valid_name(key.str())) {
        return wrong(node, std::string(key.str()).c_str(), fmt::format("a table named by {}", named));
      }
      Table one(node.as_table(), name_ + "." + std::string(key.str()), fault_);
      read(std::string(key.str()), one);
    }
  }
  Table table(const char* key) {
    asked_.emplace_back(key);
    const toml::node* node = table_ == nullptr ? nullptr : table_->get(key);
    if (node != nullptr && !node->is_table()) wrong(*node, key, "a table");
    return {node == nullptr ? nullptr : node->as_table(), name_.empty() ? key : name_ + "." + key, fault_};
  }
  void tls(TlsFiles& out) {
    text("ca", out.ca, true);
    text("cert", out.cert, true);
    text("key", out.key, true);
  }
  void no_more() {
    if (table_ == nullptr) return;
    for (const auto& [key, node] : *table_) {
      if (std::ranges::find(asked_, key.str()) == asked_.end())
        wrong(node, std::string(key.str()).c_str(), "a known key");
    }
  }

 private:
  const toml::node* find(const char* key, bool needed) {
    asked_.emplace_back(key);
    const toml::node* node = table_ == nullptr ? nullptr : table_->get(key);
    if (node == nullptr && needed && fault_.empty()) fault_ = fmt::format("{}{} is missing", where(), key);
    return node;
  }
  std::string where() const { return name_.empty() ? "" : "[" + name_ + "] "; }
  void wrong(const toml::node& node, const char* key, const std::string& wanted) {
    if (!fault_.empty()) return;
    fault_ = fmt::format("line {}: {}{} is not {}", node.source().begin.line, where(), key, wanted);
  }

  const toml::table* table_;
  std::string name_;
  std::string& fault_;
  std::vector<std::string> asked_;
};

void check_address(const std::string& address, const char* key, std::string& fault) {
  boost::system::error_code ec;
  boost::asio::ip::make_address(address, ec);
  if (ec && fault.empty()) fault = fmt::format("{} '{}' is not an IP address", key, address);
}

/// address:port, the address in brackets when it is IPv6.
void check_listen(const std::string& text, std::string& fault) {
  if (!fault.empty()) return;
  const auto colon = text.rfind(':');
  std::string address = text.substr(0, colon == std::string::npos ? 0 : colon);
  const bool bracketed = address.size() > 2 && address.front() == '[' && address.back() == ']';
  if (bracketed) address = address.substr(1, address.size() - 2);
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const bool port_ok = colon != std::string::npos && colon + 1 < text.size() &&
                       std::from_chars(text.data() + colon + 1, end, port).ptr == end && port != 0;
  boost::system::error_code ec;
  const auto ip = boost::asio::ip::make_address(address, ec);
  if (!port_ok || ec || ip.is_v6() != bracketed) fault = "[api] listen '" + text + "' is not address:port";
}

/// A profile, then what differs from it. Whether the sums hold is core::check's to say.
void read_timing(Table&& table, core::Timing& timing, std::string& fault) {
  std::string profile = "standard";
  table.text("profile", profile);
  if (const auto known = core::timing_profile(profile))
    timing = *known;
  else if (fault.empty())
    fault = "[timing] profile is not standard or fast";
  for (const auto& [key, value] : {std::pair{"renew_ms", &timing.renew},
                                   {"renew_timeout_ms", &timing.renew_timeout},
                                   {"watchdog_ms", &timing.watchdog},
                                   {"reset_time_ms", &timing.reset_time},
                                   {"stop_time_ms", &timing.stop_time},
                                   {"takeover_ms", &timing.takeover},
                                   {"hold_ms", &timing.hold},
                                   {"etcd_election_ms", &timing.etcd_election},
                                   {"suspect_ms", &timing.suspect}}) {
    auto ms = static_cast<std::uint32_t>(value->count());
    table.number(key, ms, 0, 600'000);
    *value = core::Mono(ms);
  }
  table.number("verifications", timing.verifications, 0, 100);
  table.no_more();
}

void read_recipients(const std::string& name, Table& one, alert::Settings& alerts, std::string& fault) {
  alert::Target& t = alerts.to[name];
  core::AlertList list;
  list.name = name;
  std::string way, severity(core::to_string(list.least));
  std::uint32_t after_minutes = 0;
  one.text("way", way, true);
  one.text("severity", severity);
  one.number("after_minutes", after_minutes, 0, 1440);
  one.flag("heartbeat", list.heartbeat);
  one.text("url", t.url);
  one.text("from", t.from);
  one.list("to", t.to, alert::kRecipients, false);
  one.text("username", t.username);
  one.text("password_file", t.password_file);
  one.text("secret_file", t.secret_file);
  one.text("content_type", t.content_type);
  one.text("body", t.body);
  one.text("answer", t.answer);
  one.text("path", t.path);
  one.text("format", t.format);
  one.text("ca", t.ca);
  one.no_more();
  list.after_ms = core::WallMs{after_minutes} * 60'000;
  const auto known = alert::parse_way(way);
  const auto least = core::parse_severity(severity);
  if (known) t.way = *known;
  if (least) list.least = *least;
  if (!known && fault.empty()) fault = "[alerts.to." + name + "] way is not mail, sms, sms-spool or webhook";
  if (!least && fault.empty()) fault = "[alerts.to." + name + "] severity is not info, warning or critical";
  alerts.rules.lists.push_back(std::move(list));
}

void read_alerts(Table&& table, alert::Settings& alerts, std::string& fault) {
  auto& rules = alerts.rules;
  auto unprotected = static_cast<std::uint32_t>(rules.unprotected_ms / 60'000);
  auto down = static_cast<std::uint32_t>(rules.down_ms / 60'000);
  auto storm = static_cast<std::uint32_t>(rules.storm_ms / 60'000);
  table.text("ca", alerts.ca);
  table.text("heartbeat_at", alerts.heartbeat_at);
  table.number("unprotected_minutes", unprotected, 1, 10080);
  table.number("down_minutes", down, 1, 1440);
  table.number("storm_messages", rules.storm_messages, 1, 1000);
  table.number("storm_minutes", storm, 1, 1440);
  table.number("certificate_days", rules.certificate_days, 0, 365);
  table.table("to").each("a list",
                         [&](const std::string& name, Table& one) { read_recipients(name, one, alerts, fault); });
  table.no_more();
  rules.unprotected_ms = core::WallMs{unprotected} * 60'000;
  rules.down_ms = core::WallMs{down} * 60'000;
  rules.storm_ms = core::WallMs{storm} * 60'000;
  rules.heartbeat_minute = core::minute_of_day(alerts.heartbeat_at).value_or(-1);
}

void read(Table& top, Config& c, std::string& fault) {
  std::string site;
  top.text("cell", c.cell, true);
  top.text("host", c.host, true);
  top.text("site", site, true);
  auto api = top.table("api");
  api.text("listen", c.api.listen, true);
  api.tls(c.api.tls);
  api.list("crl", c.api.crl, 16, false);
  api.text("identities", c.api.identities);
  api.text("console", c.api.console);
  api.no_more();
  auto etcd = top.table("etcd");
  etcd.list("endpoints", c.etcd.endpoints, 7);
  etcd.tls(c.etcd.tls);
  etcd.no_more();
  auto replication = top.table("replication");
  replication.text("address", c.replication.address, true);
  replication.number("first_port", c.replication.first_port, 1024, 65535);
  replication.number("last_port", c.replication.last_port, 1024, 65535);
  replication.text("fence_peer", c.replication.fence_peer);
  replication.no_more();
  auto migration = top.table("migration");
  migration.text("address", c.migration_address, true);
  migration.no_more();
  auto libvirt = top.table("libvirt");
  libvirt.text("uri", c.libvirt_uri);
  libvirt.no_more();
  top.table("networks").words(c.networks);
  auto pool = top.table("pool");
  pool.text("kind", c.pool.kind, true);
  pool.text("path", c.pool.path);
  pool.text("group", c.pool.group);
  pool.text("thin_pool", c.pool.thin_pool);
  pool.no_more();
  auto images = top.table("images");
  images.text("path", c.images.path);
  images.number("limit_mib", c.images.limit_mib, 1, 16777216);
  images.no_more();
  read_timing(top.table("timing"), c.timing, fault);
  auto watchdog = top.table("watchdog");
  watchdog.text("device", c.watchdog.device);
  watchdog.flag("accept_softdog", c.watchdog.accept_softdog);
  watchdog.no_more();
  auto audit = top.table("audit");
  audit.number("countersign_minutes", c.countersign_minutes, 1, 1440);
  audit.no_more();
  auto four_eyes = top.table("four_eyes");
  four_eyes.list("verbs", c.four_eyes.verbs, std::size(core::kFourEyesVerbs), false);
  four_eyes.number("minutes", c.four_eyes.minutes, 1, 1440);
  four_eyes.no_more();
  auto verify = top.table("verify");
  verify.text("at", c.verify.at);
  verify.number("hours", c.verify.hours, 1, 24);
  verify.number("every_days", c.verify.every_days, 1, 365);
  verify.no_more();
  top.table("power").each("a host", [&](const std::string& host, Table& one) {
    auto& power = c.power[host];
    std::uint32_t timeout_s = 20;
    one.text("agent", power.agent, true);
    one.text("secret_file", power.secret_file);
    one.number("timeout_s", timeout_s, 1, 300);
    power.timeout = std::chrono::seconds(timeout_s);
    one.table("options").lines(power.options);
    one.no_more();
  });
  read_alerts(top.table("alerts"), c.alerts, fault);
  auto state = top.table("state");
  state.text("path", c.state_path);
  state.no_more();
  auto capacity = top.table("capacity");
  capacity.number("cpus", c.cpus, 0, 4096);
  capacity.number("memory_mib", c.memory_mib, 0, 16777216);
  capacity.no_more();
  top.no_more();
  if (!fault.empty()) return;
  if (const auto parsed = core::parse_site(site))
    c.site = *parsed;
  else
    fault = "site is not \"A\" or \"B\"";
}

void check(const Config& c, std::string& fault) {
  for (const auto* name : {&c.cell, &c.host}) {
    if (!core::valid_name(*name) && fault.empty())
      fault = "cell and host: lower-case letters, digits and inner hyphens";
  }
  check_listen(c.api.listen, fault);
  for (const auto& endpoint : c.etcd.endpoints) {
    if (!endpoint.starts_with("https://") && fault.empty()) {
      fault = "[etcd] endpoint '" + endpoint + "' does not begin with https://";
    }
  }
  for (const auto& [network, bridge] : c.networks) {
    if (!core::valid_bridge(bridge) && fault.empty()) fault = "[networks] " + network + " is not a bridge name";
  }
  check_address(c.replication.address, "[replication] address", fault);
  check_address(c.migration_address, "[migration] address", fault);
  if (c.replication.first_port > c.replication.last_port && fault.empty())
    fault = "[replication] first_port is above last_port";
  if (c.timing.watchdog.count() % 1000 != 0 && fault.empty()) fault = "[timing] watchdog_ms is not whole seconds";
  if (auto sums = core::check(c.timing); !sums && fault.empty()) fault = "[timing] " + sums.error().what;
  if (!c.verify.at.empty() && !core::minute_of_day(c.verify.at) && fault.empty())
    fault = "[verify] at is not a time of the day in UTC such as 01:30";
  for (const auto& verb : c.four_eyes.verbs) {
    if (!core::four_eyes_verb(verb) && fault.empty()) {
      fault = fmt::format("[four_eyes] verbs: '{}' is none of {}", verb, fmt::join(core::kFourEyesVerbs, ", "));
    }
  }
  for (const auto& [host, power] : c.power) {
    if (auto ok = runtime::check(power); !ok && fault.empty()) fault = "[power." + host + "] " + ok.error().what;
    if (host == c.host && fault.empty()) fault = "[power." + host + "]: a host does not switch itself off";
  }
  if (auto ok = alert::check(c.alerts); !ok && fault.empty()) fault = ok.error().what;
  const bool lvm = c.pool.kind == "lvm" || c.pool.kind == "lvm-thin";
  if (c.pool.kind != "loop" && !lvm && fault.empty()) fault = "[pool] kind is not loop, lvm or lvm-thin";
  if (lvm && c.pool.group.empty() && fault.empty()) fault = "[pool] group is missing";
  if (c.pool.kind == "lvm-thin" && c.pool.thin_pool.empty() && fault.empty()) fault = "[pool] thin_pool is missing";
  for (const auto* path :
       {&c.watchdog.device, &c.pool.path, &c.images.path, &c.state_path, &c.replication.fence_peer}) {
    if (!path->starts_with('/') && fault.empty()) fault = "path '" + *path + "' is not absolute";
  }
  if (!c.api.console.empty() && !c.api.console.starts_with('/') && fault.empty()) {
    fault = "[api] console '" + c.api.console + "' is not absolute";
  }
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& name) {
  if (text.size() > kMaxConfigBytes) return fail(Errc::invalid, name + ": larger than 64 KiB");
  toml::table parsed;
  try {
    parsed = toml::parse(text, name);
  } catch (const toml::parse_error& e) {
    return fail(Errc::invalid, fmt::format("{}: line {}: {}", name, e.source().begin.line, e.description()));
  }
  Config config;
  std::string fault;
  Table top(&parsed, "", fault);
  read(top, config, fault);
  if (fault.empty()) check(config, fault);
  if (!fault.empty()) return fail(Errc::invalid, name + ": " + fault + ". hostd does not start with it");
  return config;
}

Result<Config> load_config(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::io, "cannot read the configuration " + path);
  std::ostringstream text;
  text << in.rdbuf();
  return parse_config(text.str(), path);
}

}  // namespace bascule
