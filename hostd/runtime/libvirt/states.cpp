#include "hostd/runtime/libvirt/states.hpp"

#include <string_view>

namespace bascule::runtime::libvirt {
namespace {
using core::DomainReason;
using core::DomainState;
using Job = core::MigrationStats::Job;

DomainReason running_reason(int reason) {
  switch (reason) {
    case VIR_DOMAIN_RUNNING_BOOTED: return DomainReason::started;
    case VIR_DOMAIN_RUNNING_MIGRATED: return DomainReason::migrated;
    case VIR_DOMAIN_RUNNING_UNPAUSED: return DomainReason::user;
    case VIR_DOMAIN_RUNNING_MIGRATION_CANCELED: return DomainReason::migration_cancelled;
    default: return DomainReason::other;
  }
}

DomainReason paused_reason(int reason) {
  switch (reason) {
    case VIR_DOMAIN_PAUSED_USER: return DomainReason::user;
    case VIR_DOMAIN_PAUSED_MIGRATION: return DomainReason::migrating;
    case VIR_DOMAIN_PAUSED_IOERROR: return DomainReason::io_error;
    case VIR_DOMAIN_PAUSED_STARTING_UP: return DomainReason::starting;
    case VIR_DOMAIN_PAUSED_POSTCOPY:
    case VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: return DomainReason::unresumable;
    default: return DomainReason::other;
  }
}

DomainReason absent_reason(int reason) {
  switch (reason) {
    case VIR_DOMAIN_SHUTOFF_SHUTDOWN: return DomainReason::guest_shutdown;
    case VIR_DOMAIN_SHUTOFF_DESTROYED: return DomainReason::destroyed;
    case VIR_DOMAIN_SHUTOFF_MIGRATED: return DomainReason::migrated;
    case VIR_DOMAIN_SHUTOFF_CRASHED:
    case VIR_DOMAIN_SHUTOFF_FAILED: return DomainReason::failed;
    default: return DomainReason::other;
  }
}

DomainReason event_suspended(int detail) {
  switch (detail) {
    case VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: return DomainReason::user;
    case VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED: return DomainReason::migrating;
    case VIR_DOMAIN_EVENT_SUSPENDED_IOERROR: return DomainReason::io_error;
    case VIR_DOMAIN_EVENT_SUSPENDED_API_ERROR:
    case VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY:
    case VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED: return DomainReason::unresumable;
    default: return DomainReason::other;
  }
}

DomainReason event_stopped(int detail) {
  switch (detail) {
    case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: return DomainReason::guest_shutdown;
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED: return DomainReason::destroyed;
    case VIR_DOMAIN_EVENT_STOPPED_MIGRATED: return DomainReason::migrated;
    case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
    case VIR_DOMAIN_EVENT_STOPPED_FAILED: return DomainReason::failed;
    default: return DomainReason::other;
  }
}

std::uint64_t as_number(const virTypedParameter& param) {
  switch (param.type) {
    case VIR_TYPED_PARAM_INT: return param.value.i < 0 ? 0 : static_cast<std::uint64_t>(param.value.i);
    case VIR_TYPED_PARAM_UINT: return param.value.ui;
    case VIR_TYPED_PARAM_LLONG: return param.value.l < 0 ? 0 : static_cast<std::uint64_t>(param.value.l);
    case VIR_TYPED_PARAM_ULLONG: return param.value.ul;
    case VIR_TYPED_PARAM_BOOLEAN: return param.value.b != 0 ? 1 : 0;
    default: return 0;
  }
}

Job job_of(int type) {
  switch (type) {
    case VIR_DOMAIN_JOB_BOUNDED:
    case VIR_DOMAIN_JOB_UNBOUNDED: return Job::running;
    case VIR_DOMAIN_JOB_COMPLETED: return Job::completed;
    case VIR_DOMAIN_JOB_FAILED: return Job::failed;
    case VIR_DOMAIN_JOB_CANCELLED: return Job::cancelled;
    default: return Job::none;
  }
}

}  // namespace

Seen state_of(int state, int reason) {
  switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED: return {DomainState::running, running_reason(reason)};
    case VIR_DOMAIN_PAUSED: return {DomainState::paused, paused_reason(reason)};
    case VIR_DOMAIN_SHUTDOWN: return {DomainState::shutting_down, DomainReason::other};
    case VIR_DOMAIN_SHUTOFF: return {DomainState::absent, absent_reason(reason)};
    case VIR_DOMAIN_CRASHED: return {DomainState::crashed, DomainReason::other};
    default: return {};
  }
}

