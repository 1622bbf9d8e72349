// Live migration, step by step (DESIGN section 6). The journal names the step that is next, so a restart of either
// hostd looks at what is there and goes on, or undoes in reverse order:
//   source  admit, mark            undo: unmark
//   target  prepare
//   source  open the window        undo: resume the own copy if it stands paused, close the window
//   target  promote                undo: destroy the copy that never ran, demote
//   source  migrate, hand over (H) undo: abort; after H there is no way back
//   target  resume
//   source  demote; target  close the window, confirm
#include <fmt/format.h>

#include "hostd/core/drills.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::DomainState;
using core::Errc;
using core::fail;
using core::Result;
using runtime::Clock;

namespace {

constexpr std::chrono::seconds kLook{1};     // progress and convergence are looked at this often
constexpr std::chrono::seconds kSettle{60};  // libvirt needs 30 s for its own keepalive to give up
constexpr const char* kEndedOnTheWay = "the guest ended on the way; it is started again here";
constexpr std::chrono::seconds kWindowPatience{10};  // the peer learns of allow-two-primaries in one round trip

/// DRBD asked afresh: connected, both legs UpToDate, nothing out of sync, on every volume.
asio::awaitable<Result<>> in_sync_now(Node& node, std::string vm) {
  auto seen = co_await look(node, std::move(vm));
  if (!seen) co_return seen.error();
  if (seen->state.frozen()) {
    co_return fail(Errc::conflict, "its I/O stands still (" + seen->state.suspended + "); the VM was not moved");
  }
  if (seen->in_sync()) co_return Result<>{};
  co_return fail(Errc::conflict,
                 "DRBD is not in sync between the sites (" + seen->describe() + "); the VM was not moved");
}

/// Follows the job: progress, the policy's ladder, cancel. Ends when `over` is set.
struct Watcher {
  bool over{};
  bool aborted{};
};

asio::awaitable<void> follow(Context c, std::shared_ptr<Watcher> watch) {
  const auto* policy = core::migration_policy(c.op.object);
  const auto begin = Clock::now();
  auto rung_since = begin;
  std::size_t rung = 0;
  while (true) {
    co_await pause(kLook);
    if (watch->over) co_return;
    auto stats = co_await c.node.vms.migration_progress(c.op.vm);
    if (watch->over) co_return;
    const auto now = Clock::now();
    const bool late = policy->give_up_after_s != 0 && now - begin > std::chrono::seconds(policy->give_up_after_s);
    if ((c.cancelled() || late) && !watch->aborted) {
      watch->aborted = true;
      auto asked = co_await c.node.vms.abort_migration(c.op.vm);
      if (!asked) watch->aborted = false;  // tried again at the next look
    }
    if (rung + 1 < policy->downtime_ms.size() && now - rung_since > std::chrono::seconds(policy->step_after_s)) {
      rung_since = now;
      auto set = co_await c.node.vms.set_max_downtime(c.op.vm, policy->downtime_ms[++rung]);
      static_cast<void>(set);
    }
    if (!stats) continue;
    core::Progress p;
    p.percent = core::percent_done(*stats);
    p.done_bytes = stats->memory_processed;
    p.total_bytes = stats->memory_total;
    p.text = fmt::format("pass {}, {} MiB left, {} MiB/s", stats->iteration, stats->memory_remaining >> 20U,
                         stats->memory_bps >> 20U);
    co_await c.progress(std::move(p));
  }
}

core::MigrationParams params_of(const Context& c) {
  const auto* policy = core::migration_policy(c.op.object);
  core::MigrationParams p;
  p.bandwidth_mib = policy->bandwidth_mib;
  p.downtime_ms = policy->downtime_ms.front();
  p.auto_converge = policy->auto_converge;
  p.target_address = c.node.cell.view().host(c.op.target_host)->info.value.migration_address;
  return p;
}

/// Where the guest stands on this host once nothing moves any more. Errors: timeout while it is still being decided.
asio::awaitable<Result<core::DomainInfo>> settled(Context c) {
  const auto until = Clock::now() + kSettle;
  while (true) {
    auto here = co_await c.node.vms.observe(c.op.vm);
    if (here && (here->state == DomainState::absent || here->state == DomainState::running)) co_return here;
    if (Clock::now() >= until) {
      if (!here) co_return here.error();
      co_return here;  // paused, and staying so
    }
    co_await pause(kLook);
  }
}

/// The copy on this host once libvirt has it whole, or knows that it never will be. A copy that still waits for memory
/// must not be resumed. Errors: timeout.
asio::awaitable<Result<core::DomainInfo>> arrived(Context c) {
  const auto until = Clock::now() + kSettle;
  while (true) {
    auto here = co_await c.node.vms.observe(c.op.vm);
    if (!here || here->reason != core::DomainReason::migrating) co_return here;
    if (Clock::now() >= until) {
      co_return fail(Errc::timeout, "the guest has not arrived whole on " + c.self() +
                                        "; it is not let run. Look at the log of libvirtd there");
    }
    co_await pause(kLook);
  }
}

/// The guest was seen to leave by the migration itself. That it is gone says little: it may have run on here after its
/// copy was made, and have ended then.
bool seen_leaving(const Context& c) {
  const auto local = c.node.local.find(c.op.vm);
  return local != c.node.local.end() && local->second.domain == DomainState::absent &&
         local->second.reason == core::DomainReason::migrated;
}

core::Error not_seen_leaving(const Context& c) {
  return fail(Errc::refused, "the guest is gone from " + c.self() + " and was not seen to leave: what stands on " +
                                 c.op.target_host + " may be older than its disks");
}

core::Result<core::Outcome> handed_over(Context& c, std::string note) {
  const auto* vm = c.vm();
  auto next = core::hand_over(vm->right.value, vm->layout.value, c.self(), c.op.target_host);
  if (!next) return next.error();
  if (c.op.author.role == "operator") next->restarts = 0;  // a person has looked at it
  core::Outcome out = done(std::move(note));
  out.right = std::move(*next);
  out.right_revision = vm->right.revision;
  return out;
}

}  // namespace

