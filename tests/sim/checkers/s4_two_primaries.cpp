// S4: both sides are Primary over a link only while a migration of this VM is in the journal, and never afterwards; the
// window is closed by the migration itself, not some time later.
#include "hostd/codec/codec.hpp"
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

bool both_primary(const DrbdKernel::Pair& pair) {
  const auto primary = storage::Role::primary;
  return pair.sides[0].role == primary && pair.sides[1].role == primary && pair.sides[0].linked && pair.sides[1].linked;
}

class TwoPrimaries final : public Checker {
  void promoted(Cell& cell, const std::string&, const std::string& vm) override {
    if (!both_primary(*cell.drbd.pair(storage::resource_name(vm)))) return;
    const auto& view = cell.view();
    const auto it = view.vms.find(vm);
    if (it == view.vms.end() || it->second.operation.revision == 0 || !it->second.right.value.migrating_to) {
      cell.violate("S4", vm + " is primary on both sides and no migration is marked");
    }
  }
  void committed(Cell& cell, const core::kv::Event& event) override {
    if (event.kind == core::kv::Event::Kind::del || !event.kv.key.starts_with("/bascule/sim/ops/")) return;
    const auto op = codec::decode<core::Operation>(event.kv.value);
    if (!op || op->state != core::OpState::done) return;
    if (op->kind != core::OpKind::vm_migrate && op->kind != core::OpKind::vm_failback) return;
    // Where the link is gone the other side is its own host's to close.
    const std::string resource = storage::resource_name(op->vm);
    if (op->steps.size() > 2 && cell.drbd.side(resource, op->target_host).two_primaries) {
      cell.violate("S4", op->vm + ": its migration has ended and the window stands open on " + op->target_host);
    }
  }
  void end(Cell& cell) override {
    for (const auto& [resource, pair] : cell.drbd.pairs()) {
      // Its migration is in the journal still, and cannot end: no leg is left, and QEMU waits for its disk (L2).
      const auto* vm = cell.view().vm(std::string(storage::vm_of(resource)));
      if (vm != nullptr && vm->operation.revision != 0 && cell.out_of_legs(*vm)) continue;
      const bool open = pair.sides[0].two_primaries || pair.sides[1].two_primaries;
      if (open || both_primary(pair)) cell.violate("S4", resource + ": the window was left open");
    }
  }
};

}  // namespace
std::unique_ptr<Checker> two_primaries() { return std::make_unique<TwoPrimaries>(); }
}  // namespace bascule::sim
