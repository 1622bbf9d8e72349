#include "hostd/runtime/libvirt/calls.hpp"

#include <algorithm>

#include "hostd/runtime/libvirt/domain_xml.hpp"
#include "hostd/runtime/libvirt/states.hpp"

namespace bascule::runtime::libvirt {
namespace {
using core::DomainInfo;
using core::DomainState;
using core::Errc;
using core::fail;
using core::Result;

constexpr unsigned max_domains_listed = 16384;  // four times Limits::vms: strangers may run here too

std::string quoted(const Target& vm) { return "'" + vm.name + "'"; }

/// Runs `act` on the domain; not_found when there is none.
template <class Act>
Result<> on_domain(const Connection& c, const Target& vm, const std::string& what, Act act) {
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  if (act(domain.get()) < 0) return last_error(c.get(), Call::change, what);
  return {};
}

std::string version_text(unsigned long version) {  // NOLINT(google-runtime-int): libvirt's type
  return std::to_string(version / 1000000) + "." + std::to_string(version / 1000 % 1000) + "." +
         std::to_string(version % 1000);
}

}  // namespace

Result<> call_start(const Connection& c, const core::DomainSpec& spec, const std::string& xml) {
  const Target vm{spec.name, spec.uuid};
  // safety: this line starts a VM. LibvirtHost::start, the only caller, has checked that the caller's StartProof names
  // this VM, this host and a committed run-right (R2: only a holder that is in sync commits one). libvirt refuses a
  // second domain of the same name or uuid, so on this host there is one copy at most. Not autodestroy: the guest
  // outlives hostd. The domain is transient, so no reboot of the host starts it again without a record.
  // [model: R2_start]
  const Domain started(virDomainCreateXML(c.get(), xml.c_str(), VIR_DOMAIN_NONE));
  if (started) return {};
  auto error = last_error(c.get(), Call::change, quoted(vm) + " could not be started");
  if (error.code == Errc::outcome_unknown) return error;
  const Domain other_name(virDomainLookupByName(c.get(), spec.name.c_str()));
  if (other_name || c.lookup(spec.uuid)) {
    return fail(Errc::conflict,
                error.what + "; a domain of this name or uuid exists on this host and was left as it is");
  }
  error.what += "; nothing of it is left on this host";
  return error;
}

Result<std::vector<DomainInfo>> call_list(const Connection& c) {
  virDomainStatsRecordPtr* records = nullptr;
  const int count =
      virConnectGetAllDomainStats(c.get(), VIR_DOMAIN_STATS_STATE, &records, VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE);
  if (count < 0) return last_error(c.get(), Call::read, "the domains of this host could not be listed");
  const std::unique_ptr<virDomainStatsRecordPtr, void (*)(virDomainStatsRecordPtr*)> owner(
      records, [](virDomainStatsRecordPtr* r) { virDomainStatsRecordListFree(r); });
  if (static_cast<unsigned>(count) > max_domains_listed) {
    return fail(Errc::exhausted, "more than " + std::to_string(max_domains_listed) + " domains on this host");
  }
  std::vector<DomainInfo> out;
  out.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const auto* record = records[i];
    DomainInfo info;
    if (const char* name = virDomainGetName(record->dom)) info.name = name;
    char uuid[VIR_UUID_STRING_BUFLEN] = "";
    if (virDomainGetUUIDString(record->dom, uuid) == 0) info.uuid = uuid;
    int state = VIR_DOMAIN_NOSTATE;
    int reason = 0;
    for (int p = 0; p < record->nparams; ++p) {
      const auto& param = record->params[p];
      if (param.type != VIR_TYPED_PARAM_INT) continue;
      if (std::string_view(param.field) == "state.state") state = param.value.i;
      if (std::string_view(param.field) == "state.reason") reason = param.value.i;
    }
    const auto seen = state_of(state, reason);
    info.state = seen.state;
    info.reason = seen.reason;
    out.push_back(std::move(info));
  }
  std::ranges::sort(out, {}, &DomainInfo::name);
  return out;
}

Result<DomainInfo> call_observe(const Connection& c, const Target& vm) {
  DomainInfo info{vm.name, vm.uuid, DomainState::absent, core::DomainReason::other};
  const std::string what = quoted(vm) + " could not be observed";
  const auto domain = c.lookup(vm.uuid);
  int state = 0;
  int reason = 0;
  if (!domain || virDomainGetState(domain.get(), &state, &reason, 0) < 0) {
    if (last_code() == VIR_ERR_NO_DOMAIN) return info;
    return last_error(c.get(), Call::read, what);
  }
  const auto seen = state_of(state, reason);
  info.state = seen.state;
  info.reason = seen.reason;
  return info;
}

