// The body of each port method: blocking, on a worker thread, on one connection. No Asio, no shared state.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hostd/core/domain.hpp"
#include "hostd/runtime/libvirt/connection.hpp"

namespace bascule::runtime::libvirt {

/// A VM as this folder addresses it: the name is for sentences, the uuid finds it.
struct Target {
  std::string name;
  std::string uuid;
};

core::Result<> call_start(const Connection& c, const core::DomainSpec& spec, const std::string& xml);
core::Result<std::vector<core::DomainInfo>> call_list(const Connection& c);
core::Result<core::DomainInfo> call_observe(const Connection& c, const Target& vm);
core::Result<> call_shutdown(const Connection& c, const Target& vm);
core::Result<> call_force_off(const Connection& c, const Target& vm);
core::Result<> call_reset(const Connection& c, const Target& vm);
core::Result<> call_resume(const Connection& c, const Target& vm);
core::Result<> call_block_resize(const Connection& c, const Target& vm, std::uint32_t index, std::uint64_t bytes);
core::Result<core::HostCapacity> call_capacity(const Connection& c);

/// `to` is the URI by which this host's daemon reaches the target's; `host` is the name its certificates carry.
core::Result<> call_migrate(const Connection& c, const Target& vm, const std::string& to, const std::string& host,
                            const core::MigrationParams& params);
core::Result<> call_abort_migration(const Connection& c, const Target& vm);
core::Result<core::MigrationStats> call_stats(const Connection& c, const Target& vm, bool completed);
core::Result<> call_max_downtime(const Connection& c, const Target& vm, std::uint64_t ms);
core::Result<> call_bandwidth(const Connection& c, const Target& vm, std::uint64_t mib);

}  // namespace bascule::runtime::libvirt
