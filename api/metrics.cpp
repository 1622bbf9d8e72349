#include "api/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <map>
#include <vector>

#include "hostd/core/drills.hpp"
#include "hostd/core/explain.hpp"

namespace bascule::api {
namespace {

/// Seconds; the promise for lists is 10 ms.
const prometheus::Histogram::BucketBoundaries kBuckets{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1, 10};
constexpr std::size_t kClasses = 4;  // 2xx .. 5xx

std::string_view role_word(core::Role role) {
  switch (role) {
    case core::Role::operator_: return "operator";
    case core::Role::client: return "client";
    case core::Role::auditor: return "auditor";
    case core::Role::host: break;
  }
  return "host";
}

}  // namespace

/// Counters are looked up once, here: a request only adds.
struct Metrics::Impl {
  prometheus::Registry registry;
  struct PerRoute {
    std::array<prometheus::Counter*, kClasses> answers{};
    prometheus::Histogram* seconds{};
  };
  std::vector<PerRoute> per_route;  ///< in the order of the table, then "none"
  prometheus::Counter* handshakes_failed;
  prometheus::Family<prometheus::Counter>* refused;
  prometheus::Family<prometheus::Gauge>* connections;
  prometheus::Gauge* streams;
  prometheus::Counter* streams_dropped;