Answer admit_migration(Context c) {
  if (auto ok = core::check_migration(c.node.cell.view(), *c.vm(), c.op.target_host); !ok) co_return ok.error();
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state != DomainState::running) co_return fail(Errc::conflict, "the VM does not run on this host");
  if (auto ok = co_await in_sync_now(c.node, c.op.vm); !ok) co_return ok.error();
  co_return done("both legs in sync, " + c.op.target_host + " has room");
}

Answer mark_migration(Context c) {
  const auto* vm = c.vm();
  auto next = core::mark(vm->right.value, vm->layout.value, c.self(), c.op.target_host);
  if (!next) co_return next.error();
  core::Outcome out = done();
  out.right = std::move(*next);
  out.right_revision = vm->right.revision;
  co_return out;
}

Answer unmark_migration(Context c) {
  const auto* vm = c.vm();
  auto next = core::unmark(vm->right.value, c.self());
  if (!next) co_return next.error();
  core::Outcome out = done();
  out.right = std::move(*next);
  out.right_revision = vm->right.revision;
  co_return out;
}

Answer prepare_target(Context c) {
  // safety: S1. The guest will run here: the watchdog first.
  if (auto armed = c.node.arm(); !armed) co_return armed.error();
  if (!c.node.vms.connected()) co_return fail(Errc::unavailable, "libvirt on " + c.self() + " is not reached");
  auto spec = domain_of(c.node, c.op.vm);
  if (!spec) co_return spec.error();
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state != DomainState::absent) {
    co_return fail(Errc::conflict, "a copy of the VM exists on " + c.self() + " already");
  }
  co_return done();
}

