// S1: a VM never executes on two hosts at once. A guest that stands paused does not execute, nor does one on a machine
// that stands still. And, before anything is started: the run-right leaves no host on which the guest still executes,
// and it executes on no other.
#include <map>
#include <utility>

#include "hostd/codec/codec.hpp"
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class OneRunner final : public Checker {
  void committed(Cell& cell, const core::kv::Event& event) override {
    constexpr std::string_view kVms = "/bascule/sim/vms/", kRight = "/right";
    const std::string& key = event.kv.key;
    if (event.kind == core::kv::Event::Kind::del || !key.starts_with(kVms) || !key.ends_with(kRight)) return;
    const auto right = codec::decode<core::Right>(event.kv.value);
    if (!right) return;
    const std::string vm = key.substr(kVms.size(), key.size() - kVms.size() - kRight.size());
    const std::string before = std::exchange(holders_[vm], right->host);
    if (before.empty() || before == right->host || !cell.options.watchdogs_fire) return;
    if (cell.machine(before).running() && cell.runs(before, vm)) {
      cell.violate("S1", "the run-right of " + vm + " leaves " + before + ", where it executes");
    }
  }
  void guest_wakes(Cell& cell, const std::string& host, const std::string& vm) override {
    if (cell.runs(host, vm)) guest_runs(cell, host, vm);
  }
  void guest_runs(Cell& cell, const std::string& host, const std::string& vm) override {
    if (!cell.options.watchdogs_fire && !cell.options.judge_one_runner)
      return;  // this lock is broken on purpose: S2 is what must hold
    const auto holder = holders_.find(vm);
    if (holder == holders_.end() || holder->second != host) {
      cell.violate("S1", vm + " runs on " + host + ", which does not hold its run-right");
    }
    for (const auto& [other, machine] : cell.machines) {
      if (other != host && machine->running() && cell.runs(other, vm)) {
        cell.violate("S1", vm + " runs on " + host + " and on " + other);
      }
    }
  }

 private:
  std::map<std::string, std::string> holders_;
};

}  // namespace
std::unique_ptr<Checker> one_runner() { return std::make_unique<OneRunner>(); }
}  // namespace bascule::sim
