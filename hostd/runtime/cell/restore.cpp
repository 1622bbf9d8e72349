// A backup file is written back, part by part: each part is one transaction with its audit record.
#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/cell/txn.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

asio::awaitable<Result<core::RestorePlan>> CellStore::restore(core::RestoreStep step, core::Who who, std::string reason,
                                                              core::WallMs now) {
  core::RestorePlan plan;
  bool nothing = false;
  auto done = co_await commit([&]() -> Result<Draft> {
    auto made = core::plan_restore(view_, step);
    if (!made) return made.error();
    plan = std::move(*made);
    nothing = plan.unchanged || step.dry_run;
    if (nothing) return fail(Errc::cancelled, "nothing to write");
    Draft d;
    d.key = keys::restore(root_);
    d.value = codec::encode(plan.next);
    expect(d.txn, d.key, plan.compare);
    runtime::put(d.txn, d.key, d.value);
    core::AuditRecord record;
    record.who = who;
    record.why = reason;
    record.what = plan.what;
    record.object = "cell";
    record.result = plan.result;
    if (step.kind == core::RestoreStep::Kind::vm) {
      const std::string& vm = step.spec.name;
      record.object = "vm/" + vm;
      record.project = step.spec.project;
      expect(d.txn, keys::vm_spec(root_, vm), 0);
      expect(d.txn, keys::vm_layout(root_, vm), 0);
      expect(d.txn, keys::vm_right(root_, vm), 0);
      runtime::put(d.txn, keys::vm_spec(root_, vm), codec::encode(step.spec));
      runtime::put(d.txn, keys::vm_layout(root_, vm), codec::encode(step.layout));
      runtime::put(d.txn, keys::vm_restored(root_, vm), codec::encode(step.restored));
    }
    // It compares the chain's end, which every request moves: at the beginning there is none, so the cell is empty.
    add_audit(d.txn, {record}, now);
    return d;
  });
  if (!done && !nothing) co_return done.error();
  co_return plan;
}

}  // namespace bascule::runtime
