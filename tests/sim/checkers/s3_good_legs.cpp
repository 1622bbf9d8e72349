// S3: a leg that is promoted holds every confirmed write, and is of one moment. Looked at in the leg itself, whatever
// DRBD or the record say of it.
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class GoodLegs final : public Checker {
  void promoted(Cell& cell, const std::string& host, const std::string& vm) override {
    // S1's stated limit once more: the watchdogs are broken, and a migration's target stood still between its look and
    // the kernel's promotion for so long that its leg was shut out. Nothing runs from it: the run-right is another's.
    const auto* record = cell.view().vm(vm);
    if (!cell.options.watchdogs_fire && record != nullptr && record->right.value.host != host) return;
    const auto& side = cell.drbd.side(storage::resource_name(vm), host);
    for (const auto& [volume, leg] : side.legs) {
      const std::string name = vm + "/" + std::to_string(volume) + " on " + host;
      if (leg.mixed) cell.violate("S3", name + " is promoted while it is half resynced");
      const auto write = cell.acknowledged[vm][volume];
      if (!cell.drbd.writes.holds(leg.content, write)) {
        cell.violate("S3", name + " is promoted without write " + std::to_string(write) + ", which was confirmed");
      }
    }
  }
};

}  // namespace
std::unique_ptr<Checker> good_legs() { return std::make_unique<GoodLegs>(); }
}  // namespace bascule::sim
