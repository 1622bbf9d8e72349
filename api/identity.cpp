#include "api/identity.hpp"

#include <algorithm>
#include <string_view>

#include "hostd/core/names.hpp"

namespace bascule::api {
namespace {
constexpr std::string_view kPrefix = "urn:bascule:";

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const auto colon = text.find(':');
    parts.emplace_back(text.substr(0, colon));
    if (colon == std::string_view::npos) return parts;
    text.remove_prefix(colon + 1);
  }
}

core::Error no(const std::string& why) {
  return core::fail(core::Errc::forbidden, "your certificate " + why + "; ask the operator for one issued for Bascule");
}
}  // namespace

core::Result<core::Caller> caller_from(const std::vector<std::string>& san_uris) {
  const std::string* own = nullptr;
  for (const auto& uri : san_uris) {
    if (!uri.starts_with(kPrefix)) continue;
    if (own != nullptr) return no("names more than one Bascule identity");
    own = &uri;
  }
  if (own == nullptr) return no("names no Bascule identity");
  const auto parts = split(std::string_view(*own).substr(kPrefix.size()));
  for (const auto& part : parts) {
    if (!core::valid_name(part)) return no("holds a name that is not valid");
  }
  core::Caller caller;
  caller.name = parts.back();
  if (parts.size() == 2 && parts[0] == "operator")
    caller.role = core::Role::operator_;
  else if (parts.size() == 2 && parts[0] == "auditor")
    caller.role = core::Role::auditor;
  else if (parts.size() == 2 && parts[0] == "host")
    caller.role = core::Role::host;
  else if (parts.size() == 3 && parts[0] == "client") {
    caller.role = core::Role::client;
    caller.project = parts[1];
  } else {
    return no("names an unknown role");
  }
  return caller;
}

bool same_name(IdentityRule::Kind kind, const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  std::size_t exact = 0;  // so many bytes must be the same, the others without their case
  if (kind == IdentityRule::Kind::uri) exact = a.size();
  if (kind == IdentityRule::Kind::email) exact = std::min(a.find('@'), a.size());
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (i < exact ? a[i] != b[i] : lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

core::Result<core::Caller> caller_from(const CertificateNames& names, const IdentityMap& map) {
  const IdentityRule* found = nullptr;
  for (const auto& rule : map.rules) {
    if (rule.issuer != names.issuer) continue;
    const auto& all = rule.kind == IdentityRule::Kind::uri     ? names.uris
                      : rule.kind == IdentityRule::Kind::email ? names.emails
                                                               : names.dns;
    if (std::ranges::none_of(all, [&](const auto& name) { return same_name(rule.kind, name, rule.value); })) continue;
    if (found != nullptr) return no("fits more than one line of this cell's mapping");
    found = &rule;
  }
  const bool urn = std::ranges::any_of(names.uris, [](const auto& uri) { return uri.starts_with(kPrefix); });
  if (found != nullptr) {
    if (urn) return no("names a Bascule identity and fits a line of this cell's mapping, too");
    return found->caller;
  }
  if (urn && !map.any_issuer && std::ranges::find(map.urn_issuers, names.issuer) == map.urn_issuers.end()) {
    return no("names a Bascule identity, but its CA may not give one");
  }
  return caller_from(names.uris);
}

}  // namespace bascule::api
