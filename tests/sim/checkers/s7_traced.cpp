// S7: every operation names who asked and why, the audit chain is whole, and it tells of each operation's beginning and
// end.
#include <map>
#include <set>

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
    std::map<std::string, std::set<std::string>> told;  // what was told of each operation, and by whom and why
    for (auto it = keys.lower_bound(prefix); it != keys.end() && it->first.starts_with(prefix); ++it) {
      const auto record = codec::decode<core::AuditRecord>(it->second.value);
      if (!record || record->previous != previous || record->hash != codec::audit_hash(*record)) {
        return cell.violate("S7", "the audit chain breaks at " + it->first);
      }
      previous = record->hash;
      told[record->operation].insert(record->what + '/' + record->who.name + '/' + record->why);
    }
    for (const auto& [id, op] : cell.view().operations) {
      const std::string kind(core::to_string(op.value.kind)), by = '/' + op.value.author.name + '/' + op.value.reason;
      if (!told[id].contains(kind + " requested" + by))
        cell.violate("S7", id + " was not traced when it was asked for");
      // One that a failover ended has its end in that one's record.
      const bool ended = core::finished(op.value.state) && !op.value.error.starts_with("ended by failover");
      if (ended && !told[id].contains(kind + " ended" + by)) cell.violate("S7", "the end of " + id + " was not traced");
    }
  }
};

}  // namespace
std::unique_ptr<Checker> traced() { return std::make_unique<Traced>(); }
}  // namespace bascule::sim
