#include "hostd/worker.hpp"

#include <spdlog/spdlog.h>

#include <functional>

#include "hostd/core/right.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/steps/step.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::Result;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kStepTries = 6;  // 1+2+4+8+16 s: outlives a restart of libvirtd or an etcd election
constexpr std::chrono::seconds kFirstPause{1};
constexpr std::chrono::seconds kMendPause{2};  // a remedy that failed is tried again after this long
constexpr int kMendTries = 30;
constexpr int kQuickTries = 3;  // of remedies that fail, before the VM is let go for a while
constexpr std::chrono::seconds kLookAgain{15};
constexpr std::chrono::seconds kAttachPause{60};  // doubled each time, to about an hour
constexpr int kAttachDoublings = 6;

bool worth_another_try(Errc code) {
  return code == Errc::unavailable || code == Errc::timeout || code == Errc::outcome_unknown || code == Errc::stale;
}

core::VmStatus status_of(const core::LocalVm& local, const std::string& waits) {
  core::VmStatus s;
  s.domain = local.domain;
  s.role = local.up ? local.role : "";
  s.connection = local.up ? local.connection : "";
  s.suspended = local.suspended;
  s.volumes = local.volumes;
  s.waits = waits;
  return s;
}

}  // namespace

asio::awaitable<void> Worker::work(std::string id, std::string vm, core::Work work) {
  const auto begin = Clock::now();
  core::Outcome outcome;
  auto wait = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    const auto it = node_.cell.view().operations.find(id);
    if (it == node_.cell.view().operations.end() || core::next_work(it->second.value, node_.self()) != work) break;
    steps::Context context{node_, it->second.value, work.step};
    const std::string step(core::to_string(context.op.steps[work.step].kind));
    spdlog::info("{}: {} {} (try {})", id, work.kind == core::Work::Kind::run ? "step" : "undo of", step, attempt);
    auto answer = work.kind == core::Work::Kind::run ? steps::run(std::move(context)) : steps::undo(std::move(context));
    auto result = co_await std::move(answer);
    if (result) {
      outcome = std::move(*result);
    } else {
      spdlog::warn("{}: {}: {}", id, step, result.error().what);
      if (worth_another_try(result.error().code) && attempt < kStepTries) {
        co_await steps::pause(wait);
        wait *= 2;
        continue;
      }
      outcome = {};
      outcome.error = result.error().what;
    }
    outcome.took_ms = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
    auto committed = co_await node_.cell.end_step(id, work, outcome, wall_ms());
    if (!committed) {
      // The step is idempotent: what it did is found again when it is run anew.
      spdlog::warn("{}: the end of {} is not in the journal: {}", id, step, committed.error().what);
      co_await steps::pause(kFirstPause);
    }
    break;
  }
  busy_ops_.erase(id);
  node_.busy.erase(vm);
  node_.cell.changed().notify();
}

void Worker::start_operations() {
  for (const auto& id : node_.cell.active_operations()) {
    const auto it = node_.cell.view().operations.find(id);
    if (it == node_.cell.view().operations.end()) continue;
    const auto next = core::next_work(it->second.value, node_.self());
    if (next.kind == core::Work::Kind::none || busy_vms_.contains(it->second.value.vm)) continue;
    if (!busy_ops_.insert(id).second) continue;
    const std::string vm = it->second.value.vm;
    node_.busy.insert(vm);
    auto task = work(id, vm, next);
    runtime::run_in_background(node_.cell.changed().executor(), "step " + id, std::move(task));
  }
}

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
      co_return co_await node_.drbd.up_standalone(*resource);
    }
    case Kind::attach_again: {
      auto resource = co_await resolved_resource(node_, vm);
      if (!resource) co_return resource.error();
      auto up = co_await node_.drbd.up_standalone(*resource);
      // Counted only where the disk could be attached: one that is away may come back later.
      if (up && ++node_.local[vm].attached_again >= core::kAttachAgain) {
        auto later = attach_later(vm, kAttachPause * (1 << std::min(attach_pauses_[vm]++, kAttachDoublings)));
        runtime::run_in_background(node_.cell.changed().executor(), "waiting for the disk of " + vm, std::move(later));
      }
      co_return up;
    }
    case Kind::commit_right: {
      auto done = co_await node_.cell.commit_right(vm, remedy.right, remedy.revision, remedy.sentence, wall_ms());
      if (!done) co_return done.error();
      if (remedy.clears_rejoin) node_.local[vm].rejoin_pending = false;
      co_return Result<>{};
    }
    case Kind::add_back: {
      // R3: the revision was read when this was decided; DRBD is asked afresh; the write compares that revision.
      auto seen = co_await steps::look(node_, vm);
      if (!seen) co_return seen.error();
      if (!seen->in_sync()) co_return Result<>{};
      if (auto ok = trusted(node_, vm); !ok) co_return ok;
      const auto* view = node_.cell.view().vm(vm);
      if (view == nullptr || view->right.revision != remedy.revision) co_return Result<>{};
      core::Right right = view->right.value;
      const core::Layout layout = view->layout.value;
      for (const auto& volume : layout.volumes) {
        if (volume.name != remedy.volume) continue;
        for (const auto& leg : volume.legs) {
          auto next = core::add_leg(right, layout, node_.self(), volume.name, leg);
          if (!next) co_return next.error();
          right = std::move(*next);
        }
      }
      // Until this write has a definite end the peer may be in the record: a promise of it is needed (core::guard).
      node_.adding.insert(vm);
      auto done = co_await node_.cell.commit_right(vm, std::move(right), remedy.revision, remedy.sentence, wall_ms());
      if (done || done.error().code != Errc::outcome_unknown) node_.adding.erase(vm);
      if (!done) co_return done.error();
      node_.local[vm].attached_again = 0;
      attach_pauses_.erase(vm);
      // In sync with an UpToDate peer, and so is its record: what was noted against this host's leg is over.
      for (const auto& volume : layout.volumes) {
        const core::Leg* own = volume.name == remedy.volume ? core::leg_of(volume, node_.self()) : nullptr;
        if (own == nullptr) continue;
        auto kept = node_.notes.keep(core::leg_failed(node_.notes.notes(), vm, own->id, false));
        if (!kept) co_return kept;
      }
      co_return Result<>{};
    }
    case Kind::connect: {
      auto resource = co_await resolved_resource(node_, vm);
      if (!resource) co_return resource.error();
      co_return co_await node_.drbd.connect(*resource);
    }
    case Kind::disconnect: co_return co_await node_.drbd.disconnect(name, false);
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
      co_return down;
    }
    // safety: R4. Decided on a record that lists no leg which is not up to date; the adapter lifts hostd's own stop
    // only.
    case Kind::resume_io: co_return co_await node_.drbd.resume_io(name);
  }
  co_return Result<>{};
}