Answer promote_target(Context c) {
  const auto until = Clock::now() + kWindowPatience;
  while (true) {
    if (auto ok = co_await in_sync_now(c.node, c.op.vm); !ok) co_return ok.error();
    const auto* vm = c.vm();
    if (vm == nullptr) co_return fail(Errc::not_found, "the VM is gone");
    const auto& right = vm->right.value;
    if (right.host != c.op.source_host || right.migrating_to != c.self() ||
        !core::insync_everywhere(right, vm->layout.value, c.self())) {
      co_return fail(Errc::conflict, "the record does not mark a migration to this host with its legs in sync");
    }
    storage::PromotionProof proof{c.op.vm, c.self(), right.epoch, vm->right.revision};
    // safety: S3, S4. The committed record marks a migration to this host and lists its legs in sync; DRBD, asked just
    // now, is connected with both legs UpToDate; the guest here stays paused until the record names this host (H).
    // Looked at anew for each attempt. [model: S4_promote]
    auto up = co_await c.node.drbd.promote(storage::resource_name(c.op.vm), proof);
    if (up) co_return done();
    if (up.error().code != Errc::refused || Clock::now() >= until) co_return up.error();
    co_await pause(std::chrono::milliseconds(200));
  }
}

Answer live_migrate(Context c) {
  auto before = co_await settled(c);
  if (!before) co_return before.error();
  if (before->state == DomainState::absent) {
    // safety: H, S2. A copy whose source ran on would write what it remembers over what was confirmed since.
    // [model: H_migrated]
    if (!seen_leaving(c)) co_return not_seen_leaving(c);
    co_return handed_over(c, "it had left " + c.self() + " before");
  }
  if (before->state == DomainState::paused) {
    co_return fail(Errc::refused, "the guest stands paused on " + c.self() + " after an interrupted migration");
  }
  if (const auto& right = c.vm()->right.value; right.host != c.self() || right.migrating_to != c.op.target_host) {
    co_return fail(Errc::conflict, "the record does not mark this migration any more; the VM was not moved");
  }
  // safety: S1, S4. The committed record marks this migration and names this host; QEMU keeps the target's copy paused
  // until H is committed by this same step, and only `resume_target` lets it run. [model: S4_window, H_resume]
  auto watch = std::make_shared<Watcher>();
  const auto executor = co_await asio::this_coro::executor;
  runtime::run_in_background(executor, "the progress of a migration", follow(c, watch));
  const auto begin = Clock::now();
  c.node.handover_began.erase(c.op.vm);  // its arrival here, perhaps
  auto params = params_of(c);
  auto moved = co_await c.node.vms.migrate(c.op.vm, c.op.target_host, std::move(params));
  watch->over = true;
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
  if (!moved) {
    auto here = co_await settled(c);
    if (!here) co_return here.error();
    // safety: H, S2. Only a source that saw its guest leave may give the right away. [model: H_migrated]
    if (here->state != DomainState::absent) {
      if (c.cancelled()) co_return fail(Errc::cancelled, "cancelled; the VM keeps running on " + c.self());
      co_return fail(Errc::refused, moved.error().what + ". The VM stays on " + c.self());
    }
  }
  if (!moved && !seen_leaving(c)) co_return not_seen_leaving(c);
  // safety: H. `migrate` succeeds only when the guest has arrived and the process here has ended. [model: H_migrated]
  auto out = handed_over(c, fmt::format("arrived on {}", c.op.target_host));
  if (out) out->result["migrate_ms"] = std::to_string(took);
  co_return out;
}

Answer undo_live_migrate(Context c) {
  auto job = co_await c.node.vms.migration_progress(c.op.vm);
  if (job && job->job == core::MigrationStats::Job::running) {
    auto asked = co_await c.node.vms.abort_migration(c.op.vm);
    if (!asked && asked.error().code != Errc::conflict) co_return asked.error();
  }
  auto here = co_await settled(c);
  if (!here) co_return here.error();
  if (here->state == DomainState::absent) {
    // Nobody saw it leave, or its legs on the target were shut out of the record while it was on its way (R1).
    // safety: S1. A copy on the target has never run: only H lets it, which this host alone writes and has not.
    co_return done("the guest is gone from " + c.self() + ", and its copy on " + c.op.target_host +
                   " may not run: that one is ended, and it is started again here from its disks");
  }
  co_return done("the VM keeps running on " + c.self());
}

