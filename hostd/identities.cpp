#include "hostd/identities.hpp"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <fstream>

#include "hostd/core/names.hpp"

namespace bascule {
namespace {

using api::IdentityMap;
using api::IdentityRule;
using core::Errc;
using core::fail;
using core::Result;
using Kind = IdentityRule::Kind;

constexpr std::size_t kMaxBytes = 1024 * 1024;
constexpr std::size_t kMaxRules = 5000;
constexpr std::size_t kMaxProjects = 64;
constexpr std::size_t kMaxText = 1024;
constexpr std::array<std::pair<const char*, Kind>, 3> kKinds{
    {{"uri", Kind::uri}, {"email", Kind::email}, {"dns", Kind::dns}}};
constexpr std::array<const char*, 7> kKeys{"issuer", "uri", "email", "dns", "role", "name", "project"};

class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  Result<IdentityMap> read(const toml::table& top) {
    IdentityMap out;
    out.any_issuer = false;
    for (const auto& [key, node] : top) {
      if (key == "urn_issuers")
        out.urn_issuers = texts(node, "urn_issuers");
      else if (key == "identity" && node.is_array_of_tables())
        for (const auto& item : *node.as_array()) rule(*item.as_table(), out);
      else
        wrong(node, fmt::format("'{}' is not known; there are urn_issuers and [[identity]]", std::string(key.str())));
    }
    if (!top.contains("urn_issuers")) {
      fault("urn_issuers is missing: the CAs whose urn:bascule: URIs count, the one of the hosts among them");
    }
    if (!fault_.empty()) return fail(Errc::invalid, file_ + ": " + fault_);
    return out;
  }

 private:
  void fault(std::string what) {
    if (fault_.empty()) fault_ = std::move(what);
  }
  void wrong(const toml::node& node, const std::string& what) {
    fault(fmt::format("line {}: {}", node.source().begin.line, what));
  }
  std::string text(const toml::table& table, const char* key) {
    const auto* node = table.get(key);
    if (node == nullptr) return {};
    const auto* value = node->as_string();
    if (value == nullptr || value->get().empty() || value->get().size() > kMaxText ||
        std::ranges::any_of(value->get(), [](char c) { return static_cast<unsigned char>(c) < 0x20; })) {
      wrong(*node, fmt::format("{} is not a text", key));
      return {};
    }
    return value->get();
  }
  std::vector<std::string> texts(const toml::node& node, const char* key) {
    std::vector<std::string> out;
    const auto* array = node.as_array();
    if (array == nullptr || array->size() > kMaxProjects)
      wrong(node, fmt::format("{} is not a list of at most {} texts", key, kMaxProjects));
    for (std::size_t i = 0; array != nullptr && i < array->size(); ++i) {
      if (const auto* value = array->get(i)->as_string())
        out.push_back(value->get());
      else
        wrong(*array->get(i), fmt::format("{} is not a list of texts", key));
    }
    return out;
  }

  void rule(const toml::table& table, IdentityMap& to) {
    IdentityRule out;
    out.line = table.source().begin.line;
    for (const auto& [key, node] : table) {
      if (std::ranges::find(kKeys, key.str()) == kKeys.end() && key != "projects") {
        wrong(node, fmt::format("'{}' is not known in [[identity]]", std::string(key.str())));
      }
    }
    out.issuer = text(table, "issuer");
    if (out.issuer.empty()) {
      wrong(table, "issuer is missing: the CA that gives this name, as `openssl x509 -noout -issuer -nameopt RFC2253` "
                   "writes it");
    }
    which(table, out);
    who(table, out);
    if (to.rules.size() >= kMaxRules) return wrong(table, fmt::format("there are more than {} identities", kMaxRules));
    for (const auto& other : to.rules) {
      if (other.kind == out.kind && other.issuer == out.issuer && api::same_name(out.kind, other.value, out.value)) {
        wrong(table, fmt::format("the name '{}' of this CA is mapped in line {} already", out.value, other.line));
      }
    }
    to.rules.push_back(std::move(out));
  }

  /// Which name in the certificate.
  void which(const toml::table& table, IdentityRule& out) {
    for (const auto& [key, kind] : kKinds) {
      if (!table.contains(key)) continue;
      if (!out.value.empty()) return wrong(table, "exactly one of uri, email and dns is needed");
      out.kind = kind;
      out.value = text(table, key);
    }
    if (out.value.empty()) return wrong(table, "exactly one of uri, email and dns is needed");
    const auto at = out.value.find('@');
    if (out.kind == Kind::email && (at == std::string::npos || at == 0 || at + 1 == out.value.size())) {
      wrong(table, "email is not an address");
    }
    if (out.kind == Kind::dns && out.value.find('*') != std::string::npos) {
      wrong(table, "dns: a name with * would fit many; write each");
    }
    if (out.kind == Kind::uri && out.value.starts_with("urn:bascule:")) {
      wrong(table, "uri: a urn:bascule: URI says by itself who it is; urn_issuers says whose count");
    }
  }

  /// Who that is here.
  void who(const toml::table& table, IdentityRule& out) {
    out.caller.name = text(table, "name");
    if (!core::valid_name(out.caller.name))
      wrong(table, "name is missing, or not lower-case letters, digits and inner hyphens");
    const std::string role = text(table, "role");
    if (role == "operator")
      out.caller.role = core::Role::operator_;
    else if (role == "auditor")
      out.caller.role = core::Role::auditor;
    else if (role == "client")
      out.caller.role = core::Role::client;
    else
      wrong(table, "role is not operator, auditor or client; a host is known by its own urn:bascule:host: URI");
    std::vector<std::string> projects;
    if (const auto* node = table.get("projects")) projects = texts(*node, "projects");
    if (const std::string one = text(table, "project"); !one.empty()) {
      if (!projects.empty()) wrong(table, "project or projects, not both");
      projects = {one};
    }
    for (const auto& p : projects) {
      if (!core::valid_name(p)) wrong(table, fmt::format("project '{}' is not a valid name", p));
    }
    const bool client = out.caller.role == core::Role::client;
    if (client == projects.empty()) {
      return wrong(table, client ? "a client needs project or projects" : "only a client has projects");
    }
    if (!client) return;
    out.caller.project = projects.front();
    if (projects.size() > 1) out.caller.projects = std::move(projects);
  }

  std::string file_;
  std::string fault_;
};

}  // namespace

Result<IdentityMap> parse_identities(std::string_view text, const std::string& name) {
  if (text.size() > kMaxBytes) return fail(Errc::invalid, name + ": larger than 1 MiB");
  try {
    const toml::table table = toml::parse(text, name);
    return Reader(name).read(table);
  } catch (const toml::parse_error& e) {
    return fail(Errc::invalid, fmt::format("{}: line {}: {}", name, e.source().begin.line, e.description()));
  }
}

Result<IdentityMap> load_identities(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(Errc::io, "cannot read the identities " + path);
  std::string text(kMaxBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return parse_identities(text, path);
}

}  // namespace bascule