/// R4: a leg has left UpToDate and the record does not say so yet. For one renew_timeout the guest goes on; then its
/// I/O stands still until the record is true, since a write could be confirmed that the next host would not have.
asio::awaitable<void> Worker::stop_if_owed(std::string vm) {
  const auto [since, fresh] = owed_since_.try_emplace(vm, Clock::now());
  if (fresh || Clock::now() - since->second < node_.config.timing.renew_timeout) co_return;
  spdlog::warn("{}: the record still lists a leg that is not up to date: its I/O is stopped until that is changed", vm);
  auto stopped = co_await node_.drbd.suspend_io(storage::resource_name(vm));
  if (!stopped) spdlog::error("{}: its I/O cannot be stopped: {}", vm, stopped.error().what);
}

/// What could not be mended now is not forgotten: nothing else may ever happen to the VM.
asio::awaitable<void> Worker::look_later(std::string vm) {
  co_await steps::pause(kLookAgain);
  node_.touched.insert(vm);
  node_.cell.changed().notify();
}

/// A disk that fails again each time is left alone for ever longer: each try is a resync that the guest pays for.
asio::awaitable<void> Worker::attach_later(std::string vm, std::chrono::seconds after) {
  spdlog::warn("{}: its disk failed again each time it was attached: tried once more in {} s", vm, after.count());
  co_await steps::pause(after);
  const auto local = node_.local.find(vm);
  if (local == node_.local.end() || local->second.attached_again < core::kAttachAgain) co_return;
  local->second.attached_again = core::kAttachAgain - 1;
  node_.touched.insert(vm);
  node_.cell.changed().notify();
}

/// Remedies of one VM, one after the other, until nothing is left to mend.
asio::awaitable<void> Worker::mend(std::string vm) {
  if (window_looked_at_.insert(vm).second) {
    // A window that a crash left open shows only when the kernel is asked.
    auto open = co_await node_.drbd.two_primaries(storage::resource_name(vm));
    const auto it = node_.local.find(vm);
    if (open && it != node_.local.end()) it->second.two_primaries = *open;
    if (!open) window_looked_at_.erase(vm);
  }
  int failed = 0;
  for (int attempt = 0; attempt < kMendTries && failed < kQuickTries; ++attempt) {
    const auto* view = node_.cell.view().vm(vm);
    const auto local = node_.local.find(vm);
    if (view == nullptr || local == node_.local.end()) break;
    if (local->second.domain == core::DomainState::unknown) break;  // libvirt has not been heard: decide nothing
    const auto* holder = node_.cell.view().host(view->right.value.host);
    const auto remedy = core::reconcile(*view, local->second, node_.self(), holder != nullptr && holder->alive());
    // The record is true, whoever has made it so. While an operation holds the VM nobody has looked.
    if (!remedy.shrinks && view->operation.revision == 0) owed_since_.erase(vm);
    if (remedy.kind == core::Remedy::Kind::none) break;
    if (remedy.shrinks) co_await stop_if_owed(vm);
    if (!node_.cell.view().synced && !remedy.needs_no_record) {
      if (!remedy.shrinks) break;
      co_await steps::pause(kMendPause / 4);
      attempt = 0;  // R4: for as long as the record is untrue
      continue;
    }
    spdlog::info("{}: {}", vm, remedy.sentence);
    const auto seen = node_.cell.changed().count();
    auto done = co_await apply(vm, remedy);
    if (!done) spdlog::warn("{}: {}: {}", vm, remedy.sentence, done.error().what);
    failed = done || remedy.shrinks ? 0 : failed + 1;  // R4: for as long as the record is untrue
    // DRBD's event stream tells what became of it; a failed remedy waits longer.
    co_await node_.cell.changed().wait(seen, Clock::now() + kMendPause);
    if (!done) co_await steps::pause(kMendPause);
  }
  if (failed > 0) {
    auto later = look_later(vm);
    runtime::run_in_background(node_.cell.changed().executor(), "looking again at " + vm, std::move(later));
  }
  busy_vms_.erase(vm);
  node_.busy.erase(vm);
  node_.cell.changed().notify();
}

