// Cold copies, legs of a VM that has only one, and what is done after a split brain.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "hostd/core/four_eyes.hpp"
#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using runtime::Clock;

namespace {
constexpr std::chrono::seconds kLook{1};
constexpr std::chrono::seconds kNoLink{60};  // a resync whose link stays away this long is given up
constexpr std::chrono::minutes kNoProgress{5};
/// Then nobody agrees any more, and everything stays as it is. Short: the VM is held meanwhile, and a guest that dies
/// is not started again.
constexpr std::chrono::hours kApproval{1};

bool all_disks(const Look& seen, storage::Disk disk) {
  return !seen.state.volumes.empty() &&
         std::ranges::all_of(seen.state.volumes, [&](const auto& v) { return v.second.disk == disk; });
}
bool any_disk(const Look& seen, storage::Disk disk) {
  return std::ranges::any_of(seen.state.volumes, [&](const auto& v) { return v.second.disk == disk; });
}

/// Every volume of the VM holds the state of some instant.
bool all_whole(const Look& seen) {
  return std::ranges::all_of(seen.resource.volumes, [&](const storage::Volume& wanted) {
    const auto v = seen.state.volumes.find(wanted.index);
    return v != seen.state.volumes.end() &&
           (v->second.disk == storage::Disk::outdated || v->second.disk == storage::Disk::consistent ||
            v->second.disk == storage::Disk::up_to_date);
  });
}
/// A disk that is gone on either side: no resync ends any more.
bool disk_gone(const Look& seen) {
  return std::ranges::any_of(seen.state.volumes, [](const auto& v) {
    const auto gone = [](storage::Disk d) { return d == storage::Disk::diskless || d == storage::Disk::failed; };
    return gone(v.second.disk) || gone(v.second.peer_disk);
  });
}

/// Which snapshot of a leg an operation of this kind makes or uses.
storage::Snapshot snapshot_of(core::OpKind kind) {
  return kind == core::OpKind::vm_copy ? storage::Snapshot::copy : storage::Snapshot::repair;
}

/// The newest operation of the journal that started this VM on that host.
std::string last_start(const core::CellView& view, const std::string& vm, const std::string& host) {
  const core::Operation* last = nullptr;
  for (const auto& [id, op] : view.operations) {
    const auto started = [&](const core::Step& s) {
      return s.host == host && s.state == core::StepState::done &&
             (s.kind == core::StepKind::start_domain || s.kind == core::StepKind::resume_target);
    };
    if (op.value.vm == vm && std::ranges::any_of(op.value.steps, started) &&
        (last == nullptr || op.value.created_ms > last->created_ms)) {
      last = &op.value;
    }
  }
  if (last == nullptr) return "no start on it is in the journal";
  return fmt::format("last started by {} with {} at {} ms", last->author.name, last->id, last->created_ms);
}
}  // namespace

/// A VM with one leg: it was just made and zeroed, and nobody else has one to be in sync with.
Answer seed_leg(Context c) {
  auto seen = co_await look(c.node, c.op.vm);
  if (!seen) co_return seen.error();
  if (all_disks(*seen, storage::Disk::up_to_date)) co_return done("the leg is in use already");
  // safety: S1, S3. The record names this host and this leg alone, and no guest has ever run: the adapter forces only
  // where the generation is the one that metadata is made with.
  auto up = co_await claim_and_promote(c.node, c.op.vm, c.op.reason, Start::other, storage::Force::fresh);
  if (!up) co_return up.error();
  auto down = co_await c.node.drbd.demote(storage::resource_name(c.op.vm));
  if (!down) co_return down.error();
  co_return done("one zeroed leg");
}

