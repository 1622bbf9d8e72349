// Worker's other half: the remedies that core::reconcile names, one after the other.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "hostd/core/right.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/steps/step.hpp"
#include "hostd/worker.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::Result;
using runtime::Clock;

namespace {

constexpr std::chrono::seconds kMendPause{2};         // a remedy that failed is tried again after this long
constexpr std::chrono::milliseconds kOwedPause{500};  // until etcd is looked for again, with R4 owed
constexpr int kMendTries = 30;
constexpr std::chrono::milliseconds kStartedLook{200};
constexpr int kQuickTries = 3;  // of remedies that fail, before the VM is let go for a while
constexpr std::chrono::seconds kLookAgain{15};
constexpr std::chrono::seconds kAttachPause{60};  // doubled each time, to about an hour
constexpr int kAttachDoublings = 6;
// Until a question without a helper counts as lost: drbdadm starts one in well under a second, and one whose hostd was
// restarted asks anew five times a second. Doubled each time, up to the second.
constexpr std::chrono::seconds kHelperGone{5};
constexpr std::chrono::seconds kHelperGoneLongest{60};
constexpr std::chrono::milliseconds kHelperLook{500};

bool waits_for_answer(const core::LocalVm& local) {
  return local.role == "Primary" && local.connection != "Connected" &&
         local.suspended.find("fencing") != std::string::npos;
}

}  // namespace

