#include "hostd/core/guard.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/domain.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

bool fresh(const std::optional<Mono>& sent, Mono now, const Timing& t) {
  return sent && now - *sent <= t.renew_timeout;
}

std::optional<Mono> promise_of(const GuardInput& in, const std::string& host) {
  const auto it = in.promised.find(host);
  return it == in.promised.end() ? std::nullopt : std::optional(it->second);
}

/// The oldest promise this guest needs; nullopt when one is missing. A guest nobody could take over needs none.
std::optional<Mono> covered_since(const GuardInput& in, const GuardedVm& vm) {
  if (!vm.known) return std::nullopt;
  Mono oldest = in.now;
  for (const auto& host : vm.others) {
    const auto sent = promise_of(in, host);
    if (!sent) return std::nullopt;
    oldest = std::min(oldest, *sent);
  }
  return oldest;
}

}  // namespace

GuardedVm guarded_by_record(const VmView& vm, const Notes& notes, const std::string& name, const std::string& self,
                            bool settled, bool adding) {
  GuardedVm guarded{name, {}};
  const std::string peer = other_host(vm.layout.value, self);
  const GuardedVm noted = guarded_by_notes(notes, name);
  // safety: S1. A write that adds it back may still be on its way, from this hostd or from the one before it, which has
  // noted it before it was sent. [model: F_note_first, F_settle]
  const bool may_arrive = adding || (!settled && (!noted.known || noted.others.contains(peer)));
  if (may_arrive || insync_everywhere(vm.right.value, vm.layout.value, peer)) guarded.others.insert(peer);
  return guarded;
}

GuardedVm guarded_by_notes(const Notes& notes, const std::string& vm) {
  const auto note = notes.vms.find(vm);
  GuardedVm guarded{vm, {}, note != notes.vms.end() && note->second.others.has_value()};
  if (guarded.known) guarded.others.insert(note->second.others->begin(), note->second.others->end());
  return guarded;
}

bool may_be_guest(const std::string& cell, const std::string& name, const std::string& uuid) {
  return uuid.empty() || uuid == domain_uuid(cell, name);
}

GuardOutput guard(const GuardInput& in, const Timing& timing) {
  GuardOutput out;
  if (fresh(in.renewed, in.now, timing)) {
    out.pet = in.armed;
    out.pet_until = *in.renewed + timing.renew_timeout;
    // Half of the time is over: etcd is slow or gone, and a promise takes a round trip too.
    if (in.now - *in.renewed <= std::max(timing.renew_timeout / 2, timing.renew + timing.request)) return out;
  }
  std::vector<std::string> bare;
  Mono oldest = in.now;
  for (const auto& vm : in.guarded) {
    const auto since = covered_since(in, vm);
    if (since) oldest = std::min(oldest, *since);
    if (!fresh(since, in.now, timing)) bare.push_back(vm.name);
    for (const auto& host : vm.others) out.ask.insert(host);
  }
  if (!out.ask.empty()) {
    out.sentence = fmt::format("the host lease was last renewed {} ms ago; asking for promises",
                               in.renewed ? (in.now - *in.renewed).count() : -1);
  }
  if (out.pet) return out;
  // safety: S1. A guest that is not named, or of which neither the records nor this host's notes say who could take it
  // over, has no other proof than a renewal. [model: F_who_must_promise]
  const bool unknown = !in.guests_known || std::ranges::any_of(in.guarded, [](const auto& vm) { return !vm.known; });
  if (bare.empty() && !unknown) {
    // safety: S1. Every host that could take a guest of ours over has promised, counted from our sending, not to for
    // longer than the watchdog lives from this pet; a guest that no other host is in sync with can be taken by nobody.
    // [model: F_who_must_promise]
    out.pet = in.armed;
    out.pet_until = oldest + timing.renew_timeout;
    return out;
  }
  if (unknown) out.sentence = "etcd was not reached since hostd started: who could take its guests over is not known";
  // Not yet stopped: the watchdog still runs, and etcd or the peer may answer before it ends.
  if (in.now < in.last_pet.value_or(in.started) + stop_after_pet(timing)) return out;
  out.stop = std::move(bare);
  if (unknown) return out;
  out.sentence = fmt::format("no renewal for {} ms and no promise: guests that another host may take over are stopped",
                             in.renewed ? (in.now - *in.renewed).count() : -1);
  return out;
}

}  // namespace bascule::core
