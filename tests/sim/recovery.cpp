#include "tests/sim/recovery.hpp"

#include <algorithm>

#include "hostd/codec/codec.hpp"
#include "hostd/core/notes.hpp"
#include "hostd/core/right.hpp"
#include "tests/sim/hostd.hpp"

namespace bascule::sim {
namespace {
constexpr Us kLook = kSecond;
constexpr int kReset = 15;  // looks
}  // namespace

void Recovery::backup() { kept_ = cell_.view(); }

void Recovery::lose() {
  cell_.etcd.stop_all(true);
  cell_.etcd.lose_all();
  cell_.topology_changed();
}

void Recovery::begin() {
  cell_.etcd.stop_all(false);
  cell_.topology_changed();
  cell_.engine.say("operator", "a new etcd is there");
  look();
}

Hostd* Recovery::someone() const {
  for (const auto& host : joined_) {
    const auto& machine = *cell_.machines.at(host);
    if (machine.running() && machine.hostd && !machine.hostd->process.hung()) return machine.hostd.get();
  }
  return nullptr;
}

void Recovery::ask(core::Verb verb) {
  Hostd* hostd = someone();
  if (hostd == nullptr) return;
  core::Request request;
  request.verb = std::move(verb);
  request.caller = {core::Role::operator_, "olga", ""};
  request.reason = "all of etcd was lost";
  hostd->ask_for(std::move(request), [this](const auto& accepted) {
    cell_.engine.say("operator", accepted ? "operation " + accepted->operation : accepted.error().what);
  });
}

/// As hostd/new_cluster.cpp: its guests are ended first, and its legs are let go.
bool Recovery::join(Machine& machine) {
  if (!machine.running()) return false;
  const auto guests = machine.guests;
  for (const auto& [vm, guest] : guests) cell_.guest_ends(machine.name, vm, core::DomainReason::destroyed);
  const bool used = std::ranges::any_of(kept_.vms, [&](const auto& vm) {
    return cell_.drbd.state(storage::resource_name(vm.first), machine.name).role == storage::Role::primary;
  });
  if (!machine.guests.empty() || used) {
    // One that cannot be ended, since its disk is frozen: the machine is reset.
    if (++tries_[machine.name] % kReset == 0) {
      cell_.power_cut(machine.name);
      cell_.boot(machine.name);
    }
    return false;
  }
  machine.hostd.reset();
  machine.watchdog.armed = false;  // hostd, stopped without a guest, has switched it off
  if (machine.notes) {
    if (auto notes = codec::decode<core::Notes>(*machine.notes)) {
      machine.notes = codec::encode(core::in_new_cluster(*notes));
    }
  }
  cell_.engine.say("operator", "hostd --new-cluster on " + machine.name);
  cell_.start_hostd(machine.name);
  return true;
}

void Recovery::restore() {
  Hostd* hostd = someone();
  if (hostd == nullptr || restoring_) return;
  restoring_ = true;
  core::RestoreStep part;
  part.file = part.head.hash = std::string(64, 'f');
  part.head.sequence = 1;
  for (const auto& [host, machine] : cell_.machines) part.hosts.push_back(host);
  std::vector<core::RestoreStep> parts;
  for (const auto& [name, vm] : kept_.vms) {
    if (vm.right.revision == 0) continue;
    ++part.vms;
  }
  parts.push_back(part);
  part.kind = core::RestoreStep::Kind::vm;
  for (const auto& [name, vm] : kept_.vms) {
    if (vm.right.revision == 0) continue;
    part.spec = vm.spec.value;
    part.spec.power = core::Power::off;
    part.layout = vm.layout.value;
    part.restored = {vm.right.value.epoch, vm.right.value.host};
    parts.push_back(part);
  }
  part.kind = core::RestoreStep::Kind::end;
  parts.push_back(part);
  hostd->restore(std::move(parts), [this](const core::Result<>& done) {
    cell_.engine.say("operator", done ? "the backup is written back" : done.error().what);
    restored_ = done.has_value();
    restoring_ = false;
  });
}

/// On the host that remembers to have held it, else on the other one.
void Recovery::adopt(const std::string& name, const core::VmView& vm) {
  std::string first = vm.restored.value.host;
  std::int64_t newest = -1;
  for (const auto& leg : vm.layout.value.volumes.front().legs) {
    const auto& text = cell_.machine(leg.host).notes;
    const auto notes = codec::decode<core::Notes>(text.value_or("{}"));
    if (!notes || !notes->vms.contains(name)) continue;
    const auto& note = notes->vms.at(name);
    if (!note.others || note.epoch <= newest) continue;
    newest = note.epoch;
    first = leg.host;
  }
  auto& asked = asked_[name];
  const std::string host = asked.contains(first) ? core::other_host(vm.layout.value, first) : first;
  asked.insert(host);
  if (asked.size() == 2 && host != first) asked.clear();
  ask(core::AdoptVm{name, host});
}

void Recovery::look() {
  cell_.engine.after(kLook, [this] { look(); });
  for (auto& [host, machine] : cell_.machines) {
    if (!joined_.contains(host) && join(*machine)) joined_.insert(host);
  }
  if (joined_.size() < cell_.machines.size()) return;
  if (!restored_) return restore();
  const auto& view = cell_.view();
  for (const auto& [id, op] : view.operations) {
    const auto next = std::ranges::find(op.value.steps, core::StepState::pending, &core::Step::state);
    if (op.value.state != core::OpState::running || next == op.value.steps.end()) continue;
    if (next->kind != core::StepKind::await_approval || op.value.result.contains("approved_by")) continue;
    if (Hostd* hostd = someone()) hostd->approve(id);
  }
  for (const auto& [name, vm] : view.vms) {
    if (vm.spec.revision == 0 || vm.operation.revision != 0) continue;
    if (vm.right.revision == 0 && vm.restored.revision != 0) return adopt(name, vm);
    const bool ran = kept_.vms.at(name).spec.value.power == core::Power::on;
    if (vm.right.revision != 0 && vm.spec.value.power == core::Power::off && ran && started_.insert(name).second) {
      return ask(core::StartVm{name, false});
    }
  }
}

}  // namespace bascule::sim
