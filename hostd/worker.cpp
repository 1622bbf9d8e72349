#include "hostd/worker.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <functional>

#include "hostd/core/explain.hpp"
#include "hostd/core/right.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/steps/step.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::Result;
using runtime::Clock;

namespace {

constexpr int kStepTries = 6;  // 1+2+4+8+16 s: outlives a restart of libvirtd or an etcd election
constexpr std::chrono::seconds kFirstPause{1};
constexpr std::chrono::seconds kPublishPause{2};  // between two attempts to write a status
constexpr int kPublishTries = 30;
/// A status that is still untold is told again this often: the last write's end may be unknown, and a watch that says
/// nothing more wakes nobody.
constexpr std::chrono::seconds kSweep{15};
constexpr std::chrono::seconds kLookRound{60};  // at what nobody tells: a command for each leg that is behind

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
    if (!node_.cell.refusal().empty()) break;
    steps::Context context{node_, it->second.value, work.step};
    const std::string step(core::to_string(context.op.steps[work.step].kind));
    spdlog::info("{}: {} {} (try {})", id, work.kind == core::Work::Kind::run ? "step" : "undo of", step, attempt);
    auto answer = work.kind == core::Work::Kind::run ? steps::run(std::move(context)) : steps::undo(std::move(context));
    auto result = co_await std::move(answer);
    // safety: R6. A step's end may write the record: not one that this host knows to be of the past.
    // [model: R6_distrust]
    if (result && result->right && result->right_revision != 0) {
      if (auto ok = trusted(node_, vm); !ok) result = ok.error();
    }
    if (result) {
      outcome = std::move(*result);
    } else {
      say(msg::step_failed, {.vm = vm, .host = node_.self(), .operation = id}, "{}: {}: {}", id, step,
          result.error().what);
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
      say(msg::step_not_recorded, {.vm = vm, .host = node_.self(), .operation = id},
          "{}: the end of {} is not in the journal: {}", id, step, committed.error().what);
      co_await steps::pause(kFirstPause);
    }
    break;
  }
  busy_ops_.erase(id);
  node_.busy.erase(vm);
  node_.cell.changed().notify();
}

