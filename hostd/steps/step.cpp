#include "hostd/steps/step.hpp"

#include <fmt/format.h>

namespace bascule::steps {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using core::StepKind;

bool Context::cancelled() const {
  const auto& operations = node.cell.view().operations;
  const auto it = operations.find(op.id);
  return it != operations.end() && it->second.value.cancel_requested;
}

asio::awaitable<void> Context::progress(core::Progress progress) const {
  progress.step = std::string(core::to_string(op.steps[index].kind));
  auto ignored = co_await node.cell.put_progress(op.id, std::move(progress));
  static_cast<void>(ignored);
}

core::Outcome done(std::string note) {
  core::Outcome out;
  out.ok = true;
  out.note = std::move(note);
  return out;
}

std::string Look::describe() const {
  std::string out(storage::to_string(state.connection));
  for (const auto& [number, volume] : state.volumes) {
    out += fmt::format(", volume {}: {}/{} {}", number, storage::to_string(volume.disk),
                       storage::to_string(volume.peer_disk), storage::to_string(volume.replication));
  }
  return out;
}

asio::awaitable<Result<Look>> look(Node& node, std::string vm) {
  auto resource = resource_of(node, vm);
  if (!resource) co_return resource.error();
  auto state = co_await node.drbd.query(storage::resource_name(vm));
  if (!state) co_return state.error();
  co_return Look{std::move(*resource), std::move(*state)};
}

asio::awaitable<Result<core::LocalVm>> fresh_local(Node& node, std::string vm) {
  auto state = co_await node.drbd.query(storage::resource_name(vm));
  if (!state) co_return state.error();
  core::LocalVm local = node.local_vm(vm);
  note_state(local, *state, node.cell.view().vm(vm));
  co_return local;
}

asio::awaitable<Result<>> claim_and_promote(Node& node, std::string vm, std::string why, Start start,
                                            storage::Force force) {
  const core::VmView* view = node.cell.view().vm(vm);
  if (view == nullptr || view->right.revision == 0) co_return fail(Errc::conflict, "the VM has no run-right");
  if (auto ok = may_promote(node, vm); !ok) co_return ok.error();
  const core::Revision read_at = view->right.revision;
  auto next = core::claim(view->right.value, view->layout.value, node.self());
  if (!next) co_return next.error();
  auto seen = co_await look(node, vm);
  if (!seen) co_return seen.error();
  if (auto fit = storage::check_promotable(seen->state, seen->resource, force); !fit) co_return fit.error();
  // Counted in the record: a guest that never stays up is not started for ever.
  if (start == Start::automatic) ++next->restarts;
  if (start == Start::asked) next->restarts = 0;
  const std::int64_t epoch = next->epoch;
  auto committed = co_await node.cell.commit_right(vm, std::move(*next), read_at, std::move(why), wall_ms());
  if (!committed) co_return committed.error();
  // safety: R2. The transaction above found this host as holder, in sync on every volume, with no migration marked,
  // and its disks were read Consistent or UpToDate just before; the peer's kernel refuses if it is Primary itself.
  // [model: R2_claim, R2_promote]
  storage::PromotionProof proof{vm, node.self(), epoch, *committed, force};
  co_return co_await node.drbd.promote(storage::resource_name(vm), proof);
}

Answer run(Context c) {
  switch (c.op.steps[c.index].kind) {
    case StepKind::make_leg: return make_leg(std::move(c));
    case StepKind::connect: return connect(std::move(c));
    case StepKind::skip_first_sync: return skip_first_sync(std::move(c));
    case StepKind::grant: return grant(std::move(c));
    case StepKind::join_peer: return join_peer(std::move(c));
    case StepKind::fill: return fill(std::move(c));
    case StepKind::hand_over: return hand_over(std::move(c));
    case StepKind::admit_start: return admit_start(std::move(c));
    case StepKind::take_right: return take_right(std::move(c));
    case StepKind::promote: return promote(std::move(c));
    case StepKind::start_domain: return start_domain(std::move(c));
    case StepKind::shutdown: return shutdown(std::move(c));
    case StepKind::destroy: return destroy(std::move(c));
    case StepKind::reset: return reset(std::move(c));
    case StepKind::demote: return demote(std::move(c));
    case StepKind::demote_source: return demote_source(std::move(c));
    case StepKind::admit_migration: return admit_migration(std::move(c));
    case StepKind::mark_migration: return mark_migration(std::move(c));
    case StepKind::prepare_target: return prepare_target(std::move(c));
    case StepKind::open_window: return open_window(std::move(c));
    case StepKind::promote_target: return promote_target(std::move(c));
    case StepKind::live_migrate: return live_migrate(std::move(c));
    case StepKind::resume_target: return resume_target(std::move(c));
    case StepKind::close_window: return close_window(std::move(c));
    case StepKind::confirm: return confirm(std::move(c));
    case StepKind::grow_leg: return grow_leg(std::move(c));
    case StepKind::resize_drbd: return resize_drbd(std::move(c));
    case StepKind::resize_guest_disk: return resize_guest_disk(std::move(c));
    case StepKind::record_size: return record_size(std::move(c));
    case StepKind::verify: return verify(std::move(c));
    case StepKind::seed_leg: return seed_leg(std::move(c));
    case StepKind::snapshot_leg: return snapshot_leg(std::move(c));
    case StepKind::await_sync: return await_sync(std::move(c));
    case StepKind::cut_link: return cut_link(std::move(c));
    case StepKind::compare_legs: return compare_legs(std::move(c));
    case StepKind::await_approval: return await_approval(std::move(c));
    case StepKind::discard_leg: return discard_leg(std::move(c));
    case StepKind::survey_legs: return survey_legs(std::move(c));
    case StepKind::confirm_legs: return confirm_legs(std::move(c));
    case StepKind::adopt_right: return adopt_right(std::move(c));
    case StepKind::prove_watchdog: return prove_watchdog(std::move(c));
    case StepKind::drop_right: return drop_right(std::move(c));
    case StepKind::remove_leg: return remove_leg(std::move(c));
    case StepKind::remove_image: return remove_image(std::move(c));
  }
  core::check_failed("step has a function", __FILE__, __LINE__);
}

namespace {
/// A step that changed nothing which must be taken back.
Answer nothing_to_undo(Context) { co_return done(); }
}  // namespace

Answer undo(Context c) {
  switch (c.op.steps[c.index].kind) {
    case StepKind::admit_start: return undo_use_failed_disks(std::move(c));
    case StepKind::make_leg: return undo_make_leg(std::move(c));
    case StepKind::fill:
    case StepKind::seed_leg:
    case StepKind::promote: return demote(std::move(c));
    case StepKind::start_domain: return destroy(std::move(c));
    case StepKind::mark_migration: return unmark_migration(std::move(c));
    case StepKind::open_window: return undo_open_window(std::move(c));
    case StepKind::promote_target: return undo_promote_target(std::move(c));
    case StepKind::live_migrate: return undo_live_migrate(std::move(c));
    case StepKind::connect:
    case StepKind::skip_first_sync:
    case StepKind::grant:
    case StepKind::join_peer:
    case StepKind::hand_over:
    case StepKind::take_right:  // taken is taken: the VM is this host's now
    case StepKind::shutdown:
    case StepKind::destroy:
    case StepKind::reset:
    case StepKind::demote:
    case StepKind::demote_source:
    case StepKind::admit_migration:
    case StepKind::prepare_target:
    case StepKind::resume_target:
    case StepKind::close_window:
    case StepKind::confirm:
    case StepKind::grow_leg:
    case StepKind::resize_drbd:
    case StepKind::resize_guest_disk:
    case StepKind::record_size:
    case StepKind::verify:
    case StepKind::snapshot_leg:
    case StepKind::await_sync:
    case StepKind::cut_link:
    case StepKind::compare_legs:
    case StepKind::await_approval:
    case StepKind::discard_leg:
    case StepKind::survey_legs:
    case StepKind::confirm_legs:
    case StepKind::adopt_right:
    case StepKind::prove_watchdog:
    case StepKind::drop_right:
    case StepKind::remove_leg:
    case StepKind::remove_image: return nothing_to_undo(std::move(c));
  }
  core::check_failed("step has an undo", __FILE__, __LINE__);
}

}  // namespace bascule::steps
