// S2: what a guest's flush confirmed is on the legs of whoever runs it next, and stays there.
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class NoLostWrite final : public Checker {
  void guest_runs(Cell& cell, const std::string& host, const std::string& vm) override {
    const auto& guest = cell.machine(host).guests.at(vm);
    if (guest.info.state != core::DomainState::running) return;
    for (const auto& [volume, write] : cell.acknowledged[vm]) {
      const auto it = guest.holds.find(volume);
      const auto holds = it == guest.holds.end() ? 0 : it->second;
      if (!cell.drbd.writes.holds(holds, write)) {
        cell.violate("S2", vm + "/" + std::to_string(volume) + " runs on " + host + " without write " +
                               std::to_string(write) + ", which was confirmed");
      }
    }
  }
  void end(Cell& cell) override {
    for (const auto& [vm, volumes] : cell.acknowledged) {
      const std::string resource = storage::resource_name(vm);
      const auto* pair = cell.drbd.pair(resource);
      for (const auto& [volume, write] : volumes) {
        bool somewhere = false;
        for (const auto& side : pair->sides) {
          const auto& leg = side.legs.at(volume);
          somewhere = somewhere || (!leg.mixed && cell.drbd.writes.holds(leg.content, write));
        }
        if (!somewhere) cell.violate("S2", vm + "/" + std::to_string(volume) + ": a confirmed write is on no leg");
      }
    }
  }
};

}  // namespace
std::unique_ptr<Checker> no_lost_write() { return std::make_unique<NoLostWrite>(); }
}  // namespace bascule::sim
