#include "api/routes.hpp"

#include <array>

#include "api/handlers.hpp"

namespace bascule::api {
namespace {

using enum Access;
using enum Kind;

constexpr std::array kRoutes{
    Route{"GET", "/v1/hosts", staff, read, "limit after", handlers::hosts},
    Route{"GET", "/v1/hosts/{host}", staff, read, "", handlers::host},
    Route{"GET", "/v1/hosts/{host}/if-lost", staff, read, "", handlers::host_if_lost},
    Route{"POST", "/v1/hosts/{host}/actions/maintenance", operators, change, "dry_run", handlers::maintenance},
    Route{"POST", "/v1/hosts/{host}/actions/prove-watchdog", operators, change, "dry_run", handlers::prove_watchdog},
    Route{"POST", "/v1/lease-promise", hosts_only, change, "", handlers::lease_promise},
    Route{"GET", "/v1/ha", everyone, read, "", handlers::ha},
    Route{"POST", "/v1/ha/actions/arm", operators, change, "dry_run", handlers::arm},
    Route{"POST", "/v1/ha/actions/disarm", operators, change, "dry_run", handlers::disarm},
    Route{"GET", "/v1/images", staff, read, "limit after", handlers::images},
    Route{"GET", "/v1/images/{image}", staff, read, "", handlers::image},
    Route{"PUT", "/v1/images/{image}", operators, upload, "", nullptr},
    Route{"DELETE", "/v1/images/{image}", operators, change, "dry_run", handlers::delete_image},
    Route{"GET", "/v1/vms", everyone, read, "limit after project host fields", handlers::vms},
    Route{"GET", "/v1/vms/{vm}", everyone, read, "", handlers::vm},
    Route{"PUT", "/v1/vms/{vm}", operators, change, "dry_run", handlers::put_vm},
    Route{"DELETE", "/v1/vms/{vm}", operators, change, "dry_run", handlers::delete_vm},
    Route{"GET", "/v1/vms/{vm}/why", everyone, read, "", handlers::why},
    Route{"GET", "/v1/vms/{vm}/history", everyone, read, "days", handlers::history},
    Route{"POST", "/v1/vms/{vm}/actions/start", owners, change, "dry_run", handlers::start},
    Route{"POST", "/v1/vms/{vm}/actions/shutdown", owners, change, "dry_run", handlers::shutdown},
    Route{"POST", "/v1/vms/{vm}/actions/power-off", owners, change, "dry_run", handlers::power_off},
    Route{"POST", "/v1/vms/{vm}/actions/reset", owners, change, "dry_run", handlers::reset},
    Route{"POST", "/v1/vms/{vm}/actions/migrate", operators, change, "dry_run", handlers::migrate},
    Route{"POST", "/v1/vms/{vm}/actions/failover", operators, change, "dry_run", handlers::failover},
    Route{"POST", "/v1/vms/{vm}/actions/failback", operators, change, "dry_run", handlers::failback},
    Route{"POST", "/v1/vms/{vm}/actions/copy", operators, change, "dry_run", handlers::copy},
    Route{"POST", "/v1/vms/{vm}/actions/repair", operators, change, "dry_run", handlers::repair},
    Route{"POST", "/v1/vms/{vm}/actions/adopt", operators, change, "dry_run", handlers::adopt},
    Route{"POST", "/v1/vms/{vm}/actions/resize", operators, change, "dry_run", handlers::resize},
    Route{"GET", "/v1/drills", everyone, read, "limit after vm project", handlers::drills},
    Route{"GET", "/v1/volumes", everyone, read, "limit after vm project", handlers::volumes},
    Route{"GET", "/v1/volumes/{vm}/{volume}", everyone, read, "", handlers::volume},
    Route{"POST", "/v1/volumes/{vm}/{volume}/actions/grow", operators, change, "dry_run", handlers::grow},
    Route{"POST", "/v1/volumes/{vm}/{volume}/actions/verify", operators, change, "dry_run", handlers::verify},
    Route{"GET", "/v1/operations", everyone, read, "limit after state kind vm project", handlers::operations},
    Route{"GET", "/v1/operations/{operation}", everyone, read, "", handlers::operation},
    Route{"POST", "/v1/operations/{operation}/actions/cancel", owners, change, "", handlers::cancel},
    Route{"POST", "/v1/operations/{operation}/actions/approve", operators, change, "", handlers::approve},
    Route{"GET", "/v1/alerts", staff, read, "limit after", handlers::alerts},
    Route{"GET", "/v1/alerts/{alert}", staff, read, "", handlers::alert},
    Route{"POST", "/v1/alerts/actions/test", operators, change, "", handlers::test_alert},
    Route{"POST", "/v1/alerts/{alert}/actions/ack", operators, change, "", handlers::acknowledge},
    Route{"POST", "/v1/cell/restore", operators, change, "dry_run", handlers::cell_restore},
    Route{"GET", "/v1/events", everyone, events, "after type object", nullptr},
    Route{"GET", "/v1/audit", everyone, read, "limit after from object", handlers::audit},
    Route{"GET", "/v1/audit/heads", staff, read, "limit after host", handlers::audit_heads},
    Route{"GET", "/v1/health", everyone, read, "", handlers::health},
    Route{"GET", "/v1/whoami", everyone, read, "", handlers::whoami},
    Route{"GET", "/v1/version", everyone, read, "", handlers::version},
    Route{"GET", "/v1/openapi.yaml", everyone, read, "", handlers::openapi},
    Route{"GET", "/metrics", staff, read, "", handlers::metrics},
};

bool matches(std::string_view pattern, const std::vector<std::string>& segments) {
  std::size_t i = 0;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);
    const auto slash = pattern.find('/');
    const auto part = pattern.substr(0, slash);
    if (i == segments.size() || (part.front() != '{' && part != segments[i])) return false;
    ++i;
    if (slash == std::string_view::npos) break;
    pattern.remove_prefix(slash);
  }
  return i == segments.size();
}

}  // namespace

bool allowed(Access access, core::Role role) {
  switch (access) {
    case everyone: return true;
    case staff: return role != core::Role::client;
    case owners: return role == core::Role::operator_ || role == core::Role::client;
    case operators: return role == core::Role::operator_;
    case hosts_only: return role == core::Role::host;
  }
  return false;
}

std::span<const Route> routes() { return kRoutes; }

Found find_route(std::string_view method, const std::vector<std::string>& segments) {
  Found found;
  for (const auto& route : kRoutes) {
    if (!matches(route.path, segments)) continue;
    if (route.method == method) return {&route, {}};
    if (!found.allow.empty()) found.allow += ", ";
    found.allow += route.method;
  }
  return found;
}

}  // namespace bascule::api