asio::awaitable<Result<>> Worker::apply(std::string vm, core::Remedy remedy) {
  using Kind = core::Remedy::Kind;
  const std::string name = storage::resource_name(vm);
  switch (remedy.kind) {
    case Kind::none: co_return Result<>{};
    case Kind::bring_up: {
      auto resource = co_await resolved_resource(node_, vm);
      if (!resource) co_return resource.error();
      auto written = co_await node_.drbd.write_config(*resource);
      if (!written) co_return written;
      node_.local[vm].rejoin_pending = true;
      // safety: R5. A leg that lost its disk before comes back only over the link, from one that is whole: its metadata
      // does not know what it missed. [model: R5_noted]
      leave_out_failed(node_, vm, *resource);
      co_return co_await node_.drbd.up_standalone(*resource);
    }
    case Kind::attach_again: co_return co_await attach_again(vm);
    case Kind::commit_right: {
      // safety: R6. A write on a record that went back in time would make it the newest again. [model: R6_distrust]
      if (auto ok = trusted(node_, vm); !ok) co_return ok;
      auto done = co_await node_.cell.commit_right(vm, remedy.right, remedy.revision, remedy.sentence, wall_ms());
      if (!done) co_return done.error();
      if (remedy.shrinks) owed_since_.erase(vm);
      if (remedy.clears_rejoin) node_.local[vm].rejoin_pending = false;
      co_return Result<>{};
    }
    case Kind::swap_leg:
    case Kind::add_back: {
      const bool swap = remedy.kind == Kind::swap_leg;
      if (!swap) co_await forgive(vm);
      // safety: R3. The revision was read when this was decided; DRBD is asked afresh; the write compares that
      // revision. [model: R3_add_back, R3_swap]
      auto seen = co_await steps::look(node_, vm);
      if (!seen) co_return seen.error();
      const auto* wanted = storage::find_volume(seen->resource, remedy.volume);
      if (wanted == nullptr) co_return Result<>{};
      const bool whole =
          swap ? storage::works_on_peer(seen->state, wanted->index) : storage::in_sync(seen->state, wanted->index);
      if (!whole) co_return Result<>{};
      if (auto ok = trusted(node_, vm); !ok) co_return ok;
      const auto* view = node_.cell.view().vm(vm);
      if (view == nullptr || view->right.revision != remedy.revision) co_return Result<>{};
      // Until this write has a definite end the peer may be in the record: its promise is needed (core::guard), by a
      // hostd that is started before that, too.
      if (auto noted = note_adding(node_, vm, view->right); !noted) co_return noted;
      // safety: S1. From this write on another host may count this one's silence: only while it is not silent.
      // [model: F_renewed]
      if (!node_.facts().renewed) co_return core::fail(Errc::unavailable, "this host's lease is not renewed now");
      auto right = swap ? core::swap_leg(view->right.value, view->layout.value, node_.self(), remedy.volume)
                        : core::add_legs(view->right.value, view->layout.value, node_.self(), remedy.volume);
      if (!right) co_return right.error();
      const auto before = node_.adding.find(vm);
      const bool open = before != node_.adding.end() && before->second == remedy.revision;
      node_.adding[vm] = remedy.revision;
      auto done = co_await node_.cell.commit_right(vm, std::move(*right), remedy.revision, remedy.sentence, wall_ms());
      // An earlier one of unknown outcome ends with this one only when the record, or the chain it compares too, has
      // moved: that this one was never sent says nothing of that one.
      const bool ended = done || done.error().code == Errc::stale;
      if (ended || (!open && done.error().code != Errc::outcome_unknown)) node_.adding.erase(vm);
      if (!done) co_return done.error();
      node_.local[vm].attached_again = 0;
      attach_pauses_.erase(vm);
      co_return Result<>{};
    }
    case Kind::connect: {
      auto resource = co_await resolved_resource(node_, vm);
      if (!resource) co_return resource.error();
      co_return co_await node_.drbd.connect(*resource);
    }
    case Kind::disconnect: co_return co_await node_.drbd.disconnect(name, false);
    case Kind::ask_again: {
      auto resource = co_await resolved_resource(node_, vm);
      if (!resource) co_return resource.error();
      if (auto ok = may_promote(node_, vm); !ok) co_return ok;
      node_.local[vm].unasked = false;
      // safety: R1. Lets no I/O go on: the kernel asks anew, and decide_fence answers only after a record was
      // committed. [model: R1_answer]
      co_return co_await node_.drbd.ask_again(*resource);
    }
    case Kind::demote: co_return co_await node_.drbd.demote(name);
    case Kind::close_window: {
      auto shut = co_await node_.drbd.set_two_primaries(name, false);
      if (shut) node_.local[vm].two_primaries = false;
      co_return shut;
    }
    case Kind::destroy_domain: co_return co_await node_.vms.force_off(vm);
    case Kind::fail_io: {
      auto resource = resource_of(node_, vm);
      if (!resource) co_return resource.error();
      node_.local[vm].io_ended = true;  // before: its disks leave by this hostd's hand, not by a fault
      auto ended = co_await node_.drbd.fail_io(*resource);
      if (!ended) co_return ended;
      co_return co_await node_.vms.force_off(vm);
    }
    case Kind::take_down: {
      auto down = co_await node_.drbd.down(name);
      if (down) node_.local[vm].io_ended = false;
      // Its disks were taken away by this hostd; the kernel called its helper for that too.
      if (down) static_cast<void>(node_.notes.drop_lost_disks(vm));
      co_return down;
    }
    case Kind::resume_io: {
      if (auto ok = trusted(node_, vm); !ok) co_return ok;
      auto done = co_await node_.cell.commit_right(vm, remedy.right, remedy.revision, remedy.sentence, wall_ms());
      if (!done) co_return done.error();
      // safety: R4. The record just committed lists no other host's leg but where it is the last, and no remedy runs
      // beside this one that could add one; the adapter lifts hostd's own stop only. [model: R4_resume]
      auto on = co_await node_.drbd.resume_io(name);
      if (on) node_.local[vm].stopped_for_record = false;
      co_return on;
    }
  }
  co_return Result<>{};
}