Answer snapshot_leg(Context c) {
  const auto which = snapshot_of(c.op.kind);
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  // safety: R5. A leg that lost its disk before comes back only over the link. [model: R5_noted]
  leave_out_failed(c.node, c.op.vm, *resource);
  auto up = co_await c.node.drbd.up_standalone(*resource);  // after a reboot nothing is known of the leg before
  if (!up) co_return up.error();
  auto seen = co_await look(c.node, c.op.vm);
  if (!seen) co_return seen.error();
  if (which == storage::Snapshot::copy && any_disk(*seen, storage::Disk::inconsistent)) {
    co_return done("the leg is half-way from an earlier try; the snapshot of before it is kept");
  }
  // The leg that is not adopted may be the half of a resync: it is kept as it is.
  if (!all_whole(*seen) && !(c.op.kind == core::OpKind::vm_adopt && c.self() != c.op.target_host))
    co_return fail(Errc::unavailable, "the legs on " + c.self() + " are not whole: " + seen->describe());
  const std::string name = storage::resource_name(c.op.vm);
  const bool live = seen->state.role == storage::Role::primary && !c.node.pool.snapshots_at_once();
  if (live) {
    const auto right = c.vm()->right;
    if (right.value.host != c.self()) co_return fail(Errc::conflict, "the legs on " + c.self() + " are in use");
    if (auto ok = trusted(c.node, c.op.vm); !ok) co_return ok.error();
    // Before anything is stopped: the kernel's resume lifts every stop at once, also one for a link that is lost then.
    auto alone = core::without_others(right.value, c.vm()->layout.value, c.self());
    auto wrote = co_await c.node.cell.commit_right(c.op.vm, std::move(alone), right.revision,
                                                   "before its I/O is stopped for a copy", wall_ms());
    if (!wrote) co_return wrote.error();
    co_await c.progress({.text = "the guest's I/O stands still while its leg is copied"});
    auto stopped = co_await c.node.drbd.suspend_io(name);
    if (!stopped) co_return stopped.error();
  }
  Result<> made;
  const auto layout = c.vm()->layout.value;
  for (const auto& volume : layout.volumes) {
    auto leg = leg_name(c.op.vm, volume, c.self());
    made = co_await c.node.pool.snapshot(std::move(leg), which);
    if (!made) break;
  }
  if (live) {
    // safety: R4. Stopped above for the copy alone, under a record that lists no other host's leg; while this operation
    // holds the VM none is added. [model: R4_resume]
    auto goes_on = co_await c.node.drbd.resume_io(name);
    if (!goes_on) co_return goes_on.error();
  }
  if (!made) co_return made.error();
  co_await publish_free_space(c.node);
  co_return done(fmt::format("{} leg(s) on {} kept as they are now", layout.volumes.size(), c.self()));
}

Answer await_sync(Context c) {
  auto linked = Clock::now();
  auto moved = linked;
  auto least = std::numeric_limits<std::uint64_t>::max();
  while (true) {
    auto seen = co_await look(c.node, c.op.vm);
    if (!seen) co_return seen.error();
    if (seen->connected() && seen->in_sync()) co_return done("in sync");
    if (c.cancelled()) co_return fail(Errc::cancelled, "cancelled while the legs were resynced");
    if (seen->connected()) linked = Clock::now();
    if (Clock::now() - linked > kNoLink) {
      co_return fail(Errc::refused, "the legs did not come together: " + seen->describe() +
                                        ". If both were written to apart, `hostctl volume repair " + c.op.vm + "`");
    }
    if (seen->connected() && disk_gone(*seen)) {
      co_return fail(Errc::refused, "a disk was lost while the legs were resynced: " + seen->describe());
    }
    std::uint64_t left = 0;
    std::uint64_t all = 0;
    for (const auto& [index, volume] : seen->state.volumes) left += volume.out_of_sync_kib;
    if (left < least) {
      least = left;
      moved = Clock::now();
    }
    if (Clock::now() - moved > kNoProgress) {
      co_return fail(Errc::refused, "the resync stands still: " + seen->describe());
    }
    for (const auto& volume : seen->resource.volumes) all += volume.size_mib * 1024;
    const int percent = all == 0 ? -1 : static_cast<int>(100 - std::min<std::uint64_t>(100, left * 100 / all));
    co_await c.progress({.percent = percent, .text = fmt::format("{} MiB left to copy", (left + 1023) / 1024)});
    co_await pause(kLook);
  }
}

/// The link of a cold copy is open only while it is refreshed. Not forced: the copy is marked as old by the primary.
Answer cut_link(Context c) {
  auto cut = co_await c.node.drbd.disconnect(storage::resource_name(c.op.vm), false);
  if (!cut) co_return cut.error();
  co_return done("the copy is as of now");
}

asio::awaitable<Result<>> nothing_kept(Context c) {
  const auto layout = c.vm()->layout.value;
  for (const auto& volume : layout.volumes) {
    auto leg = leg_name(c.op.vm, volume, c.self());
    const std::string name = leg.volume + " of VM " + leg.vm;
    auto kept = co_await c.node.pool.has_snapshot(std::move(leg), storage::Snapshot::repair);
    if (!kept) co_return kept.error();
    if (*kept) {
      co_return fail(Errc::conflict, "what volume " + name +
                                         " held before an earlier repair or adoption is still kept on " + c.self() +
                                         " (its name ends with -repair). Look whether it is needed, remove it by hand, "
                                         "then try again");
    }
  }
  co_return Result<>{};
}

