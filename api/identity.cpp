#include "api/identity.hpp"

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

}  // namespace bascule::api