/// Disks that failed come back: marked as old, then attached, to be resynced from the peer's.
asio::awaitable<Result<>> Worker::attach_again(std::string vm) {
  auto resource = co_await resolved_resource(node_, vm);
  if (!resource) co_return resource.error();
  const auto seen = node_.local[vm].volumes;
  for (auto& volume : resource->volumes) {
    const auto it = seen.find(volume.name);
    // Nothing but what is marked here: another disk may fail meanwhile, and would be attached as if it were whole.
    volume.without_disk = true;
    if (it == seen.end() || it->second.disk != "Diskless" || it->second.peer_disk != "UpToDate") continue;
    // safety: S2, R5. What this leg missed its own metadata does not know, and while its host was a primary without a
    // disk DRBD may take it for the newer one: it is marked Inconsistent first, so that it can only be overwritten.
    // [model: R5_attach_again]
    auto marked = co_await node_.drbd.mark_stale(*resource, volume.name);
    if (!marked) co_return marked;
    // safety: R5. From here on its metadata tells the truth by itself, also after a reset in the midst of the resync:
    // the note is not needed any more. Dropped before it is attached, so that its next failure is noted anew.
    // [model: R5_marked]
    if (auto dropped = drop_note(vm, volume.index); !dropped) co_return dropped;
    volume.without_disk = false;
  }
  auto up = co_await node_.drbd.up_standalone(*resource);
  // Counted only where the disk could be attached: one that is away may come back later.
  if (up && ++node_.local[vm].attached_again >= core::kAttachAgain) {
    auto later = attach_later(vm, kAttachPause * (1 << std::min(attach_pauses_[vm]++, kAttachDoublings)));
    runtime::run_in_background(node_.cell.changed().executor(), "waiting for the disk of " + vm, std::move(later));
  }
  co_return up;
}

void Worker::see_frozen(const std::string& vm) {
  const auto local = node_.local.find(vm);
  if (local == node_.local.end() || !waits_for_answer(local->second) || !frozen_.insert(vm).second) return;
  auto task = watch_frozen(vm);
  runtime::run_in_background(node_.cell.changed().executor(), "the question about " + vm, std::move(task));
}

/// While the I/O of a VM stands still for the kernel's question: is there a helper that waits for the answer?
asio::awaitable<void> Worker::watch_frozen(std::string vm) {
  const std::string resource = storage::resource_name(vm);
  auto asked = Clock::now();
  auto patience = kHelperGone;
  while (true) {
    co_await steps::pause(kHelperLook);
    const auto local = node_.local.find(vm);
    if (local == node_.local.end()) break;
    if (!waits_for_answer(local->second)) {
      local->second.unasked = false;
      break;
    }
    if (node_.helpers(resource) > 0) {
      asked = Clock::now();
      local->second.unasked = false;
    }
    if (Clock::now() - asked < patience) continue;
    asked = Clock::now();
    patience = std::min(patience * 2, kHelperGoneLongest);
    local->second.unasked = true;
    node_.touched.insert(vm);
    node_.cell.changed().notify();
  }
  frozen_.erase(vm);
}

/// R4: a leg has left UpToDate and the record does not say so yet. For one renew_timeout the guest goes on; then its
/// I/O stands still until the record is true, since a write could be confirmed that the next host would not have.
/// Beside the commit, which may wait for etcd much longer than that.
void Worker::owe(const std::string& vm) {
  const auto [since, fresh] = owed_since_.try_emplace(vm, Clock::now());
  if (!fresh) return;
  auto task = stop_while_owed(vm, since->second);
  runtime::run_in_background(node_.cell.changed().executor(), "R4 of " + vm, std::move(task));
}

