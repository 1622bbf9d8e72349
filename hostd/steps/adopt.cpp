// A VM whose record was lost with all of etcd: both hosts say what they have of it, and once a second operator has
// approved it, it has a record again. In the shape of the repair after a split brain (care.cpp).
#include <fmt/format.h>

#include <algorithm>

#include "hostd/core/adopt.hpp"
#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

/// Both legs are kept before a second operator is asked, and a snapshot is in the way of the next.
constexpr const char* kAskAnew = "no record was made. Remove the snapshots of its legs whose names end with -repair on "
                                 "both hosts (lvremove), and ask "
                                 "anew";

/// Nothing runs here, nothing is noted against a leg here, and nothing connects it: `look` says how it stands then.
asio::awaitable<Result<Look>> at_rest(Context c) {
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  // safety: S1. The record that is made may let the other host start this VM. [model: W_adopt]
  if (here->state != core::DomainState::absent) {
    co_return fail(Errc::conflict, "a guest of VM " + c.op.vm + " is on " + c.self() +
                                       ": end it there first (virsh shutdown or destroy), then ask anew");
  }
  // safety: R5. What such a leg missed is not in its metadata. [model: R5_noted]
  if (auto why = core::failed_legs(c.node.notes.notes(), c.op.vm, c.vm()->layout.value, c.self())) {
    co_return fail(Errc::refused, *why);
  }
  auto seen = co_await look(c.node, c.op.vm);
  if (!seen) co_return seen.error();
  if (seen->state.present && seen->state.role != storage::Role::secondary) {
    co_return fail(Errc::conflict, "the legs on " + c.self() + " are in use (" +
                                       std::string(storage::to_string(seen->state.role)) + ")");
  }
  co_return seen;
}

/// All legs are there, and on the host that adopts each holds the state of some instant that may be started from.
Result<> fit(const Context& c, const Look& seen) {
  for (const auto& wanted : seen.resource.volumes) {
    const auto v = seen.state.volumes.find(wanted.index);
    const auto disk = v == seen.state.volumes.end() ? storage::Disk::diskless : v->second.disk;
    const bool whole = disk == storage::Disk::consistent || disk == storage::Disk::up_to_date;
    const bool there = whole || disk == storage::Disk::outdated || disk == storage::Disk::inconsistent;
    // safety: S3. Half a resync is nothing to start from. [model: W_adopt]
    if (c.self() == c.op.target_host ? whole : there) continue;
    return fail(Errc::refused, fmt::format("the leg of volume {} on {} is {}", wanted.name, c.self(),
                                           v == seen.state.volumes.end() ? "missing" : storage::to_string(disk)) +
                                   "; no record was made. What can be done then: docs/runbooks/etcd-lost.md");
  }
  return {};
}

/// The legs are still what the approving person was shown.
asio::awaitable<Result<>> as_shown(Context c, storage::Resource resource) {
  const auto volumes = resource.volumes;
  for (const auto& volume : volumes) {
    auto generation = co_await c.node.drbd.generation(resource, volume.name);
    if (!generation) co_return generation.error();
    const auto shown = c.op.result.find(core::adopt_generation_key(c.self(), volume.name));
    if (shown == c.op.result.end() || shown->second != *generation) {
      co_return fail(Errc::conflict,
                     "volume " + volume.name + " on " + c.self() + " has changed since it was shown; " + kAskAnew);
    }
  }
  co_return Result<>{};
}

/// At rest, alone, whole and as shown: after the approval, before the record is made.
asio::awaitable<Result<>> still_so(Context c) {
  auto seen = co_await at_rest(c);
  if (!seen) co_return seen.error();
  if (seen->state.connection != storage::Connection::stand_alone) {
    co_return fail(Errc::conflict,
                   "the legs on " + c.self() + " are not apart (" + seen->describe() + "); " + kAskAnew);
  }
  if (auto ok = fit(c, *seen); !ok) co_return ok;
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  co_return co_await as_shown(c, std::move(*resource));
}

}  // namespace

Answer survey_legs(Context c) {
  if (c.vm()->right.revision != 0) co_return fail(Errc::conflict, "the VM has a run-right");
  auto before = co_await at_rest(c);
  if (!before) co_return before.error();
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return fail(Errc::refused, "a leg on " + c.self() + " is missing: " + resource.error().what);
  auto kept = co_await nothing_kept(c);
  if (!kept) co_return kept.error();
  auto up = co_await c.node.drbd.up_standalone(*resource);
  if (!up) co_return up.error();
  // Forced: nobody is marked as old by it. From here on nothing connects the legs, since there is no record.
  auto cut = co_await c.node.drbd.disconnect(storage::resource_name(c.op.vm), true);
  if (!cut) co_return cut.error();
  auto seen = co_await at_rest(c);
  if (!seen) co_return seen.error();
  if (auto ok = fit(c, *seen); !ok) co_return ok.error();
  core::Outcome out = done(core::remembered(c.node.notes.notes(), c.op.vm));
  const auto volumes = seen->resource.volumes;
  for (const auto& volume : volumes) {
    auto generation = co_await c.node.drbd.generation(*resource, volume.name);
    if (!generation) co_return generation.error();
    out.note += fmt::format("; {}: {}, generation {}", volume.name,
                            storage::to_string(seen->state.volumes.at(volume.index).disk), *generation);
    out.result[core::adopt_generation_key(c.self(), volume.name)] = *generation;
  }
  const auto& notes = c.node.notes.notes().vms;
  const auto note = notes.find(c.op.vm);
  out.result[core::adopt_epoch_key(c.self())] = std::to_string(note == notes.end() ? 0 : note->second.epoch);
  out.result["leg_" + c.self()] = out.note;
  // The last of the two to say it: before anything is kept or anybody is asked.
  if (c.self() != c.op.target_host) {
    core::Operation both = c.op;
    both.result.insert(out.result.begin(), out.result.end());
    auto fits = core::not_older(both, *c.vm(), c.op.target_host);
    if (!fits) co_return fits.error();
    out.result["compared"] = *fits;
  }
  co_return out;
}

Answer confirm_legs(Context c) {
  auto ok = co_await still_so(c);
  if (!ok) co_return ok.error();
  co_return done("no guest is here, and the legs are as they were shown");
}

Answer adopt_right(Context c) {
  auto ok = co_await still_so(c);
  if (!ok) co_return ok.error();
  const auto op = c.node.cell.view().operations.find(c.op.id);
  if (op == c.node.cell.view().operations.end()) co_return fail(Errc::conflict, "the operation is gone");
  auto right = core::adopted(op->second.value, *c.vm(), c.self());
  if (!right) co_return right.error();
  core::Outcome out = done(fmt::format("run-right created for {} (epoch {})", c.self(), right->epoch));
  // safety: S1, S2. There is no record, which the transaction compares; both hosts have said, since a second operator
  // approved it, that no guest of this VM is there, and no host touches legs without a record. The legs here are not
  // older than the other host's, and only they are listed. [model: W_adopt]
  out.right = std::move(*right);
  out.right_revision = 0;
  co_return out;
}

}  // namespace bascule::steps