  Impl() {
    auto& requests =
        prometheus::BuildCounter().Name("bascule_api_requests_total").Help("Requests answered").Register(registry);
    auto& seconds = prometheus::BuildHistogram()
                        .Name("bascule_api_request_seconds")
                        .Help("From the end of the request's head to the start of the answer")
                        .Register(registry);
    const auto add = [&](const std::string& name) {
      PerRoute r;
      for (std::size_t i = 0; i < kClasses; ++i) {
        r.answers[i] = &requests.Add({{"route", name}, {"status", std::to_string(i + 2) + "xx"}});
      }
      r.seconds = &seconds.Add({{"route", name}}, kBuckets);
      per_route.push_back(r);
    };
    for (const auto& route : routes()) add(std::string(route.method) + ' ' + std::string(route.path));
    add("none");
    handshakes_failed = &prometheus::BuildCounter()
                             .Name("bascule_api_handshakes_failed_total")
                             .Help("TLS handshakes that failed: no or a foreign certificate, too slow")
                             .Register(registry)
                             .Add({});
    refused = &prometheus::BuildCounter()
                   .Name("bascule_api_refused_total")
                   .Help("Connections, streams and uploads beyond a limit")
                   .Register(registry);
    connections = &prometheus::BuildGauge().Name("bascule_api_connections").Help("Open connections").Register(registry);
    streams =
        &prometheus::BuildGauge().Name("bascule_api_streams").Help("Open event streams").Register(registry).Add({});
    streams_dropped = &prometheus::BuildCounter()
                           .Name("bascule_api_streams_dropped_total")
                           .Help("Event streams ended because they were read too slowly")
                           .Register(registry)
                           .Add({});
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::answered(const Route* route, int status, std::chrono::nanoseconds took) {
  const auto all = routes();
  const std::size_t index = route == nullptr ? all.size() : static_cast<std::size_t>(route - all.data());
  auto& r = impl_->per_route[index];
  const auto group = static_cast<std::size_t>(status / 100);
  if (group >= 2 && group < 2 + kClasses) r.answers[group - 2]->Increment();
  r.seconds->Observe(std::chrono::duration<double>(took).count());
}
void Metrics::handshake_failed() { impl_->handshakes_failed->Increment(); }
void Metrics::refused(const char* why) { impl_->refused->Add({{"what", why}}).Increment(); }
void Metrics::connections(core::Role role, std::int64_t change) {
  impl_->connections->Add({{"role", std::string(role_word(role))}}).Increment(static_cast<double>(change));
}
void Metrics::streams(std::int64_t change) { impl_->streams->Increment(static_cast<double>(change)); }
void Metrics::stream_dropped() { impl_->streams_dropped->Increment(); }

std::string Metrics::text(const CellPort& cell, const TrustStatus& trust) const {
  const auto& view = cell.view();
  prometheus::Registry now;
  auto& vms = prometheus::BuildGauge().Name("bascule_vms").Help("VMs of the cell").Register(now);
  std::map<std::string, double> states;
  double unprotected = 0;
  double undrilled = 0;
  const core::WallMs now_ms = std::time(nullptr) * core::WallMs{1000};
  for (const auto& [name, vm] : view.vms) {
    if (vm.spec.revision == 0) continue;
    states[std::string(core::to_string(core::vm_state(view, vm)))] += 1;
    if (core::replicates(vm.spec.value.protection) && !core::vm_protected(vm)) unprotected += 1;
    if (core::drill(vm, now_ms).overdue) undrilled += 1;
  }
  for (const auto& [state, count] : states) vms.Add({{"state", state}}).Set(count);
  const auto gauge = [&](const char* name, const char* help, double value) {
    prometheus::BuildGauge().Name(name).Help(help).Register(now).Add({}).Set(value);
  };
  gauge("bascule_vms_unprotected", "VMs that are to have two legs in sync and have not", unprotected);
  gauge("bascule_vms_drill_overdue",
        "VMs that were not carried to the other site for as long as their definition allows", undrilled);
  double silent = 0;
  for (const auto& [id, host] : view.hosts) silent += host.silent ? 1 : 0;
  gauge("bascule_hosts", "Hosts of the cell", static_cast<double>(view.hosts.size()));
  gauge("bascule_hosts_silent", "Hosts that do not renew their lease", silent);
  double active = 0;
  double stuck = 0;
  for (const auto& [id, op] : view.operations) {
    active += core::finished(op.value.state) ? 0 : 1;
    stuck += op.value.state == core::OpState::needs_operator ? 1 : 0;
  }
  gauge("bascule_operations_active", "Operations at work", active);
  gauge("bascule_operations_need_operator", "Operations that ended half-way", stuck);
  const auto undelivered = std::ranges::count_if(cell.alerts(), [](const auto& a) {
    return std::ranges::any_of(a.second.value.deliveries,
                               [](const auto& d) { return d.second.state == core::DeliveryState::failed; });
  });
  gauge("bascule_alerts_undelivered", "Alerts with a message that failed and is tried again",
        static_cast<double>(undelivered));
  gauge("bascule_view_synced", "1 when this host hears from etcd", view.synced ? 1 : 0);
  gauge("bascule_view_revision", "etcd revision this host has seen", static_cast<double>(view.revision));
  gauge("bascule_audit_sequence", "Newest audit record", static_cast<double>(view.audit.value.sequence));
  const auto pace = cell.pace();
  gauge("bascule_io_late_seconds", "How late the io thread came to a timer at worst in the last minute or two",
        pace.io_late_s);
  gauge("bascule_lease_gap_seconds", "Longest time between two renewals of the host lease in the last minute or two",
        pace.lease_gap_s);
  prometheus::BuildCounter()
      .Name("bascule_lease_renewals_late_total")
      .Help("Renewals of the host lease more than two periods after the one before")
      .Register(now)
      .Add({})
      .Increment(static_cast<double>(pace.late_renewals));
  const auto days = [now_s = static_cast<std::int64_t>(std::time(nullptr))](std::int64_t ends) {
    return static_cast<double>(ends - now_s) / 86'400;
  };
  if (trust.certificate_ends_s != 0) {
    gauge("bascule_certificate_expiry_days", "Until this host's API certificate ends", days(trust.certificate_ends_s));
  }
  if (trust.crl_ends_s) {
    gauge("bascule_crl_expiry_days", "Until the revocation list that ends first does; below 0 it is old, but in use",
          days(*trust.crl_ends_s));
  }
  gauge("bascule_trust_reload_failed", "1 when newer certificates, lists or identities were not good and not taken",
        trust.problem.empty() ? 0 : 1);
  const auto watch = cell.audit_watch();
  gauge("bascule_audit_signed_sequence", "Audit record up to which this host has countersigned the chain",
        static_cast<double>(watch.signed_up_to));
  gauge("bascule_audit_broken", "1 when the audit chain is not the one this host knows, or cannot be signed",
        watch.problem.empty() ? 0 : 1);
  const auto health = cell.health();
  auto& parts = prometheus::BuildGauge().Name("bascule_part_up").Help("1 when this part is reached").Register(now);
  parts.Add({{"part", "etcd"}}).Set(health.etcd ? 1 : 0);
  parts.Add({{"part", "libvirt"}}).Set(health.libvirt ? 1 : 0);
  parts.Add({{"part", "drbd"}}).Set(health.drbd ? 1 : 0);
  auto families = impl_->registry.Collect();
  for (auto& family : now.Collect()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace bascule::api