asio::awaitable<void> Worker::stop_while_owed(std::string vm, Clock::time_point since) {
  // safety: R4. After this the next host could lack what is confirmed here. [model: R4_stop]
  co_await steps::pause(node_.config.timing.renew_timeout);
  const auto still_owed = [&] {
    const auto owed = owed_since_.find(vm);
    return owed != owed_since_.end() && owed->second == since;
  };
  if (!still_owed()) co_return;
  say(msg::io_stopped_for_record, {.vm = vm, .host = node_.self()},
      "{}: the record still lists a leg that is not up to date: its I/O is stopped until that is changed", vm);
  while (still_owed()) {
    auto stopped = co_await node_.drbd.suspend_io(storage::resource_name(vm));
    if (stopped) {
      node_.local[vm].stopped_for_record = true;
      co_return;
    }
    say(msg::io_not_stopped, {.vm = vm, .host = node_.self()}, "{}: its I/O cannot be stopped: {}", vm,
        stopped.error().what);
    co_await steps::pause(kMendPause);
  }
}

/// What could not be mended now is not forgotten: nothing else may ever happen to the VM.
void Worker::look_later(const std::string& vm) {
  if (!later_.insert(vm).second) return;
  auto task = [](Worker& self, std::string name) -> asio::awaitable<void> {
    co_await steps::pause(kLookAgain);
    self.later_.erase(name);
    self.node_.touched.insert(name);
    self.node_.cell.changed().notify();
  };
  runtime::run_in_background(node_.cell.changed().executor(), "looking again at " + vm, task(*this, vm));
}

/// U: what an earlier hostd of this host may have sent for a running guest's record ends with a write of this one.
/// Until then the other host counts as in sync, and without etcd its promise is needed (Guardian::guarded).
asio::awaitable<void> Worker::settle(std::string vm) {
  const auto* view = node_.cell.view().vm(vm);
  const auto local = node_.local.find(vm);
  if (view == nullptr || local == node_.local.end() || view->operation.revision != 0 || node_.settled(*view)) co_return;
  if (view->right.revision == 0 || view->right.value.host != node_.self() ||
      local->second.domain != core::DomainState::running || !trusted(node_, vm)) {
    co_return;
  }
  const std::string peer = core::other_host(view->layout.value, node_.self());
  if (core::insync_everywhere(view->right.value, view->layout.value, peer)) co_return;  // it is asked in any case
  const core::Revision revision = view->right.revision;
  core::Right right = view->right.value;
  auto done = co_await node_.cell.commit_right(vm, std::move(right), revision,
                                               "the first write since hostd was started: no older one can arrive now",
                                               wall_ms());
  if (!done) spdlog::info("{}: {}", vm, done.error().what);
}

/// A disk that fails again each time is left alone for ever longer: each try is a resync that the guest pays for.
asio::awaitable<void> Worker::attach_later(std::string vm, std::chrono::seconds after) {
  say(msg::disk_fails_again, {.vm = vm, .host = node_.self()},
      "{}: its disk failed again each time it was attached: tried once more in {} s", vm, after.count());
  co_await steps::pause(after);
  const auto local = node_.local.find(vm);
  if (local == node_.local.end() || local->second.attached_again < core::kAttachAgain) co_return;
  local->second.attached_again = core::kAttachAgain - 1;
  node_.touched.insert(vm);
  node_.cell.changed().notify();
}

/// DRBD may have told its state before the layout was read from etcd: its volumes had no names then.
asio::awaitable<void> Worker::see_volumes(std::string vm) {
  const auto* view = node_.cell.view().vm(vm);
  const auto local = node_.local.find(vm);
  if (view == nullptr || local == node_.local.end() || !local->second.up) co_return;
  if (local->second.volumes.size() == view->layout.value.volumes.size()) co_return;
  const auto before = local->second.volumes;
  auto fresh = co_await steps::fresh_local(node_, vm);
  if (!fresh) {  // nothing else need ever happen to it, and what is not seen is not kept true (R4)
    say(msg::volumes_unseen, {.vm = vm, .host = node_.self()}, "{}: its volumes are not seen yet: {}", vm,
        fresh.error().what);
    look_later(vm);
    co_return;
  }
  view = node_.cell.view().vm(vm);
  // What was told meanwhile is newer than the answer, and has names already.
  auto& now = node_.local[vm];
  if (now.up && now.volumes == before) now.volumes = fresh->volumes;
  // Told to the others, too: no event of DRBD's need ever come that would.
  node_.touched.insert(vm);
  node_.cell.changed().notify();
  // R5: a primary without a disk has lost it while no hostd looked.
  for (const auto& [name, volume] : now.volumes) {
    if (view == nullptr || now.role != "Primary" || volume.disk != "Diskless") continue;
    const auto wanted = std::ranges::find(view->layout.value.volumes, name, &core::VolumeLayout::name);
    const core::Leg* own = core::leg_of(*wanted, node_.self());
    auto kept = node_.notes.keep(core::leg_failed(node_.notes.notes(), vm, own->id, true));
    tell_unkept(kept, {.vm = vm, .host = node_.self()});
  }
}

