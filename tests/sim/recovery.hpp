// All of etcd is lost, and what people do then (docs/runbooks/etcd-lost.md): guests are ended, each host is told of the
// new cluster, the backup is written back, each VM is adopted and started. What they do by hand is done here; the rest
// is hostd's.
#pragma once

#include <map>
#include <set>
#include <string>

#include "hostd/core/request.hpp"
#include "tests/sim/cell.hpp"

namespace bascule::sim {

class Recovery {
 public:
  explicit Recovery(Cell& cell) : cell_(cell) {}
  /// `hostctl cell backup`.
  void backup();
  /// All members lose their data and stay away.
  void lose();
  /// Three new members; from here on people act, until every VM has been started.
  void begin();

 private:
  void look();
  bool join(Machine& machine);
  void restore();
  void adopt(const std::string& name, const core::VmView& vm);
  void ask(core::Verb verb);
  class Hostd* someone() const;

  Cell& cell_;
  core::CellView kept_;  ///< the backup
  std::map<std::string, int> tries_;
  std::set<std::string> joined_;                        ///< hosts of the new cluster
  std::map<std::string, std::set<std::string>> asked_;  ///< by VM: the hosts that an adoption was asked for
  std::set<std::string> started_;
  bool restoring_{}, restored_{};
};

}  // namespace bascule::sim
