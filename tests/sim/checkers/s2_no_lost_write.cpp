// S2: what a guest's flush confirmed is on the legs of whoever runs it next, and stays there.
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

/// S1's stated limit: the watchdogs are broken, this machine stood still while another host took the VM over, and when
/// it wakes libvirt lets the copy that was leaving run on, or lets one go on or start as hostd had asked before, until
/// hostd ends it. It has started from nothing: S2 asks of it that it confirms nothing (`confirmed` below).
bool zombie(Cell& cell, const std::string& host, const std::string& vm) {
  constexpr Us kAnswers = 1'000'000;  // what was asked of libvirt before has its effect within this time
  const auto& machine = cell.machine(host);
  const auto& guest = machine.guests.at(vm);
  const bool left_over = guest.info.reason == core::DomainReason::migration_cancelled ||
                         (machine.woke && cell.engine.now_us() - *machine.woke < kAnswers);
  if (cell.options.watchdogs_fire || !left_over) return false;
  const auto* view = cell.view().vm(vm);
  return view != nullptr && view->right.value.host != host;
}

class NoLostWrite final : public Checker {
  void confirmed(Cell& cell, const std::string& host, const std::string& vm, std::uint16_t volume,
                 Writes::Id write) override {
    const auto before = cell.acknowledged[vm][volume];
    if (!cell.drbd.writes.holds(write, before)) {
      cell.violate("S2", vm + "/" + std::to_string(volume) + " on " + host + " hears that write " +
                             std::to_string(write) + " is safe, which does not stand on write " +
                             std::to_string(before) + ", confirmed before");
    }
  }
  void guest_runs(Cell& cell, const std::string& host, const std::string& vm) override {
    const auto& guest = cell.machine(host).guests.at(vm);
    if (guest.info.state != core::DomainState::running || zombie(cell, host, vm)) return;
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