Answer undo_promote_target(Context c) {
  const auto& right = c.vm()->right.value;
  // safety: S1. The record still names the source, so no copy here has ever run: it may be destroyed.
  if (right.host == c.self())
    co_return fail(Errc::conflict, "the right was handed to this host; nothing is undone here");
  auto off = co_await c.node.vms.force_off(c.op.vm);
  if (!off) co_return off.error();
  auto down = co_await c.node.drbd.demote(storage::resource_name(c.op.vm));
  if (!down) co_return down.error();
  co_return done();
}

Answer resume_target(Context c) {
  const auto* vm = c.vm();
  if (vm->right.value.host != c.self()) co_return fail(Errc::conflict, "the record does not name this host");
  auto here = co_await arrived(c);
  if (!here) co_return here.error();
  if (here->state == DomainState::running) co_return done("running");
  if (here->state == DomainState::absent) {
    // Its QEMU died on the way. The disks here are whole and the right is this host's: the window is closed by the
    // steps that follow, then the guest is started again as any that ended by itself.
    co_return done(kEndedOnTheWay);
  }
  if (here->state == DomainState::shutting_down) co_return fail(Errc::unavailable, "the guest is just ending");
  if (here->state != DomainState::paused) {
    co_return fail(Errc::refused, "the guest is " + std::string(core::to_string(here->state)) + " on " + c.self() +
                                      " after the hand-over; look at libvirt there");
  }
  // safety: R6. Not on a record of the past, in which the guest may be another host's by now. [model: R6_distrust]
  if (auto ok = trusted(c.node, c.op.vm); !ok) co_return ok.error();
  // safety: S1. Since the hand-over the source may count this host's silence. [model: F_renewed]
  if (!c.node.facts().renewed) co_return fail(Errc::unavailable, "this host's lease is not renewed now");
  // safety: H. The source committed this record after it saw its own domain gone; it names this host at a new epoch.
  // [model: H_resume]
  core::ResumeProof proof{{c.op.vm, c.self(), c.vm()->right.value.epoch, c.vm()->right.revision}};
  auto resumed = co_await c.node.vms.resume(c.op.vm, proof);
  if (!resumed) {
    // It may have ended between the look and the resume, by this host's own guard for one.
    auto after = co_await settled(c);
    if (after && after->state == DomainState::absent) co_return done(kEndedOnTheWay);
    co_return resumed.error();
  }
  co_return done("running on " + c.self());
}

Answer demote_source(Context c) {
  // By this host's clock alone: from the stop of the guest here to the news that it runs there, which is a little late.
  const auto began = c.node.handover_began.find(c.op.vm);
  std::optional<std::chrono::milliseconds> stood;
  if (began != c.node.handover_began.end()) {
    stood = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began->second);
    c.node.handover_began.erase(began);
  }
  auto out = co_await demote(std::move(c));
  if (out && stood) out->result["downtime_ms"] = std::to_string(stood->count());
  co_return out;
}

Answer confirm(Context c) {
  auto here = co_await settled(c);  // a guest that the guard has just stopped is still going
  if (!here) co_return here.error();
  if (here->state == DomainState::absent) co_return done(kEndedOnTheWay);
  if (here->state != DomainState::running) {
    co_return fail(Errc::refused, "the guest is " + std::string(core::to_string(here->state)) + " on " + c.self());
  }
  core::Outcome out = done("running on " + c.self());
  out.result[core::kRanOn] = c.self();
  auto stats = co_await c.node.vms.completed_migration(c.op.vm);
  if (stats && stats->job == core::MigrationStats::Job::completed) {
    out.result["qemu_downtime_ms"] = std::to_string(stats->downtime_ms);
    out.result["memory_mib"] = std::to_string(stats->memory_processed >> 20U);
  }
  co_return out;
}

}  // namespace bascule::steps
