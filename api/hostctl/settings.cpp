#include "api/hostctl/settings.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::fail;

bool host_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}
bool address_character(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' || c == '.';
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> out;
  std::size_t from = 0;
  while (from <= text.size()) {
    const std::size_t to = std::min(text.find(separator, from), text.size());
    std::string part = text.substr(from, to - from);
    part.erase(0, part.find_first_not_of(' '));
    part.erase(part.find_last_not_of(' ') + 1);
    if (!part.empty()) out.push_back(part);
    from = to + 1;
  }
  return out;
}

core::Result<> check_timeout(std::int64_t seconds, const std::string& where) {
  if (seconds >= 1 && seconds <= kMaxTimeoutS) return {};
  return fail(Errc::invalid, fmt::format("{}: timeout must be 1 to {} seconds", where, kMaxTimeoutS));
}

Given from_environment(const Environment& environment) {
  Given out;
  if (const auto v = environment("BASCULE_ENDPOINTS")) out.endpoints = split(*v, ',');
  out.ca = environment("BASCULE_CA").value_or("");
  out.cert = environment("BASCULE_CERT").value_or("");
  out.key = environment("BASCULE_KEY").value_or("");
  out.pkcs11_module = environment("BASCULE_PKCS11_MODULE").value_or("");
  out.pin_file = environment("BASCULE_PIN_FILE").value_or("");
  out.askpass = environment("BASCULE_ASKPASS").value_or("");
  return out;
}

/// nullptr: no setting that is a text is called that.
std::string* text_setting(Given& given, std::string_view key) {
  if (key == "ca") return &given.ca;
  if (key == "cert") return &given.cert;
  if (key == "key") return &given.key;
  if (key == "pkcs11_module") return &given.pkcs11_module;
  if (key == "pin_file") return &given.pin_file;
  return key == "askpass" ? &given.askpass : nullptr;
}

}  // namespace

core::Result<Endpoint> parse_endpoint(std::string_view text) {
  const std::string whole(text);
  const auto bad = [&](std::string_view why) {
    return fail(Errc::invalid, fmt::format("endpoint '{}': {}; write https://HOST[:PORT]", safe(whole), why));
  };
  if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    if (text.substr(0, scheme) != "https") return bad("only https is spoken");
    text.remove_prefix(scheme + 3);
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  Endpoint out;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return bad("the bracket is not closed");
    out.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    for (const char c : out.host)
      if (!address_character(c)) return bad("this is no IPv6 address");
  } else {
    const std::size_t end = std::min(text.find(':'), text.size());
    out.host = text.substr(0, end);
    port = text.substr(end);
    for (const char c : out.host)
      if (!host_character(c)) return bad("a host name has letters, digits, dots and hyphens");
  }
  if (out.host.empty() || out.host.size() > 253) return bad("the host is missing or too long");
  if (port.empty()) return out;
  unsigned number = 0;
  const char* end = port.data() + port.size();
  const auto r = port.front() == ':' ? std::from_chars(port.data() + 1, end, number) : std::from_chars_result{};
  if (r.ptr != end || r.ec != std::errc() || number == 0 || number > 65535) return bad("the port must be 1 to 65535");
  out.port = static_cast<std::uint16_t>(number);
  return out;
}

std::string to_string(const Endpoint& e) {
  const bool v6 = e.host.find(':') != std::string::npos;
  return v6 ? fmt::format("https://[{}]:{}", e.host, e.port) : fmt::format("https://{}:{}", e.host, e.port);
}

core::Result<std::string> read_file(const std::string& path, std::size_t limit) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::io, fmt::format("{}: {}", path, std::strerror(errno)));
  std::string text;
  std::array<char, 16384> piece{};
  while (in.read(piece.data(), piece.size()) || in.gcount() > 0) {
    text.append(piece.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > limit) return fail(Errc::invalid, fmt::format("{}: larger than {} bytes", path, limit));
  }
  if (in.bad()) return fail(Errc::io, fmt::format("{}: cannot be read", path));
  return text;
}