void Worker::start_remedies() {
  std::set<std::string> later;
  for (const auto& vm : std::exchange(look_at_, {})) {
    const auto* view = node_.cell.view().vm(vm);
    if (view == nullptr) continue;
    if (view->operation.revision != 0) {
      window_looked_at_.erase(vm);  // whatever this operation opens: looked at afresh when it releases the VM
      continue;
    }
    if (core::other_host(view->layout.value, node_.self()).empty()) continue;
    node_.local_vm(vm);
    if (busy_vms_.contains(vm)) {
      later.insert(vm);
      continue;
    }
    busy_vms_.insert(vm);
    node_.busy.insert(vm);
    auto task = mend(vm);
    runtime::run_in_background(node_.cell.changed().executor(), "mending " + vm, std::move(task));
  }
  look_at_ = std::move(later);
}

asio::awaitable<void> Worker::publish(std::string vm) {
  for (int attempt = 0; attempt < kMendTries; ++attempt) {
    const auto local = node_.local.find(vm);
    const auto* view = node_.cell.view().vm(vm);
    if (local == node_.local.end() || view == nullptr || view->layout.revision == 0) break;
    const auto waits = node_.waits.find(vm);
    const auto status = status_of(local->second, waits == node_.waits.end() ? "" : waits->second);
    const auto known = view->status.find(node_.self());
    if (known != view->status.end() && known->second == status) break;
    auto done = co_await node_.cell.put_status(vm, status);
    if (!done)
      co_await steps::pause(kMendPause);
    else
      co_await steps::pause(std::chrono::milliseconds(50));  // one write for a burst of changes
  }
  publishing_.erase(vm);
}

/// One batch after each operation that this host ended: the journal grows only then, so nothing needs a clock or a
/// leader, and hosts that come at once lose a compare.
asio::awaitable<void> Worker::forget() {
  auto done = co_await node_.cell.forget_old(wall_ms());
  if (!done) spdlog::info("old operations stay until the next one ends: {}", done.error().what);
  if (done && *done > 0) spdlog::info("{} old operations forgotten", *done);
  forgetting_ = false;
  node_.cell.changed().notify();
}

/// R6: what this host has seen of a record, on its own disk.
void Worker::note(const std::string& vm) {
  const auto* view = node_.cell.view().vm(vm);
  const auto& notes = node_.notes.notes();
  const bool gone = view == nullptr || (view->layout.revision == 0 && view->spec.revision == 0);
  const bool ours = !gone && !core::other_host(view->layout.value, node_.self()).empty();
  if (!gone && !ours) return;
  // A record that vanished while its VM stands is not forgotten: only an operation that removes both is.
  auto kept =
      node_.notes.keep(gone                        ? core::forgotten(notes, vm)
                       : view->right.revision == 0 ? std::nullopt
                                                   : core::noted(notes, vm, view->right.value, view->right.revision));
  if (!kept) spdlog::critical("{}", kept.error().what);
}

void Worker::note_etcd() {
  if (!node_.cell.view().synced) return;
  auto kept = node_.notes.seen(node_.cell.cluster_id(), node_.cell.view().revision);
  if (!kept) spdlog::critical("{}", kept.error().what);
}

asio::awaitable<void> Worker::run() {
  while (true) {
    const auto seen = node_.cell.changed().count();
    start_operations();
    for (const auto& vm : node_.cell.take_changed_vms()) {
      look_at_.insert(vm);
      note(vm);
    }
    note_etcd();
    for (const auto& vm : std::exchange(node_.touched, {})) {
      look_at_.insert(vm);
      if (!publishing_.insert(vm).second) continue;
      auto task = publish(vm);
      runtime::run_in_background(node_.cell.changed().executor(), "publishing " + vm, std::move(task));
    }
    start_remedies();
    if (!forgetting_ && node_.cell.take_ended()) {
      forgetting_ = true;
      auto task = forget();
      runtime::run_in_background(node_.cell.changed().executor(), "forgetting old operations", std::move(task));
    }
    co_await node_.cell.changed().wait(seen, Clock::time_point::max());
  }
}

}  // namespace bascule
