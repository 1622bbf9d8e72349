// L2: every operation has ended as done or undone, or says what a person is to do.
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class OperationsEnd final : public Checker {
  void end(Cell& cell) override {
    for (const auto& [id, op] : cell.view().operations) {
      const auto& o = op.value;
      const std::string what = std::string(core::to_string(o.kind)) + " of " + o.vm;
      // Without any leg QEMU waits for its disk for ever, also in the midst of a migration, which nobody can end then.
      const auto* vm = cell.view().vm(o.vm);
      if (!core::finished(o.state) && vm != nullptr && cell.out_of_legs(*vm)) continue;
      if (!core::finished(o.state)) cell.violate("L2", what + " is still " + std::string(core::to_string(o.state)));
      if (o.state == core::OpState::needs_operator && !cell.options.may_ask) {
        cell.violate("L2", what + " needs a person: " + o.error + " / " + o.todo);
      }
      if (o.state == core::OpState::needs_operator && o.todo.empty())
        cell.violate("L2", what + " does not say what to do");
    }
  }
};

}  // namespace
std::unique_ptr<Checker> operations_end() { return std::make_unique<OperationsEnd>(); }
}  // namespace bascule::sim
