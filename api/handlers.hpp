// What each route does once its call is known to be well-formed and allowed for the role.
#pragma once

#include "api/cell_port.hpp"
#include "api/metrics.hpp"
#include "api/routes.hpp"
#include "api/trust_status.hpp"
#include "api/vm_pages.hpp"

namespace bascule::api {

inline constexpr std::size_t kPageDefault = 100;
inline constexpr std::size_t kPageMost = 1000;

/// What handlers work on; lives as long as the server.
struct Parts {
  CellPort& cell;
  VmPages& pages;
  Metrics& metrics;
  const TrustStatus& trust;
};

/// One call. It lives until its reply is sent.
struct Call {
  const Parts& parts;
  const Route& route;
  Target target;
  HttpRequest request;
  core::Caller caller;

  const core::CellView& view() const { return parts.cell.view(); }
  /// A segment of the path, counted from 0.
  const std::string& part(std::size_t i) const { return target.segments[i]; }
  /// Empty when absent.
  const std::string& query(const std::string& name) const;
  /// A client sees its own project only; what has no project is not a client's.
  bool sees(const std::string& project) const;
};

/// Everything of a change but its verb: reason, keys, preconditions. Checks the reason.
core::Result<core::Request> change_of(const Call& call, std::string reason_in_body);
/// The answer to an accepted change: 202 with Location, or 200.
HttpReply accepted(const Submitted& done, bool dry_run);

namespace handlers {
using Task = boost::asio::awaitable<core::Result<HttpReply>>;

Task hosts(const Call& call);
Task host(const Call& call);
Task host_if_lost(const Call& call);
Task images(const Call& call);
Task image(const Call& call);
Task delete_image(const Call& call);
Task vms(const Call& call);
Task vm(const Call& call);
Task put_vm(const Call& call);
Task delete_vm(const Call& call);
Task why(const Call& call);
Task history(const Call& call);
Task drills(const Call& call);
Task start(const Call& call);
Task shutdown(const Call& call);
Task power_off(const Call& call);
Task reset(const Call& call);
Task migrate(const Call& call);
Task failover(const Call& call);
Task failback(const Call& call);
Task maintenance(const Call& call);
Task arm(const Call& call);
Task disarm(const Call& call);
Task ha(const Call& call);
Task lease_promise(const Call& call);
Task resize(const Call& call);
Task volumes(const Call& call);
Task volume(const Call& call);
Task grow(const Call& call);
Task verify(const Call& call);
Task operations(const Call& call);
Task operation(const Call& call);
Task cancel(const Call& call);
Task approve(const Call& call);
Task copy(const Call& call);
Task repair(const Call& call);
Task adopt(const Call& call);
Task prove_watchdog(const Call& call);
Task alerts(const Call& call);
Task alert(const Call& call);
Task test_alert(const Call& call);
Task acknowledge(const Call& call);
Task cell_restore(const Call& call);
Task audit(const Call& call);
Task audit_heads(const Call& call);
Task health(const Call& call);
Task version(const Call& call);
Task whoami(const Call& call);
Task openapi(const Call& call);
Task metrics(const Call& call);
}  // namespace handlers

}  // namespace bascule::api
