#include "hostd/core/if_lost.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "hostd/core/ha.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

using Outcome = IfLost::Outcome;

/// The records after some of the lost host's VMs have been started elsewhere.
struct Forecast {
  const CellView& view;
  const std::string& lost;
  std::map<std::string, std::uint64_t> left{};  ///< MiB by host; asked once each: a cell has thousands of VMs

  std::uint64_t& left_on(const std::string& host);
  IfLost of(const VmView& vm);
  IfLost running(const VmView& vm, const std::string& peer);
};

IfLost say(Outcome outcome, std::string text, std::string target = {}) {
  return {outcome, {}, std::move(target), std::move(text)};
}

std::uint64_t& Forecast::left_on(const std::string& host) {
  const auto known = left.find(host);
  return known != left.end() ? known->second : left[host] = free_memory_mib(view, host, {});
}

/// The VM should run, and its other leg on `peer` follows every write.
IfLost Forecast::running(const VmView& vm, const std::string& peer) {
  const auto& spec = vm.spec.value;
  if (!insync_everywhere(vm.right.value, vm.layout.value, peer)) {
    return say(Outcome::stays, "its copy on " + peer + " is NOT in sync, so it waits until " + lost + " is back");
  }
  const HostView* other = view.host(peer);
  if (other == nullptr || !other->alive()) {
    return say(Outcome::stays, "host " + peer + ", where its other leg is, is silent: nothing could start it");
  }
  std::uint64_t& room = left_on(peer);
  const bool counted = vm.right.value.migrating_to == peer;  // on its way there, it has its memory already
  if (!counted && room < spec.memory_mib) {
    return say(Outcome::stays, fmt::format("host {} would have {} MiB of memory left for it, it needs {}", peer, room,
                                           spec.memory_mib));
  }
  if (spec.protection != Protection::ha) {
    return say(Outcome::waits,
               fmt::format("its protection is '{}', so a person starts it on {}", to_string(spec.protection), peer),
               peer);
  }
  if (view.disarmed.revision != 0) {
    return say(Outcome::waits,
               fmt::format("failover is disarmed by {}, so a person starts it on {} once {} is known to be off",
                           view.disarmed.value.author, peer, lost),
               peer);
  }
  if (!guards(view, lost)) {
    return say(
        Outcome::waits,
        fmt::format("{} has not taken up its guard since failover was armed, so a person starts it on {} once {} "
                    "is known to be off",
                    lost, peer, lost),
        peer);
  }
  if (other->maintenance.revision != 0) {
    return say(Outcome::waits, peer + " is in maintenance: nothing starts it there before a person ends that", peer);
  }
  const auto op = view.operations.find(vm.operation.value);
  if (vm.operation.revision != 0 && op != view.operations.end() && !may_supersede(op->second.value.kind)) {
    return say(Outcome::waits,
               fmt::format("operation {} ({}) holds it and would wait for {}", op->first,
                           to_string(op->second.value.kind), lost),
               peer);
  }
  if (!counted) room -= spec.memory_mib;
  return say(Outcome::restarts, "it starts on " + peer + " by itself, with every confirmed write", peer);
}

IfLost Forecast::of(const VmView& vm) {
  const auto& spec = vm.spec.value;
  if (spec.power == Power::off) return say(Outcome::off, "it is off, as asked: nothing is missed");
  if (spec.protection == Protection::none) {
    return say(Outcome::stays, "it has one leg (protection 'none'), so it waits until " + lost + " is back");
  }
  const std::string peer = other_host(vm.layout.value, lost);
  if (spec.protection == Protection::backup) {
    return say(
        Outcome::waits,
        fmt::format("a person may start the cold copy on {} and give up what was written since it was made", peer),
        peer);
  }
  return running(vm, peer);
}

}  // namespace

std::string_view to_string(IfLost::Outcome v) {
  static constexpr std::array<std::string_view, 4> kWords{"restarts", "waits", "stays", "off"};
  return kWords.at(static_cast<std::size_t>(v));
}

std::vector<IfLost> if_lost(const CellView& view, const std::string& host) {
  std::vector<const VmView*> order;
  for (const auto& [name, vm] : view.vms) {
    if (vm.spec.revision != 0 && vm.right.revision != 0 && vm.right.value.host == host) order.push_back(&vm);
  }
  std::ranges::sort(order, [](const VmView* a, const VmView* b) {
    const auto& x = a->spec.value;
    const auto& y = b->spec.value;
    return x.priority != y.priority ? x.priority > y.priority : x.name < y.name;
  });
  Forecast forecast{view, host};
  std::vector<IfLost> out;
  out.reserve(order.size());
  for (const VmView* vm : order) {
    out.push_back(forecast.of(*vm));
    out.back().vm = vm->spec.value.name;
  }
  return out;
}

}  // namespace bascule::core
