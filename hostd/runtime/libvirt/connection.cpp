#include "hostd/runtime/libvirt/connection.hpp"

#include "hostd/runtime/libvirt/states.hpp"

namespace bascule::runtime::libvirt {
namespace {

// A dead daemon or a stopped one is noticed after interval * (count + 1) = 20 s.
constexpr int keepalive_seconds = 5;
constexpr unsigned keepalive_count = 3;

using Shared = std::shared_ptr<const Connection::Listener>;
const Connection::Listener& listener_of(void* opaque) { return **static_cast<Shared*>(opaque); }
void free_listener(void* opaque) { delete static_cast<Shared*>(opaque); }

core::DomainInfo identity(virDomainPtr domain) {
  core::DomainInfo info;
  if (const char* name = virDomainGetName(domain)) info.name = name;
  char uuid[VIR_UUID_STRING_BUFLEN] = "";
  if (virDomainGetUUIDString(domain, uuid) == 0) info.uuid = uuid;
  return info;
}

int on_lifecycle(virConnectPtr /*connection*/, virDomainPtr domain, int event, int detail, void* opaque) {
  const auto seen = state_of_event(event, detail);
  if (!seen) return 0;
  core::DomainEvent out;
  out.kind = core::DomainEvent::Kind::changed;
  out.info = identity(domain);
  out.info.state = seen->state;
  out.info.reason = seen->reason;
  listener_of(opaque).event(std::move(out));
  return 0;
}

void on_job_completed(virConnectPtr /*connection*/, virDomainPtr domain, virTypedParameterPtr params, int count,
                      void* opaque) {
  core::DomainEvent out;
  out.kind = core::DomainEvent::Kind::job_completed;
  out.info = identity(domain);
  const auto stats = stats_of(params, count, VIR_DOMAIN_JOB_COMPLETED);
  if (!stats.migration) return;
  out.stats = stats.values;
  listener_of(opaque).event(std::move(out));
}

void on_iteration(virConnectPtr /*connection*/, virDomainPtr domain, int iteration, void* opaque) {
  core::DomainEvent out;
  out.kind = core::DomainEvent::Kind::iteration;
  out.info = identity(domain);
  out.stats.job = core::MigrationStats::Job::running;
  out.stats.iteration = iteration < 0 ? 0 : static_cast<std::uint64_t>(iteration);
  listener_of(opaque).event(std::move(out));
}

/// What VIR_DOMAIN_EVENT_CALLBACK does: libvirt casts it back to the type that belongs to the event's id.
template <class Callback>
virConnectDomainEventGenericCallback generic(Callback callback) {
  return reinterpret_cast<virConnectDomainEventGenericCallback>(reinterpret_cast<void*>(callback));
}

void on_close(virConnectPtr /*connection*/, int /*reason*/, void* opaque) { listener_of(opaque).closed(); }

}  // namespace

core::Result<std::shared_ptr<Connection>> Connection::open(const std::string& uri,
                                                           std::shared_ptr<const Listener> listener) {
  virConnectPtr raw = virConnectOpen(uri.c_str());
  if (raw == nullptr) {
    const auto* error = virGetLastError();
    return core::fail(core::Errc::unavailable,
                      "libvirt is not reached at " + uri + ": " +
                          (error != nullptr && error->message != nullptr ? error->message : "no reason given"));
  }
  std::shared_ptr<Connection> connection(new Connection(raw));
  if (virConnectSetKeepAlive(raw, keepalive_seconds, keepalive_count) < 0 ||
      (listener && !connection->listen(listener))) {
    const std::string words = last_error(raw, Call::read, "libvirt was reached but cannot be followed").what;
    return core::fail(core::Errc::unavailable, words);
  }
  return connection;
}

bool Connection::listen(const std::shared_ptr<const Listener>& listener) {
  if (virConnectRegisterCloseCallback(connection_, on_close, new Shared(listener), free_listener) != 0) return false;
  close_callback_ = true;
  if (!listener->event) return true;
  const struct {
    int id;
    virConnectDomainEventGenericCallback callback;
  } events[] = {
      {VIR_DOMAIN_EVENT_ID_LIFECYCLE, generic(on_lifecycle)},
      {VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, generic(on_job_completed)},
      {VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, generic(on_iteration)},
  };
  int i = 0;
  for (const auto& event : events) {
    const int id = virConnectDomainEventRegisterAny(connection_, nullptr, event.id, event.callback,
                                                    new Shared(listener), free_listener);
    if (id < 0) return false;
    event_ids_[i++] = id;
  }
  return true;
}

Connection::~Connection() {
  for (const int id : event_ids_) {
    if (id >= 0) virConnectDomainEventDeregisterAny(connection_, id);
  }
  if (close_callback_) virConnectUnregisterCloseCallback(connection_, on_close);
  virConnectClose(connection_);
}

Domain Connection::lookup(const std::string& uuid) const {
  return Domain(virDomainLookupByUUIDString(connection_, uuid.c_str()));
}

}  // namespace bascule::runtime::libvirt
