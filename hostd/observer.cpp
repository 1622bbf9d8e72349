#include "hostd/observer.hpp"

#include <spdlog/spdlog.h>

namespace bascule {

Observer::Observer(Node& node) : node_(node) {
  node_.vms.on_event([this](const core::DomainEvent& event) { domain_event(event); });
  node_.drbd.listen([this](const storage::ResourceState& state) { resource_changed(state); },
                    [](const core::Error& error) { spdlog::warn("DRBD events: {}", error.what); });
}

void Observer::touch(const std::string& vm) {
  node_.touched.insert(vm);
  node_.cell.changed().notify();
}

void Observer::domain_event(const core::DomainEvent& event) {
  using Kind = core::DomainEvent::Kind;
  switch (event.kind) {
    case Kind::changed: {
      if (event.info.state == core::DomainState::absent)
        node_.domains.erase(event.info.name);
      else
        node_.domains[event.info.name] = event.info.state;
      const auto it = node_.local.find(event.info.name);
      if (it == node_.local.end()) return;
      it->second.domain = event.info.state;
      if (event.info.reason == core::DomainReason::migrating) {
        node_.handover_began[event.info.name] = std::chrono::steady_clock::now();
      }
      spdlog::info("{}: domain is {} ({})", event.info.name, core::to_string(event.info.state),
                   core::to_string(event.info.reason));
      touch(event.info.name);
      return;
    }
    case Kind::connected:
      node_.domains.clear();
      for (const auto& info : event.all) node_.domains[info.name] = info.state;
      node_.domains_known = true;
      break;
    case Kind::disconnected:
      spdlog::warn("libvirt is not reached; guests go on, their state is not known for now");
      node_.domains_known = false;
      break;
    case Kind::job_completed:
    case Kind::iteration: return;
  }
  for (auto& [vm, local] : node_.local) {
    const auto found = node_.domains.find(vm);
    local.domain = !node_.domains_known           ? core::DomainState::unknown
                   : found == node_.domains.end() ? core::DomainState::absent
                                                  : found->second;
    touch(vm);
  }
}

void Observer::resource_changed(const storage::ResourceState& state) {
  const std::string vm(storage::vm_of(state.name));
  if (vm.empty()) return;
  auto& local = node_.local_vm(vm);
  local.up = state.present;
  local.role = storage::to_string(state.role);
  local.connection = storage::to_string(state.connection);
  local.suspended = state.suspended;
  local.volumes.clear();
  const auto* view = node_.cell.view().vm(vm);
  if (view != nullptr) {
    std::uint16_t index = 0;
    for (const auto& volume : view->layout.value.volumes) {
      const auto found = state.volumes.find(index++);
      if (found == state.volumes.end()) continue;
      const auto& v = found->second;
      local.volumes[volume.name] = {std::string(storage::to_string(v.disk)),
                                    std::string(storage::to_string(v.peer_disk)),
                                    std::string(storage::to_string(v.replication)), v.out_of_sync_kib};
    }
  }
  touch(vm);
}

}  // namespace bascule