Answer compare_legs(Context c) {
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  // safety: R5. What a leg missed that lost its disk before is not in its metadata: it is no side to choose.
  // [model: R5_noted]
  if (auto why = core::failed_legs(c.node.notes.notes(), c.op.vm, c.vm()->layout.value, c.self())) {
    co_return fail(Errc::conflict, *why +
                                       ". There is nothing to choose: when the other leg is up to date and connected, "
                                       "this one is attached again and resynced from it by itself");
  }
  auto up = co_await c.node.drbd.up_standalone(*resource);
  if (!up) co_return up.error();
  auto seen = co_await look(c.node, c.op.vm);
  if (!seen) co_return seen.error();
  if (seen->connected()) co_return fail(Errc::conflict, "the legs are connected: there is nothing to repair");
  if (c.self() == c.op.target_host && seen->state.role != storage::Role::secondary) {
    co_return fail(Errc::conflict, "the legs on " + c.self() + " are in use");
  }
  auto kept = co_await nothing_kept(c);
  if (!kept) co_return kept.error();
  std::string text = last_start(c.node.cell.view(), c.op.vm, c.self());
  const auto volumes = seen->resource.volumes;
  for (const auto& volume : volumes) {
    auto generation = co_await c.node.drbd.generation(*resource, volume.name);
    if (!generation) co_return generation.error();
    const auto state = seen->state.volumes.find(volume.index);
    if (state == seen->state.volumes.end()) co_return fail(Errc::refused, "volume " + volume.name + " is not attached");
    text += fmt::format("; {}: {}, {} KiB written since the legs parted, generation {}", volume.name,
                        storage::to_string(state->second.disk), state->second.out_of_sync_kib, *generation);
  }
  core::Outcome out = done(text);
  out.result["leg_" + c.self()] = text;
  co_return out;
}

Answer await_approval(Context c) {
  co_await c.progress({.text = "waits for a second operator: hostctl op approve " + c.op.id});
  while (true) {
    if (const auto why = core::approval_is_void(c.node.cell.view(), c.op); !why.empty()) {
      co_return fail(Errc::refused, why);
    }
    const auto it = c.node.cell.view().operations.find(c.op.id);
    if (it != c.node.cell.view().operations.end()) {
      const auto by = it->second.value.result.find("approved_by");
      if (by != it->second.value.result.end()) co_return done("approved by " + by->second);
    }
    if (c.cancelled()) co_return fail(Errc::cancelled, "cancelled while waiting for a second operator");
    const auto limit = core::approval_time(c.op, std::chrono::milliseconds(kApproval).count());
    if (wall_ms() - c.op.created_ms > limit) {
      co_return fail(Errc::refused, fmt::format("no second operator approved it within {} minutes; nothing was changed",
                                                limit / 60'000));
    }
    co_await pause(kLook);
  }
}

namespace {
/// The legs are what the approving person was shown.
asio::awaitable<Result<>> as_approved(Context c, storage::Resource resource) {
  const auto shown = c.op.result.find("leg_" + c.self());
  const auto volumes = resource.volumes;
  for (const auto& volume : volumes) {
    auto generation = co_await c.node.drbd.generation(resource, volume.name);
    if (!generation) co_return generation.error();
    if (shown == c.op.result.end() || shown->second.find(*generation) == std::string::npos) {
      co_return fail(Errc::conflict,
                     "volume " + volume.name + " on " + c.self() +
                         " has changed since it was shown; nothing was given up, ask for the repair anew");
    }
  }
  co_return Result<>{};
}
}  // namespace

/// What this host's legs have that the holder's have not is given up; the snapshot made before keeps it.
Answer discard_leg(Context c) {
  const auto approved = c.node.cell.view().operations.find(c.op.id);
  if (approved == c.node.cell.view().operations.end() || !approved->second.value.result.contains("approved_by")) {
    co_return fail(Errc::conflict, "nobody has approved it");
  }
  const core::Right right = c.vm()->right.value;
  if (right.host == c.self() || core::insync_everywhere(right, c.vm()->layout.value, c.self())) {
    co_return fail(Errc::conflict, "the record has changed: the legs of " + c.self() + " are not to be given up");
  }
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state != core::DomainState::absent) co_return fail(Errc::conflict, "a guest is on " + c.self());
  const std::string name = storage::resource_name(c.op.vm);
  auto seen = co_await look(c.node, c.op.vm);
  if (!seen) co_return seen.error();
  if (seen->connected()) co_return done("the legs have come together already");
  auto demoted = co_await c.node.drbd.demote(name);
  if (!demoted) co_return demoted.error();
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  auto unchanged = co_await as_approved(c, *resource);
  if (!unchanged) co_return unchanged.error();
  // It may be trying to connect since the legs parted: only a new connection says that its data is given up.
  auto cut = co_await c.node.drbd.disconnect(name, true);
  if (!cut) co_return cut.error();
  // safety: S2. A second operator has approved it, the record lists none of these legs, no guest is here, and the
  // snapshot that an earlier step of this operation made keeps what they hold.
  auto ok = co_await c.node.drbd.connect(*resource, storage::Discard::own_data);
  if (!ok) co_return ok.error();
  co_return done("the legs of " + c.self() + " take over the state of " + right.host + "'s");
}

}  // namespace bascule::steps