core::Result<Given> read_config(const std::string& text, const std::string& name) {
  toml::table table;
  try {
    table = toml::parse(text, name);
  } catch (const toml::parse_error& e) {
    return fail(Errc::invalid, fmt::format("{}:{}: {}", name, e.source().begin.line, safe(e.description())));
  }
  Given out;
  for (const auto& [key, value] : table) {
    const std::string where = fmt::format("{}:{}", name, value.source().begin.line);
    if (key == "endpoints" && value.is_array()) {
      for (const auto& item : *value.as_array()) {
        if (!item.is_string()) return fail(Errc::invalid, where + ": endpoints must be a list of texts");
        out.endpoints.push_back(item.as_string()->get());
      }
    } else if (key == "timeout" && value.is_integer()) {
      if (auto r = check_timeout(value.as_integer()->get(), where); !r) return r.error();
      out.timeout_s = static_cast<int>(value.as_integer()->get());
    } else if (auto* slot = text_setting(out, key.str()); slot != nullptr && value.is_string()) {
      *slot = value.as_string()->get();
    } else {
      return fail(Errc::invalid, fmt::format("{}: '{}' is not known or of the wrong type; there are endpoints = [..], "
                                             "ca, cert, key, pkcs11_module, pin_file, askpass = \"FILE\", "
                                             "timeout = SECONDS",
                                             where, safe(std::string(key.str()))));
    }
  }
  return out;
}

core::Result<Given> find_config(const Environment& environment) {
  std::vector<std::string> places;
  if (const auto xdg = environment("XDG_CONFIG_HOME"); xdg && !xdg->empty()) {
    places.push_back(*xdg + "/bascule/hostctl.toml");
  } else if (const auto home = environment("HOME"); home && !home->empty()) {
    places.push_back(*home + "/.config/bascule/hostctl.toml");
  }
  places.emplace_back("/etc/bascule/hostctl.toml");
  for (const auto& path : places) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0) continue;
    auto text = read_file(path, kMaxConfigBytes);
    if (!text) return text.error();
    return read_config(*text, path);
  }
  return Given{};
}

core::Result<std::string> settle_ca(const Given& flags, const Environment& environment, const Given& file) {
  const Given env = from_environment(environment);
  for (const auto* value : {&flags.ca, &env.ca, &file.ca}) {
    if (!value->empty()) return *value;
  }
  return fail(Errc::invalid,
              "the CA's certificate is not given: --ca FILE, BASCULE_CA or ca = \"FILE\" in hostctl.toml; "
              "the hosts' signatures are checked against it");
}

core::Result<Settings> settle(const Given& flags, const Environment& environment, const Given& file) {
  const Given env = from_environment(environment);
  Settings out;
  const auto& endpoints = !flags.endpoints.empty() ? flags.endpoints
                          : !env.endpoints.empty() ? env.endpoints
                                                   : file.endpoints;
  if (endpoints.empty()) {
    return fail(Errc::invalid, "no endpoint is known: give --endpoint https://HOST:8443, set BASCULE_ENDPOINTS, or "
                               "write endpoints = [...] into ~/.config/bascule/hostctl.toml");
  }
  if (endpoints.size() > kMaxEndpoints) {
    return fail(Errc::invalid, fmt::format("at most {} endpoints", kMaxEndpoints));
  }
  for (const auto& text : endpoints) {
    auto endpoint = parse_endpoint(text);
    if (!endpoint) return endpoint.error();
    out.endpoints.push_back(std::move(*endpoint));
  }
  const auto pick = [&](const std::string Given::* field) {
    return !(flags.*field).empty() ? flags.*field : !(env.*field).empty() ? env.*field : file.*field;
  };
  out.ca = pick(&Given::ca);
  out.cert = pick(&Given::cert);
  out.key = pick(&Given::key);
  out.pkcs11_module = pick(&Given::pkcs11_module);
  out.pin_file = pick(&Given::pin_file);
  out.askpass = pick(&Given::askpass);
  for (const auto& [value, name, what] :
       {std::tuple{&out.ca, "ca", "the CA's certificate"}, std::tuple{&out.cert, "cert", "your certificate"},
        std::tuple{&out.key, "key", "your private key"}}) {
    if (!value->empty()) continue;
    std::string upper(name);
    for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
    return fail(Errc::invalid, fmt::format("{} is not given: --{} FILE, BASCULE_{} or {} = \"FILE\" in hostctl.toml",
                                           what, name, upper, name));
  }
  out.timeout_s = flags.timeout_s.value_or(file.timeout_s.value_or(kDefaultTimeoutS));
  if (auto r = check_timeout(out.timeout_s, "--timeout"); !r) return r.error();
  return out;
}

}  // namespace bascule::hostctl
