#include "hostd/observer.hpp"

#include "hostd/core/guard.hpp"
#include "hostd/core/right.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule {

namespace {
constexpr std::chrono::seconds kEndLook{3};
}  // namespace

Observer::Observer(Node& node) : node_(node) {
  node_.vms.on_event([this](const core::DomainEvent& event) { domain_event(event); });
  node_.drbd.listen([this](const storage::ResourceState& state) { resource_changed(state); },
                    [](const core::Error& error) { say(msg::drbd_events_lost, {}, "DRBD events: {}", error.what); });
}

void Observer::touch(const std::string& vm) {
  node_.touched.insert(vm);
  node_.cell.changed().notify();
}

void Observer::set_domain(const std::string& vm, core::LocalVm& local, const core::DomainInfo& info) {
  if (info.state == core::DomainState::running && local.domain != core::DomainState::running) {
    node_.running_since[vm] = runtime::Clock::now();
  }
  if (info.state == core::DomainState::absent || info.state == core::DomainState::crashed)
    node_.running_since.erase(vm);
  local.domain = info.state;
  local.reason = info.reason;
}

/// libvirt tells that an incoming copy shuts down when its migration fails, and never that it is gone.
boost::asio::awaitable<void> Observer::see_the_end(std::string vm) {
  while (true) {
    co_await runtime::pause(kEndLook);
    const auto shuts_down = [&] {
      const auto local = node_.local.find(vm);
      return local != node_.local.end() && local->second.domain == core::DomainState::shutting_down;
    };
    if (!shuts_down()) co_return;
    auto here = co_await node_.vms.observe(vm);
    if (!shuts_down()) co_return;  // what was told meanwhile is newer than the answer
    if (!here || here->state == core::DomainState::shutting_down) continue;
    core::DomainEvent event;
    event.info = std::move(*here);
    domain_event(event);
    co_return;
  }
}

void Observer::note_domain(const core::DomainInfo& info) {
  node_.domains[info.name] = info.state;
  if (core::may_be_guest(node_.config.cell, info.name, info.uuid))
    node_.strangers.erase(info.name);
  else
    node_.strangers.insert(info.name);
}

void Observer::domain_event(const core::DomainEvent& event) {
  using Kind = core::DomainEvent::Kind;
  switch (event.kind) {
    case Kind::changed: {
      if (event.info.state == core::DomainState::absent)
        node_.domains.erase(event.info.name);
      else
        note_domain(event.info);
      const auto it = node_.local.find(event.info.name);
      if (it == node_.local.end()) return;
      set_domain(event.info.name, it->second, event.info);
      if (event.info.reason == core::DomainReason::migrating) {
        node_.handover_began[event.info.name] = runtime::Clock::now();
      }
      say(msg::guest_state, {.vm = event.info.name, .host = node_.self()}, "{}: domain is {} ({})", event.info.name,
          core::to_string(event.info.state), core::to_string(event.info.reason));
      touch(event.info.name);
      if (event.info.state == core::DomainState::shutting_down) {
        auto task = see_the_end(event.info.name);
        runtime::run_in_background(node_.cell.changed().executor(), "the end of " + event.info.name, std::move(task));
      }
      return;
    }
    case Kind::connected:
      node_.domains.clear();
      for (const auto& info : event.all) note_domain(info);
      node_.domains_known = true;
      say(msg::libvirt_back, {.host = node_.self()}, "libvirt is reached, {} guests run", event.all.size());
      break;
    case Kind::disconnected:
      say(msg::libvirt_away, {.host = node_.self()},
          "libvirt is not reached; guests go on, their state is not known for now");
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
    // What a full list does not tell: why a guest that was known is gone. One that has switched itself off before stays
    // off: nobody but this hostd starts it.
    const bool off = info.state == core::DomainState::absent && local.reason == core::DomainReason::guest_shutdown;
    if (info.state == local.domain || info.state == core::DomainState::unknown || off) info.reason = local.reason;
    set_domain(vm, local, info);
    touch(vm);
  }
}

/// R5: a leg that had its disk and has lost it by a fault leaves a durable note before anything else is decided: after
/// a reboot its metadata would not show it.
void Observer::note_failures(const std::string& vm, const Volumes& before, const Volumes& after) {
  const auto* view = node_.cell.view().vm(vm);
  if (view == nullptr) return;
  for (const auto& volume : view->layout.value.volumes) {
    const auto was = before.find(volume.name);
    const auto is = after.find(volume.name);
    const core::Leg* leg = core::leg_of(volume, node_.self());
    if (was == before.end() || is == after.end() || leg == nullptr) continue;
    const bool had = was->second.disk == "UpToDate" || was->second.disk == "Consistent";
    const bool lost = is->second.disk == "Failed" || is->second.disk == "Diskless";
    if (!had || !lost) continue;
    // safety: R5. Kept before anything is decided on it. [model: R5_note]
    say(msg::disk_failed, {.vm = vm, .host = node_.self(), .volume = volume.name},
        "{}: volume {} has lost its disk here ({})", vm, volume.name, is->second.disk);
    auto kept = node_.notes.keep(core::leg_failed(node_.notes.notes(), vm, leg->id, true));
    tell_unkept(kept, {.vm = vm, .host = node_.self()});
  }
}

void Observer::resource_changed(const storage::ResourceState& state) {
  const std::string vm(storage::vm_of(state.name));
  if (vm.empty()) return;
  auto& local = node_.local_vm(vm);
  const auto before = local.volumes;
  const bool was_frozen = local.role == "Primary" && core::io_stands_still(local.suspended);
  note_state(local, state, node_.cell.view().vm(vm));
  const bool frozen = local.role == "Primary" && core::io_stands_still(local.suspended);
  if (frozen && !was_frozen) {
    say(msg::io_frozen, {.vm = vm, .host = node_.self()}, "{}: its I/O stands still ({})", vm, local.suspended);
  }
  if (!frozen && was_frozen && local.role == "Primary")
    say(msg::io_resumed, {.vm = vm, .host = node_.self()}, "{}: its I/O goes on", vm);
  if (local.up && !local.io_ended) note_failures(vm, before, local.volumes);
  touch(vm);
}

}  // namespace bascule
