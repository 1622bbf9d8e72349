// The window of a migration: the time in which DRBD allows two primaries (S4). migrate.cpp has the steps around it.
#include "hostd/steps/step.hpp"

namespace bascule::steps {
using core::DomainState;
using core::Errc;
using core::fail;

namespace {

Answer opened_window(Context c) {
  const auto& right = c.vm()->right;
  // safety: S4. The window opens only under a committed record that marks this migration and names this host.
  // [model: S4_window]
  if (right.value.host != c.self() || right.value.migrating_to != c.op.target_host) {
    co_return fail(Errc::conflict, "the record does not mark this migration");
  }
  if (!c.node.settled(*c.vm()) || c.node.winning.contains(c.op.vm)) {
    // safety: S4, U. An R1 that was sent before, by this hostd or an earlier one, would take the mark away behind the
    // open window. It ends with this write. [model: U_window]
    if (auto ok = trusted(c.node, c.op.vm); !ok) co_return ok.error();
    auto same = right.value;
    auto written = co_await c.node.cell.commit_right(
        c.op.vm, std::move(same), right.revision, "before the window opens: no older write can arrive now", wall_ms());
    if (!written) co_return written.error();
    c.node.winning.erase(c.op.vm);
  }
  auto open = co_await c.node.drbd.set_two_primaries(storage::resource_name(c.op.vm), true);
  if (!open) co_return open.error();
  co_return done();
}

}  // namespace

Answer open_window(Context c) {
  Node& node = c.node;
  const std::string name = c.op.vm;
  node.opening.insert(name);
  auto answer = opened_window(std::move(c));
  auto outcome = co_await std::move(answer);
  node.opening.erase(name);
  co_return outcome;
}

Answer undo_open_window(Context c) {
  const auto* vm = c.vm();
  if (vm->right.value.host != c.self()) co_return fail(Errc::conflict, "the right is not this host's any more");
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state == DomainState::paused) {
    // safety: S1. The record names this host; the undo of promote-target, which ran before this one, has destroyed the
    // only other copy.
    core::ResumeProof proof{{c.op.vm, c.self(), c.vm()->right.value.epoch, c.vm()->right.revision}};
    auto resumed = co_await c.node.vms.resume(c.op.vm, proof);
    if (!resumed) co_return resumed.error();
  }
  auto shut = co_await c.node.drbd.set_two_primaries(storage::resource_name(c.op.vm), false);
  if (!shut) co_return shut.error();
  co_return done();
}

Answer close_window(Context c) {
  auto shut = co_await c.node.drbd.set_two_primaries(storage::resource_name(c.op.vm), false);
  // The kernel refuses while it takes the other side for Primary. That one was demoted, but a link that was cut before
  // the news came is noticed only after DRBD's ping: asked again until then.
  if (!shut) co_return fail(Errc::unavailable, shut.error().what);
  co_return done();
}

}  // namespace bascule::steps