Result<> call_shutdown(const Connection& c, const Target& vm) {
  return on_domain(c, vm, quoted(vm) + " was not asked to shut down",
                   [](virDomainPtr d) { return virDomainShutdownFlags(d, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN); });
}

Result<> call_force_off(const Connection& c, const Target& vm) {
  const std::string what = quoted(vm) + " could not be forced off";
  const auto domain = c.lookup(vm.uuid);
  if (!domain) {
    if (last_code() == VIR_ERR_NO_DOMAIN) return {};
    return last_error(c.get(), Call::read, what);
  }
  if (virDomainDestroy(domain.get()) == 0) return {};
  if (last_code() == VIR_ERR_NO_DOMAIN) return {};
  auto error = last_error(c.get(), Call::change, what);
  if (error.code == Errc::outcome_unknown) return error;
  // It may have ended by itself between the two calls.
  const auto now = call_observe(c, vm);
  if (now && now->state == DomainState::absent) return {};
  if (now) {
    return fail(Errc::refused, error.what + "; it is still " + std::string(to_string(now->state)) +
                                   " here: its process may wait for disk I/O, which ends when the I/O does");
  }
  return now.error();
}

Result<> call_reset(const Connection& c, const Target& vm) {
  return on_domain(c, vm, quoted(vm) + " was not reset", [](virDomainPtr d) { return virDomainReset(d, 0); });
}

Result<> call_resume(const Connection& c, const Target& vm) {
  const std::string what = quoted(vm) + " was not resumed";
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  int state = 0;
  if (virDomainGetState(domain.get(), &state, nullptr, 0) < 0) return last_error(c.get(), Call::read, what);
  if (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED) return {};
  // safety: this line lets a VM run. LibvirtHost::resume, the only caller, has checked that the caller's ResumeProof
  // names this VM, this host and a committed run-right; by H the source's copy was seen gone before that record was
  // written. While a migration of the domain is still under way libvirt refuses. [model: H_resume]
  if (virDomainResume(domain.get()) < 0) return last_error(c.get(), Call::change, what);
  return {};
}

Result<> call_block_resize(const Connection& c, const Target& vm, std::uint32_t index, std::uint64_t bytes) {
  const std::string disk = disk_target(index);
  const std::string what = quoted(vm) + ": the guest was not told of the new size of disk " + disk;
  const auto domain = c.lookup(vm.uuid);
  if (!domain) return last_error(c.get(), Call::read, what);
  virDomainBlockInfo info{};
  if (virDomainGetBlockInfo(domain.get(), disk.c_str(), &info, 0) < 0) {
    return last_error(c.get(), Call::read, what);
  }
  if (bytes < info.capacity) {
    return fail(Errc::invalid, what + ": it has " + std::to_string(info.capacity) + " bytes, and never shrinks to " +
                                   std::to_string(bytes));
  }
  if (virDomainBlockResize(domain.get(), disk.c_str(), bytes, VIR_DOMAIN_BLOCK_RESIZE_BYTES) < 0) {
    return last_error(c.get(), Call::change, what);
  }
  return {};
}

Result<core::HostCapacity> call_capacity(const Connection& c) {
  const std::string what = "this host's capacity could not be read";
  virNodeInfo node{};
  unsigned long library = 0;     // NOLINT(google-runtime-int): libvirt's type
  unsigned long hypervisor = 0;  // NOLINT(google-runtime-int): libvirt's type
  if (virNodeGetInfo(c.get(), &node) < 0 || virConnectGetLibVersion(c.get(), &library) < 0 ||
      virConnectGetVersion(c.get(), &hypervisor) < 0) {
    return last_error(c.get(), Call::read, what);
  }
  const auto free_bytes = virNodeGetFreeMemory(c.get());
  if (free_bytes == 0) return last_error(c.get(), Call::read, what);
  core::HostCapacity out;
  out.memory_mib = node.memory / 1024;
  out.free_memory_mib = free_bytes / (1024 * 1024);
  out.cpus = node.cpus;
  out.libvirt_version = version_text(library);
  out.qemu_version = version_text(hypervisor);
  return out;
}

}  // namespace bascule::runtime::libvirt
