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

void Observer::set_domain(const std::string& vm, core::LocalVm& local, const core::DomainInfo& info) {
  if (info.state == core::DomainState::running && local.domain != core::DomainState::running) {
    node_.running_since[vm] = std::chrono::steady_clock::now();
  }
  if (info.state == core::DomainState::absent || info.state == core::DomainState::crashed)
    node_.running_since.erase(vm);
  local.domain = info.state;
  local.reason = info.reason;
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
      set_domain(event.info.name, it->second, event.info);
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
    core::DomainInfo info;
    info.name = vm;
    info.state = !node_.domains_known           ? core::DomainState::unknown
                 : found == node_.domains.end() ? core::DomainState::absent
                                                : found->second;
    // What a full list does not tell: why a guest that was known is gone.
    if (info.state == local.domain) info.reason = local.reason;
    set_domain(vm, local, info);
    touch(vm);
  }
}

void Observer::resource_changed(const storage::ResourceState& state) {
  const std::string vm(storage::vm_of(state.name));
  if (vm.empty()) return;
  note_state(node_.local_vm(vm), state, node_.cell.view().vm(vm));
  touch(vm);
}

}  // namespace bascule
