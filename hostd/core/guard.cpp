#include "hostd/core/guard.hpp"

#include <fmt/format.h>

#include <algorithm>

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
  Mono oldest = in.now;
  for (const auto& host : vm.others) {
    const auto sent = promise_of(in, host);
    if (!sent) return std::nullopt;
    oldest = std::min(oldest, *sent);
  }
  return oldest;
}

}  // namespace

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
  if (!in.records_read) {
    // safety: S1. Whom to ask for a promise is in the records: until they are read only a renewal is a proof.
    if (out.pet || (in.guests_known && in.guarded.empty())) {
      out.pet = in.armed;
      if (!fresh(in.renewed, in.now, timing)) out.pet_until = in.now + timing.renew_timeout;
      return out;
    }
    if (in.now < in.last_pet.value_or(in.started) + stop_after_pet(timing)) return out;
    for (const auto& vm : in.guarded) out.stop.push_back(vm.name);
    out.sentence = "etcd was not reached since hostd started: who could take these guests over is not known here";
    return out;
  }
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
  if (bare.empty()) {
    // safety: S1. Every host that could take a guest of ours over has promised, counted from our sending, not to for
    // longer than the watchdog lives from this pet; a guest that no other host is in sync with can be taken by nobody.
    out.pet = in.armed;
    out.pet_until = oldest + timing.renew_timeout;
    return out;
  }
  // Not yet stopped: the watchdog still runs, and etcd or the peer may answer before it ends.
  if (in.now < in.last_pet.value_or(in.started) + stop_after_pet(timing)) return out;
  out.stop = std::move(bare);
  out.sentence = fmt::format("no renewal for {} ms and no promise: guests that another host may take over are stopped",
                             in.renewed ? (in.now - *in.renewed).count() : -1);
  return out;
}

}  // namespace bascule::core
