// S7: every operation names who asked and why, and the audit chain is whole.
#include "hostd/codec/codec.hpp"
#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {
namespace {

class Traced final : public Checker {
  void end(Cell& cell) override {
    for (const auto& [id, op] : cell.view().operations) {
      if (op.value.author.name.empty() || op.value.reason.empty()) cell.violate("S7", id + " has no author or reason");
    }
    const std::string prefix = "/bascule/sim/audit/";
    const auto& keys = cell.etcd.state().keys;
    std::string previous(64, '0');
    for (auto it = keys.lower_bound(prefix); it != keys.end() && it->first.starts_with(prefix); ++it) {
      const auto record = codec::decode<core::AuditRecord>(it->second.value);
      if (!record || record->previous != previous || record->hash != codec::audit_hash(*record)) {
        return cell.violate("S7", "the audit chain breaks at " + it->first);
      }
      previous = record->hash;
    }
  }
};

}  // namespace
std::unique_ptr<Checker> traced() { return std::make_unique<Traced>(); }
}  // namespace bascule::sim
