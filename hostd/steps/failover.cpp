// The step that takes the run-right of a lost host (R2). Automatic or asked by a person, it is the same.
#include <fmt/format.h>

#include "hostd/core/ha.hpp"
#include "hostd/steps/step.hpp"

namespace bascule::steps {
using core::DomainState;
using core::Errc;
using core::fail;
using core::Result;
using runtime::Clock;

namespace {
constexpr std::chrono::milliseconds kLook{200};
constexpr std::chrono::seconds kGrace{10};  // beyond the takeover time: a person may ask before it has run out

bool worth_waiting(Errc code) { return code == Errc::conflict || code == Errc::unavailable; }
}  // namespace

Answer take_right(Context c) {
  const auto& timing = c.node.config.timing;
  const auto until = Clock::now() + timing.takeover + timing.verifications * timing.renew + kGrace;
  const std::string name = storage::resource_name(c.op.vm);
  while (true) {
    const auto* vm = c.vm();
    if (vm == nullptr) co_return fail(Errc::conflict, "the VM is gone");
    const std::string lost = vm->right.value.host;
    const auto named = c.op.result.find("sacrificed");
    const core::Signed by_hand{c.op.result.contains("stated_off"), named != c.op.result.end() && named->second == lost};
    if (auto ok = may_promote(c.node, c.op.vm); !ok) co_return ok.error();
    if (lost == c.self()) co_return fail(Errc::conflict, "this host holds the run-right already");
    // Read before anything is asked of DRBD: a renewal after this defeats the transaction.
    const core::Revision right_revision = vm->right.revision;
    const auto* holder = c.node.cell.view().host(lost);
    const core::Revision lease_revision = holder == nullptr ? 0 : holder->lease.revision;
    auto local = co_await fresh_local(c.node, c.op.vm);
    if (!local) co_return local.error();
    vm = c.vm();
    auto may = core::may_take_over(c.node.cell.view(), *vm, *local, c.node.facts(), timing, c.self(), by_hand);
    if (!may) {
      if (!worth_waiting(may.error().code) || Clock::now() >= until) co_return fail(Errc::refused, may.error().what);
      co_await pause(kLook);
      continue;
    }
    if (local->connection != "StandAlone") {
      // safety: R2. From here on the old holder cannot come back between the transaction and the promotion. Forced: a
      // plain disconnect would mark this leg Outdated. [model: R2_standalone]
      auto cut = co_await c.node.drbd.disconnect(name, true);
      if (!cut) co_return cut.error();
      continue;
    }
    // A copy that waits here for its source is of before the loss; the record does not name this host, so it never ran.
    auto off = co_await c.node.vms.force_off(c.op.vm);
    if (!off) co_return off.error();
    vm = c.vm();
    if (vm->right.revision != right_revision) continue;
    auto next = by_hand.sacrifice ? core::take_sacrificing(vm->right.value, vm->layout.value, c.self())
                                  : core::take(vm->right.value, vm->layout.value, c.self());
    if (!next) co_return next.error();
    core::Outcome out = done(fmt::format("taken from {} (epoch {})", lost, next->epoch));
    // safety: R2. `may_take_over` was true after DRBD was asked and the link was cut here; the transaction compares the
    // record and the holder's lease as they were before that, and this operation holds the VM's definition.
    // [model: R2_take, R2_lease]
    out.right = std::move(*next);
    out.right_revision = right_revision;
    out.lease_of = lost;
    out.lease_revision = lease_revision;
    co_return out;
  }
}

}  // namespace bascule::steps
