// S1: a VM never executes on two hosts at once. A guest that stands paused does not execute, nor does one on a machine
// that stands still.
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class OneRunner final : public Checker {
  void guest_wakes(Cell& cell, const std::string& host, const std::string& vm) override {
    if (cell.runs(host, vm)) guest_runs(cell, host, vm);
  }
  void guest_runs(Cell& cell, const std::string& host, const std::string& vm) override {
    if (!cell.options.watchdogs_fire && !cell.options.judge_one_runner)
      return;  // this lock is broken on purpose: S2 is what must hold
    for (const auto& [other, machine] : cell.machines) {
      if (other != host && machine->running() && cell.runs(other, vm)) {
        cell.violate("S1", vm + " runs on " + host + " and on " + other);
      }
    }
  }
};

}  // namespace
std::unique_ptr<Checker> one_runner() { return std::make_unique<OneRunner>(); }
}  // namespace bascule::sim