void Worker::start_operations() {
  // safety: S1, R2. The view stands still while this host renews its lease: what it shows may be another's by now.
  // [model: R6_distrust]
  if (!node_.cell.refusal().empty()) return;
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

void Worker::start_remedies() {
  std::set<std::string> later;
  for (const auto& vm : std::exchange(look_at_, {})) {
    const auto* view = node_.cell.view().vm(vm);
    if (view == nullptr) continue;
    if (core::other_host(view->layout.value, node_.self()).empty()) continue;
    const auto& local = node_.local_vm(vm);
    if (view->operation.revision != 0) {
      window_looked_at_.erase(vm);  // whatever this operation opens: looked at afresh when it releases the VM
      if (core::reconcile(*view, local, node_.self(), true).kind == core::Remedy::Kind::none) continue;
    }
    if (busy_vms_.contains(vm)) {
      later.insert(vm);
      continue;
    }
    busy_vms_.insert(vm);
    node_.mending.insert(vm);
    auto task = mend(vm);
    runtime::run_in_background(node_.cell.changed().executor(), "mending " + vm, std::move(task));
  }
  look_at_ = std::move(later);
}

/// What the record does not say of a VM here; nothing when it says it all.
std::optional<core::VmStatus> Worker::untold(const std::string& vm) const {
  const auto local = node_.local.find(vm);
  const auto* view = node_.cell.view().vm(vm);
  if (local == node_.local.end() || view == nullptr || view->layout.revision == 0) return {};
  const auto waits = node_.waits.find(vm);
  auto status = status_of(local->second, waits == node_.waits.end() ? "" : waits->second);
  const auto known = view->status.find(node_.self());
  // That its guest has switched itself off stands in the record alone, should this hostd end before it judges again.
  const bool off = local->second.reason == core::DomainReason::guest_shutdown && view->operation.revision == 0 &&
                   view->right.value.host == node_.self() && view->spec.value.power == core::Power::on;
  if (off && status.waits.empty() && known != view->status.end() && core::own_act(known->second)) {
    status.waits = known->second.waits;
  }
  if (known != view->status.end() && known->second == status) return {};
  return status;
}

asio::awaitable<void> Worker::publish(std::string vm) {
  for (int attempt = 0; attempt < kPublishTries; ++attempt) {
    auto status = untold(vm);
    if (!status) break;
    auto done = co_await node_.cell.put_status(vm, std::move(*status));
    if (!done)
      co_await steps::pause(kPublishPause);
    else
      co_await steps::pause(std::chrono::milliseconds(50));  // one write for a burst of changes
  }
  publishing_.erase(vm);
}

/// `publish` does not try for ever.
void Worker::touch_untold() {
  for (const auto& [vm, local] : node_.local) {
    if (untold(vm)) node_.touched.insert(vm);
  }
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
  // safety: R6. A record that vanished while its VM stands is not forgotten: only an operation that removes both is.
  // [model: R6_note]
  auto kept = node_.notes.keep(gone ? core::forgotten(notes, vm)
                               : view->right.revision == 0
                                   ? std::nullopt
                                   : core::noted(notes, vm, node_.self(), view->right.value, view->right.revision));
  tell_unkept(kept, {.host = node_.self()});
  if (gone) static_cast<void>(node_.notes.drop_lost_disks(vm));
  if (gone || view->layout.revision == 0) return;
  // R5: what the kernel's helper wrote down while no hostd looked.
  auto named = node_.notes.keep(core::legs_named(notes, vm, view->layout.value, node_.self()));
  tell_unkept(named, {.host = node_.self()});
}

/// The own legs that are noted and that DRBD, asked now, has in sync: connected, both UpToDate, nothing left to send.
asio::awaitable<Result<std::vector<std::uint16_t>>> Worker::whole_again(std::string vm) {
  std::vector<std::uint16_t> out;
  auto seen = co_await steps::look(node_, vm);
  if (!seen) {
    look_later(vm);
    co_return seen.error();
  }
  const auto* view = node_.cell.view().vm(vm);
  if (view == nullptr) co_return out;
  for (std::uint16_t i = 0; i < view->layout.value.volumes.size(); ++i) {
    const bool noted = core::leg_noted(node_.notes.notes(), vm, view->layout.value, i, node_.self());
    if (noted && storage::in_sync(seen->state, i)) out.push_back(i);
  }
  co_return out;
}

/// What is noted against an own leg, and the helper's file, which would be taken for a new failure at the next start:
/// that first, with what it says in the notes by then.
Result<> Worker::drop_note(const std::string& vm, std::uint16_t volume) {
  const auto* view = node_.cell.view().vm(vm);
  if (view == nullptr || volume >= view->layout.value.volumes.size()) return Result<>{};
  const core::Leg* own = core::leg_of(view->layout.value.volumes[volume], node_.self());
  if (own == nullptr) return Result<>{};
  auto kept = node_.notes.keep(core::legs_named(node_.notes.notes(), vm, view->layout.value, node_.self()));
  if (kept) kept = node_.notes.drop_lost_disk(vm, volume);
  if (kept) kept = node_.notes.keep(core::leg_failed(node_.notes.notes(), vm, own->id, false));
  return kept;
}

/// R5: a leg that had lost its disk is in sync with an up-to-date peer again: what was noted against it is over, on
/// whichever side it is. Each volume for itself and before the record lists the leg: the record may come to list it as
/// the only one of its volume while another volume is still resynced, and a listed leg is to be one that can be used.
asio::awaitable<void> Worker::forgive(std::string vm) {
  const auto* view = node_.cell.view().vm(vm);
  // The kernel's helper may have written later than the look that brought the disk back: found at the next start only,
  // its file would leave out a leg that is whole.
  const bool brought_back = view != nullptr && node_.local[vm].attached_again > 0;
  for (const auto volume : brought_back ? node_.notes.lost_disks(vm) : std::vector<std::uint16_t>{}) {
    if (core::leg_noted(node_.notes.notes(), vm, view->layout.value, volume, node_.self())) continue;
    tell_unkept(node_.notes.keep(core::disk_lost(node_.notes.notes(), vm, volume)), {.vm = vm, .host = node_.self()});
  }
  const auto noted = [&] { return core::failed_legs(node_.notes.notes(), vm, view->layout.value, node_.self()); };
  if (view == nullptr || !noted()) co_return;
  auto whole = co_await whole_again(vm);
  view = node_.cell.view().vm(vm);
  if (!whole || whole->empty() || view == nullptr) co_return;
  // First what would be taken for a new failure at the next start; what is not over is safe in the notes by then.
  const auto& notes = node_.notes.notes();
  auto kept = node_.notes.keep(core::legs_named(notes, vm, view->layout.value, node_.self()).value_or(notes));
  for (const auto volume : *whole) {
    if (kept) kept = node_.notes.drop_lost_disk(vm, volume);
  }
  // safety: R5. Asked again: a failure whose file has just gone is seen here. Connected, both UpToDate and nothing out
  // of sync, so nothing is missing any more. [model: R5_forgive]
  if (kept) whole = co_await whole_again(vm);
  view = node_.cell.view().vm(vm);
  if (!whole || view == nullptr) co_return;
  for (const auto volume : *whole) {
    const core::Leg* own = core::leg_of(view->layout.value.volumes[volume], node_.self());
    if (kept) kept = node_.notes.keep(core::leg_failed(node_.notes.notes(), vm, own->id, false));
  }
  tell_unkept(kept, {.vm = vm, .host = node_.self()});
  if (!noted()) say(msg::disk_whole, {.vm = vm, .host = node_.self()}, "{}: its legs here are whole again", vm);
}

/// Why a guest is gone libvirt tells once. That one has switched itself off, which keeps hostd from starting it, is
/// read from the record by a hostd that was restarted, and is over once the right has gone elsewhere.
void Worker::stays_off(const std::string& vm) {
  using core::DomainReason;
  const auto* view = node_.cell.view().vm(vm);
  if (view == nullptr || view->layout.revision == 0) return;
  const bool first = node_.read.insert(vm).second;
  const bool ours = view->right.value.host == node_.self();
  const auto told = view->status.find(node_.self());
  const bool off = first && ours && told != view->status.end() && core::own_act(told->second);
  if (off) node_.local_vm(vm);
  const auto local = node_.local.find(vm);
  if (local == node_.local.end()) return;
  const auto domain = local->second.domain;
  auto& reason = local->second.reason;
  if (domain != core::DomainState::absent && domain != core::DomainState::unknown) return;
  if (off && reason == DomainReason::other) reason = DomainReason::guest_shutdown;
  if (!ours && view->right.revision != 0 && reason == DomainReason::guest_shutdown) reason = DomainReason::other;
}

/// What nobody tells: how much a leg is behind, which DRBD says only when a state changes, and that a pool was grown. A
/// figure is taken over where nothing else has changed since.
asio::awaitable<void> Worker::measure() {
  std::vector<std::string> behind;
  for (const auto& [vm, local] : node_.local) {
    const bool sends =
        local.up && local.role == "Primary" && std::ranges::any_of(local.volumes, [](const auto& volume) {
          return volume.second.replication != "Established";
        });
    if (sends) behind.push_back(vm);
  }
  for (const auto& vm : behind) {
    auto state = co_await node_.drbd.query(storage::resource_name(vm));
    const auto local = node_.local.find(vm);
    if (!state || local == node_.local.end()) continue;
    core::LocalVm now = local->second;
    note_state(now, *state, node_.cell.view().vm(vm));
    bool moved = false;
    for (auto& [name, volume] : local->second.volumes) {
      auto seen = now.volumes[name];
      const auto kib = std::exchange(seen.out_of_sync_kib, volume.out_of_sync_kib);
      if (seen != volume || kib == volume.out_of_sync_kib) continue;
      volume.out_of_sync_kib = kib;
      moved = true;
    }
    if (!moved) continue;
    node_.touched.insert(vm);
    node_.cell.changed().notify();
  }
  if (node_.cell.view().synced) co_await publish_free_space(node_, true);
  measuring_ = false;
}

void Worker::note_etcd() {
  if (!node_.cell.view().synced) return;
  if (node_.first_read == 0) node_.first_read = node_.cell.view().revision;
  auto kept = node_.notes.seen(node_.cell.cluster_id(), node_.cell.view().revision);
  tell_unkept(kept, {.host = node_.self()});
  std::map<std::string, std::string> addresses;
  for (const auto& [id, host] : node_.cell.view().hosts) {
    if (id != node_.self() && host.info.revision != 0) addresses[id] = host.info.value.api_address;
  }
  kept = node_.notes.keep(core::noted_addresses(node_.notes.notes(), std::move(addresses)));
  tell_unkept(kept, {.host = node_.self()});
}

asio::awaitable<void> Worker::run() {
  auto sweep = Clock::now() + kSweep;
  auto look = Clock::now() + kLookRound;
  while (true) {
    const auto seen = node_.cell.changed().count();
    start_operations();
    if (Clock::now() >= sweep) {
      sweep = Clock::now() + kSweep;
      if (node_.cell.view().synced) touch_untold();
      if (Clock::now() >= look && !std::exchange(measuring_, true)) {
        look = Clock::now() + kLookRound;
        runtime::run_in_background(node_.cell.changed().executor(), "looking how far legs are behind", measure());
      }
      // Legs that wait for a silent holder: that it is back changes nothing of the VM, and no event tells.
      for (const auto& [vm, local] : node_.local) {
        if (local.connection == "StandAlone") look_at_.insert(vm);
      }
    }
    for (const auto& vm : node_.cell.take_changed_vms()) {
      look_at_.insert(vm);
      note(vm);
      stays_off(vm);
      // What was told may arrive after it has passed: by a watch that lags, or by a write without a known end (U).
      if (untold(vm)) node_.touched.insert(vm);
    }
    note_etcd();
    // What could not be decided without etcd is looked at again when it is back.
    if (node_.cell.view().synced && !std::exchange(was_synced_, true)) {
      for (const auto& [vm, local] : node_.local) look_at_.insert(vm);
      touch_untold();
    }
    was_synced_ = node_.cell.view().synced;
    for (const auto& vm : std::exchange(node_.touched, {})) {
      look_at_.insert(vm);
      see_frozen(vm);
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
    co_await node_.cell.changed().wait(seen, sweep);
  }
}

}  // namespace bascule
