#include <memory>

#include "hostd/runtime/libvirt/calls.hpp"
#include "hostd/runtime/libvirt/states.hpp"

namespace bascule::runtime::libvirt {
namespace {
using core::DomainReason;
using core::DomainState;
using core::Errc;
using core::fail;
using core::MigrationParams;
using core::MigrationStats;
using core::Result;

struct Params {
  virTypedParameterPtr list{nullptr};
  int count{0};
  int room{0};
  bool ok{true};
  Params() = default;
  Params(const Params&) = delete;
  Params& operator=(const Params&) = delete;
  ~Params() { virTypedParamsFree(list, count); }
  void add(const char* name, const std::string& value) {
    ok = ok && virTypedParamsAddString(&list, &count, &room, name, value.c_str()) == 0;
  }
  void add(const char* name, unsigned long long value) {  // NOLINT(google-runtime-int): libvirt's type
    ok = ok && virTypedParamsAddULLong(&list, &count, &room, name, value) == 0;
  }
  void add(const char* name, int value) { ok = ok && virTypedParamsAddInt(&list, &count, &room, name, value) == 0; }
};

// PAUSED: the guest does not run on the target before the source's hostd has written the hand-over (design, step 6).
// ABORT_ON_ERROR: a disk error in the middle ends the migration, not the guest. Never UNSAFE, POSTCOPY or TUNNELLED.
unsigned flags_of(const MigrationParams& params) {
  unsigned flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_PAUSED | VIR_MIGRATE_ABORT_ON_ERROR;
  if (params.tls) flags |= VIR_MIGRATE_TLS;
  if (params.auto_converge) flags |= VIR_MIGRATE_AUTO_CONVERGE;
  if (params.parallel > 1) flags |= VIR_MIGRATE_PARALLEL;
  return flags;
}

bool fill(Params& out, const MigrationParams& params, const std::string& host) {
  const bool v6 = params.target_address.find(':') != std::string::npos;
  const std::string address = v6 ? "[" + params.target_address + "]" : params.target_address;
  out.add(VIR_MIGRATE_PARAM_URI, "tcp://" + address);
  out.add(VIR_MIGRATE_PARAM_LISTEN_ADDRESS, params.target_address);
  // The stream goes to an address; the certificate is checked for the host's name.
  if (params.tls) out.add(VIR_MIGRATE_PARAM_TLS_DESTINATION, host);
  if (params.bandwidth_mib > 0) {
    out.add(VIR_MIGRATE_PARAM_BANDWIDTH, static_cast<unsigned long long>(params.bandwidth_mib));  // NOLINT
  }
  if (params.parallel > 1) {
    out.add(VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, static_cast<int>(params.parallel));
  }
  return out.ok;
}

/// A migration that failed, told by what is on this host now.
core::Error settle(const Connection& c, const Target& vm, core::Error error, bool aborted) {
  if (error.code == Errc::outcome_unknown) return error;
  const auto now = call_observe(c, vm);
  const std::string doubt = "; whether it arrived is not known: both hosts must be looked at before it may run";
  if (!now) return fail(Errc::outcome_unknown, error.what + doubt);
  if (now->state == DomainState::running) {
    error.code = aborted ? Errc::cancelled : Errc::refused;
    error.what += "; it still runs on this host";
    return error;
  }
  // A guest that a person or a disk error had paused before is still whole here.
  const bool paused_before = now->reason == DomainReason::user || now->reason == DomainReason::io_error;
  if (now->state == DomainState::paused && paused_before) {
    error.code = aborted ? Errc::cancelled : Errc::refused;
    error.what += "; it is still on this host, paused: " + std::string(to_string(now->reason));
    return error;
  }
  // safety: gone from here, or stopped for the hand-over: a paused copy may stand on the target. Only the record and a
  // look at both hosts may say which one runs.
  return fail(Errc::outcome_unknown,
              error.what + "; here it is " + std::string(to_string(now->state)) + " now" + doubt);
}

bool migrating_out(const Connection& c, const Target& vm) {
  const auto stats = call_stats(c, vm, false);
  return stats && stats->job == MigrationStats::Job::running;
}

}  // namespace

Result<> call_migrate(const Connection& c, const Target& vm, const std::string& to, const std::string& host,
                      const MigrationParams& params) {
  const std::string what = "'" + vm.name + "' could not be migrated to " + host;
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  if (migrating_out(c, vm)) return fail(Errc::conflict, what + ": a migration of it is under way");
  Params list;
  if (!fill(list, params, host)) return fail(Errc::internal, what + ": bad parameters");
  if (virDomainMigrateSetMaxDowntime(domain.get(), params.downtime_ms, 0) < 0) {
    auto error = last_error(c.get(), Call::read, what + ": the downtime limit was not taken");
    return error;
  }
  // safety: this line makes a copy on another host. PAUSED is always among the flags, so it does not run there before
  // the record names that host (H); libvirt refuses a second copy of the same uuid on the target. [model: H_resume]
  if (virDomainMigrateToURI3(domain.get(), to.c_str(), list.list, static_cast<unsigned>(list.count),
                             flags_of(params)) == 0) {
    // safety: S1. Only a host that was asked and has no such domain may give the right away (H). [model: H_migrated]
    const auto here = call_observe(c, vm);
    if (here && here->state == DomainState::absent) return {};
    return fail(Errc::outcome_unknown, what + ": libvirt says it was, but its domain is not gone from here");
  }
  const bool aborted = last_code() == VIR_ERR_OPERATION_ABORTED;
  return settle(c, vm, last_error(c.get(), Call::change, what), aborted);
}

Result<> call_abort_migration(const Connection& c, const Target& vm) {
  const std::string what = "the migration of '" + vm.name + "' was not given up";
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  if (!migrating_out(c, vm)) return fail(Errc::conflict, what + ": none is under way");
  if (virDomainAbortJob(domain.get()) == 0) return {};
  if (last_code() == VIR_ERR_OPERATION_INVALID) {
    return fail(Errc::conflict, last_error(c.get(), Call::change, what).what);
  }
  return last_error(c.get(), Call::change, what);
}

Result<MigrationStats> call_stats(const Connection& c, const Target& vm, bool completed) {
  const std::string what = "the migration statistics of '" + vm.name + "' could not be read";
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  int type = VIR_DOMAIN_JOB_NONE;
  virTypedParameterPtr params = nullptr;
  int count = 0;
  const unsigned flags = completed ? VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED : 0U;
  if (virDomainGetJobStats(domain.get(), &type, &params, &count, flags) < 0) {
    return last_error(c.get(), Call::read, what);
  }
  const auto stats = stats_of(params, count, type);
  virTypedParamsFree(params, count);
  return stats.migration ? stats.values : MigrationStats{};
}

Result<> call_max_downtime(const Connection& c, const Target& vm, std::uint64_t ms) {
  const std::string what = "the downtime limit of '" + vm.name + "' was not changed";
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  if (virDomainMigrateSetMaxDowntime(domain.get(), ms, 0) < 0) return last_error(c.get(), Call::change, what);
  return {};
}

Result<> call_bandwidth(const Connection& c, const Target& vm, std::uint64_t mib) {
  const std::string what = "the migration bandwidth of '" + vm.name + "' was not changed";
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  const auto speed = mib == 0 ? MigrationParams::max_bandwidth_mib : mib;
  if (virDomainMigrateSetMaxSpeed(domain.get(), speed, 0) < 0) return last_error(c.get(), Call::change, what);
  return {};
}

}  // namespace bascule::runtime::libvirt
