// The API's paths, in one place; api/openapi.yaml is the contract.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "api/hostctl/client.hpp"

namespace bascule::hostctl::paths {

inline const std::string kHosts = "/v1/hosts";
inline const std::string kVms = "/v1/vms";
inline const std::string kDrills = "/v1/drills";
inline const std::string kImages = "/v1/images";
inline const std::string kVolumes = "/v1/volumes";
inline const std::string kOperations = "/v1/operations";
inline const std::string kEvents = "/v1/events";
inline const std::string kAudit = "/v1/audit";
inline const std::string kAlerts = "/v1/alerts";
inline const std::string kAuditHeads = "/v1/audit/heads";
inline const std::string kWhoAmI = "/v1/whoami";
inline const std::string kHa = "/v1/ha";
inline const std::string kRestore = "/v1/cell/restore";
inline const std::string kHealth = "/v1/health";
inline const std::string kVersion = "/v1/version";

inline std::string one(const std::string& collection, const std::string& name) {
  return collection + "/" + encode_part(name);
}

inline std::string action(const std::string& object, const std::string& verb) { return object + "/actions/" + verb; }

/// Filters that are empty are left out.
inline std::string query(const std::string& path, const std::vector<std::pair<std::string, std::string>>& filters) {
  std::string out = path;
  char separator = '?';
  for (const auto& [name, value] : filters) {
    if (value.empty()) continue;
    out += separator + name + "=" + encode_part(value);
    separator = '&';
  }
  return out;
}

}  // namespace bascule::hostctl::paths
