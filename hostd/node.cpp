#include "hostd/node.hpp"

#include <algorithm>

#include "hostd/core/right.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr std::chrono::seconds kStartTold{2};  // 12 ms were seen on a busy machine
}

core::LocalVm& Node::local_vm(const std::string& vm) {
  const auto [it, fresh] = local.try_emplace(vm);
  if (fresh) {
    const auto found = domains.find(vm);
    it->second.domain = !domains_known           ? core::DomainState::unknown
                        : found == domains.end() ? core::DomainState::absent
                                                 : found->second;
    // Nothing is known of when these legs were attached: R5's write is made before they connect.
    it->second.rejoin_pending = true;
  }
  return it->second;
}

bool Node::start_untold(const std::string& vm) const {
  const auto seen = local.find(vm);
  const auto at = started_at.find(vm);
  return seen != local.end() && seen->second.domain == core::DomainState::absent && at != started_at.end() &&
         runtime::Clock::now() - at->second < kStartTold;
}

Result<> trusted(const Node& node, const std::string& vm) {
  const auto* view = node.cell.view().vm(vm);
  const core::Versioned<core::Right> none;
  const auto& right = view == nullptr ? none : view->right;
  if (auto why = core::distrust(node.notes.notes(), vm, right.value, right.revision)) return fail(Errc::refused, *why);
  return {};
}

Result<> may_promote(const Node& node, const std::string& vm) {
  if (auto ok = trusted(node, vm); !ok) return ok;
  const auto* view = node.cell.view().vm(vm);
  if (view == nullptr) return fail(Errc::not_found, "VM " + vm + " is gone");
  if (auto why = core::failed_legs(node.notes.notes(), vm, view->layout.value, node.self())) {
    return fail(Errc::refused, *why);
  }
  return {};
}

Result<> note_adding(Node& node, const std::string& vm, const core::Versioned<core::Right>& right) {
  const auto* view = node.cell.view().vm(vm);
  if (view == nullptr) return fail(Errc::not_found, "VM " + vm + " is gone");
  const std::string other = core::other_host(view->layout.value, node.self());
  return node.notes.keep(core::noted_adding(node.notes.notes(), vm, node.self(), right.value, right.revision, other));
}

Result<storage::Resource> resource_of(const Node& node, const std::string& vm) {
  const auto* view = node.cell.view().vm(vm);
  if (view == nullptr || view->layout.revision == 0 || view->layout.value.volumes.empty()) {
    return fail(Errc::not_found, "VM " + vm + " has no layout");
  }
  const auto& layout = view->layout.value;
  storage::Resource resource;
  resource.vm = vm;
  for (std::size_t i = 0; i < 2; ++i) {
    // In the order of the record, so that both hosts write the same configuration and node ids.
    const std::string& host = layout.volumes.front().legs.at(i).host;
    const auto* info = node.cell.view().host(host);
    if (info == nullptr) return fail(Errc::unavailable, "host " + host + " has not announced itself yet");
    resource.hosts[i] = {host, info->info.value.replication_address, layout.port, static_cast<std::uint8_t>(i)};
  }
  std::uint16_t index = 0;
  for (const auto& v : layout.volumes) {
    storage::Volume volume;
    volume.name = v.name;
    volume.index = index++;
    volume.minor = v.minor;
    volume.size_mib = v.size_mib;
    resource.volumes.push_back(std::move(volume));
  }
  return resource;
}

asio::awaitable<Result<storage::Resource>> resolved_resource(Node& node, std::string vm) {
  auto resource = resource_of(node, vm);
  if (!resource) co_return resource.error();
  auto side = storage::side_of(*resource, node.self());
  if (!side) co_return side.error();
  const auto layout = node.cell.view().vm(vm)->layout.value;
  for (std::size_t i = 0; i < layout.volumes.size(); ++i) {
    auto name = leg_name(vm, layout.volumes[i], node.self());
    auto path = co_await node.pool.activate(std::move(name));
    if (!path) co_return path.error();
    resource->volumes[i].backing[*side] = *path;
  }
  co_return resource;
}

void leave_out_failed(const Node& node, const std::string& vm, storage::Resource& resource) {
  const auto* view = node.cell.view().vm(vm);
  if (view == nullptr) return;
  for (auto& volume : resource.volumes) {
    const auto& volumes = view->layout.value.volumes;
    const auto at = std::ranges::find(volumes, volume.name, &core::VolumeLayout::name) - volumes.begin();
    volume.without_disk =
        core::leg_noted(node.notes.notes(), vm, view->layout.value, static_cast<std::size_t>(at), node.self());
  }
}

void note_state(core::LocalVm& local, const storage::ResourceState& state, const core::VmView* view) {
  local.up = state.present;
  local.role = storage::to_string(state.role);
  local.peer_role = storage::to_string(state.peer_role);
  local.connection = storage::to_string(state.connection);
  local.suspended = state.suspended;
  local.volumes.clear();
  if (view == nullptr) return;
  std::uint16_t index = 0;
  for (const auto& volume : view->layout.value.volumes) {
    const auto found = state.volumes.find(index++);
    if (found == state.volumes.end()) continue;
    const auto& v = found->second;
    local.volumes[volume.name] = {std::string(storage::to_string(v.disk)), std::string(storage::to_string(v.peer_disk)),
                                  std::string(storage::to_string(v.replication)), v.out_of_sync_kib};
  }
}

storage::LegName leg_name(const std::string& vm, const core::VolumeLayout& volume, const std::string& host) {
  const auto leg = std::ranges::find(volume.legs, host, &core::Leg::host);
  BASCULE_CHECK(leg != volume.legs.end());
  return {vm, volume.name, leg->id};
}

asio::awaitable<void> publish_free_space(Node& node, bool changed_only) {
  auto free = co_await node.pool.free_mib();
  const auto* host = node.cell.view().host(node.self());
  if (!free || host == nullptr || host->info.revision == 0) co_return;
  if (changed_only && host->info.value.pool_free_mib == *free) co_return;
  core::HostInfo info = host->info.value;
  info.pool_free_mib = *free;
  const auto seen = host->info.revision;
  auto done = co_await node.cell.put_info(std::move(info), seen);
  // One that was lost to another write is made up for within a minute.
  if (!done && done.error().code != Errc::stale)
    say(msg::pool_unreadable, {.host = node.self()}, "free space is not published: {}", done.error().what);
}

Result<core::DomainSpec> domain_of(const Node& node, const std::string& vm) {
  const auto* view = node.cell.view().vm(vm);
  if (view == nullptr) return fail(Errc::not_found, "VM " + vm + " is gone");
  const auto& spec = view->spec.value;
  core::DomainSpec domain;
  domain.name = vm;
  domain.uuid = core::domain_uuid(node.config.cell, vm);
  domain.cpus = spec.cpus;
  domain.memory_mib = spec.memory_mib;
  domain.accel = node.accel;
  domain.panic_device = spec.restart_on_panic;
  for (std::uint32_t i = 0; i < view->layout.value.volumes.size(); ++i) {
    const auto& volume = view->layout.value.volumes[i];
    domain.disks.push_back({i, storage::device_path(volume.minor), volume.name});
  }
  for (const auto& nic : spec.nics) {
    const auto bridge = node.config.networks.find(nic.network);
    if (bridge == node.config.networks.end()) {
      return fail(Errc::refused, "host " + node.self() + " has no bridge for network '" + nic.network + "'");
    }
    domain.nics.push_back({bridge->second, nic.mac});
  }
  return domain;
}

}  // namespace bascule
