// L3: when all is healed, both legs of every volume are in sync by DRBD and by the record.
#include "hostd/core/right.hpp"
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class VolumesInSync final : public Checker {
  void end(Cell& cell) override {
    for (const auto& [name, vm] : cell.view().vms) {
      if (vm.right.revision == 0 || vm.operation.revision != 0 || cell.out_of_legs(vm)) continue;
      const auto& layout = vm.layout.value;
      for (const auto& leg : layout.volumes.front().legs) {
        const auto state = cell.drbd.state(storage::resource_name(name), leg.host);
        if (!storage::in_sync(state)) cell.violate("L3", name + " is not in sync, seen from " + leg.host);
        if (!core::insync_everywhere(vm.right.value, layout, leg.host)) {
          cell.violate("L3", name + ": the record does not list " + leg.host);
        }
        // What the host tells of it, which people and the readiness for a failback look at.
        if (!cell.told_in_sync(vm, leg.host))
          cell.violate("L3", name + ": " + leg.host + " does not tell the others that it is in sync");
      }
    }
  }
};

}  // namespace
std::unique_ptr<Checker> volumes_in_sync() { return std::make_unique<VolumesInSync>(); }
}  // namespace bascule::sim
