// L1: when all is healed, every HA VM that should run does, on the one host the record names.
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class GuestsRun final : public Checker {
  void end(Cell& cell) override {
    for (const auto& [name, vm] : cell.view().vms) {
      if (vm.right.revision == 0 || vm.operation.revision != 0 || cell.out_of_legs(vm)) continue;  // L2's business
      const bool wanted = vm.spec.value.power == core::Power::on;
      for (const auto& [host, machine] : cell.machines) {
        const bool should = wanted && vm.right.value.host == host;
        if (machine->guests.contains(name) && !should) cell.violate("L1", name + " has a copy on " + host);
        if (should && !cell.runs(host, name)) cell.violate("L1", name + " does not run on " + host);
      }
    }
  }
};

}  // namespace
std::unique_ptr<Checker> guests_run() { return std::make_unique<GuestsRun>(); }
}  // namespace bascule::sim