/// Remedies of one VM, one after the other, until nothing is left to mend.
asio::awaitable<void> Worker::mend(std::string vm) {
  const auto* held = node_.cell.view().vm(vm);
  const bool own_window = held != nullptr && held->operation.revision != 0;
  if (!own_window && window_looked_at_.insert(vm).second) {
    // A window that a crash left open shows only when the kernel is asked.
    auto open = co_await node_.drbd.two_primaries(storage::resource_name(vm));
    const auto it = node_.local.find(vm);
    if (open && it != node_.local.end()) it->second.two_primaries = *open;
    if (!open) {
      window_looked_at_.erase(vm);
      look_later(vm);
    }
  }
  co_await see_volumes(vm);
  int failed = 0, tries = 0, again = 0;
  std::string before;
  for (; tries < kMendTries && failed < kQuickTries; ++tries) {
    const auto* view = node_.cell.view().vm(vm);
    const auto local = node_.local.find(vm);
    if (view == nullptr || local == node_.local.end()) break;
    if (local->second.domain == core::DomainState::unknown) break;  // libvirt has not been heard: decide nothing
    if (node_.start_untold(vm)) {
      co_await steps::pause(kStartedLook);
      continue;
    }
    const auto* holder = node_.cell.view().host(view->right.value.host);
    local->second.failed_before =
        core::failed_legs(node_.notes.notes(), vm, view->layout.value, node_.self()).has_value();
    const auto remedy = core::reconcile(*view, local->second, node_.self(), holder != nullptr && holder->alive());
    if (!remedy.shrinks) owed_since_.erase(vm);  // the record is true, whoever has made it so
    if (remedy.kind == core::Remedy::Kind::none) {
      co_await forgive(vm);
      co_await settle(vm);
      break;
    }
    if (remedy.shrinks) owe(vm);
    if (!node_.cell.view().synced && !remedy.needs_no_record) {
      if (!remedy.shrinks) break;
      co_await steps::pause(kOwedPause);
      tries = 0;  // R4: for as long as the record is untrue
      continue;
    }
    spdlog::info("{}: {}", vm, remedy.sentence);
    const auto seen = node_.cell.changed().count();
    auto done = co_await apply(vm, remedy);
    if (!done) {
      say(msg::mend_failed, {.vm = vm, .host = node_.self()}, "{}: {}: {}", vm, remedy.sentence, done.error().what);
    }
    failed = done || remedy.shrinks ? 0 : failed + 1;  // R4: for as long as the record is untrue
    // DRBD's event stream tells what became of it; one that failed, or that does not help, waits longer.
    again = remedy.sentence == before ? again + 1 : 0;
    before = remedy.sentence;
    co_await node_.cell.changed().wait(seen, Clock::now() + kMendPause);
    if (!done || again >= kQuickTries) co_await steps::pause(kMendPause);
  }
  if (failed > 0 || tries == kMendTries) look_later(vm);
  busy_vms_.erase(vm);
  node_.mending.erase(vm);
  node_.cell.changed().notify();
}

}  // namespace bascule
