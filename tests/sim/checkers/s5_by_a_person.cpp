// S5: no leg with a write of its own that was confirmed is resynced over, and nothing goes back by itself.
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class ByAPerson final : public Checker {
  void resync(Cell& cell, const std::string& vm, std::uint16_t volume, const DrbdKernel::Leg& source,
              const DrbdKernel::Leg& target) override {
    const auto write = cell.acknowledged[vm][volume];
    if (source.mixed && !target.mixed) {
      cell.violate("S5", vm + "/" + std::to_string(volume) + ": a whole leg is resynced from half a one");
    }
    if (!cell.drbd.writes.holds(source.content, write) && cell.drbd.writes.holds(target.content, write)) {
      cell.violate("S5", vm + "/" + std::to_string(volume) + ": confirmed writes are resynced over");
    }
  }
  void end(Cell& cell) override {
    for (const auto& [id, op] : cell.view().operations) {
      const bool back = op.value.kind == core::OpKind::vm_failback || op.value.kind == core::OpKind::volume_repair;
      if (back && op.value.author.role != "operator") cell.violate("S5", id + " was not asked by a person");
    }
  }
};

}  // namespace
std::unique_ptr<Checker> by_a_person() { return std::make_unique<ByAPerson>(); }
}  // namespace bascule::sim