std::optional<Seen> state_of_event(int event, int detail) {
  switch (event) {
    case VIR_DOMAIN_EVENT_DEFINED:
    case VIR_DOMAIN_EVENT_UNDEFINED: return std::nullopt;
    case VIR_DOMAIN_EVENT_STARTED:
      // "started, migrated" comes when an incoming domain is made ready to receive: it does not run yet.
      if (detail == VIR_DOMAIN_EVENT_STARTED_MIGRATED) return Seen{DomainState::paused, DomainReason::migrating};
      return Seen{DomainState::running, DomainReason::started};
    case VIR_DOMAIN_EVENT_SUSPENDED: return Seen{DomainState::paused, event_suspended(detail)};
    case VIR_DOMAIN_EVENT_RESUMED:
      // "migrated" is also what a source says whose migration was given up: the event alone cannot tell.
      return Seen{DomainState::running,
                  detail == VIR_DOMAIN_EVENT_RESUMED_UNPAUSED ? DomainReason::user : DomainReason::other};
    case VIR_DOMAIN_EVENT_STOPPED: return Seen{DomainState::absent, event_stopped(detail)};
    case VIR_DOMAIN_EVENT_SHUTDOWN: return Seen{DomainState::shutting_down, DomainReason::other};
    case VIR_DOMAIN_EVENT_CRASHED: return Seen{DomainState::crashed, DomainReason::other};
    default: return Seen{};
  }
}

Stats stats_of(const virTypedParameter* params, int count, int type) {
  Stats out;
  auto& v = out.values;
  v.job = job_of(type);
  bool success = true;
  const struct {
    std::string_view field;
    std::uint64_t* into;
  } numbers[] = {
      {VIR_DOMAIN_JOB_TIME_ELAPSED, &v.elapsed_ms},
      {VIR_DOMAIN_JOB_TIME_REMAINING, &v.remaining_ms},
      {VIR_DOMAIN_JOB_DOWNTIME, &v.downtime_ms},
      {VIR_DOMAIN_JOB_DOWNTIME_NET, &v.downtime_net_ms},
      {VIR_DOMAIN_JOB_SETUP_TIME, &v.setup_ms},
      {VIR_DOMAIN_JOB_MEMORY_TOTAL, &v.memory_total},
      {VIR_DOMAIN_JOB_MEMORY_PROCESSED, &v.memory_processed},
      {VIR_DOMAIN_JOB_MEMORY_REMAINING, &v.memory_remaining},
      {VIR_DOMAIN_JOB_MEMORY_BPS, &v.memory_bps},
      {VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE, &v.dirty_pages_per_s},
      {VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE, &v.page_bytes},
      {VIR_DOMAIN_JOB_MEMORY_ITERATION, &v.iteration},
      {VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, &v.throttle_percent},
  };
  for (int i = 0; i < count; ++i) {
    const auto& param = params[i];
    const std::string_view field = param.field;
    if (field == VIR_DOMAIN_JOB_OPERATION) {
      const auto operation = static_cast<int>(as_number(param));
      out.migration =
          operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT || operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN;
    } else if (field == VIR_DOMAIN_JOB_SUCCESS) {
      success = as_number(param) != 0;
    } else if (field == VIR_DOMAIN_JOB_ERRMSG) {
      if (param.type == VIR_TYPED_PARAM_STRING && param.value.s != nullptr) v.error = param.value.s;
    } else {
      for (const auto& number : numbers) {
        if (field == number.field) *number.into = as_number(param);
      }
    }
  }
  if (v.job == Job::completed && !success) {
    // libvirt has no word of its own for a given-up job here; QEMU leaves no error for one.
    v.job = v.error.empty() || v.error.find("cancel") != std::string::npos ? Job::cancelled : Job::failed;
  }
  return out;
}

}  // namespace bascule::runtime::libvirt
