// CellView: everything hostd knows of the cell, decoded from etcd by the watch.
// One decision reads one view; the io thread is the only writer. Ordered maps: iteration is stable.
#pragma once

#include <map>
#include <set>
#include <string>

#include "hostd/core/model.hpp"
#include "hostd/core/restore_record.hpp"

namespace bascule::core {

template <class T>
struct Versioned {
  T value{};
  Revision created{};
  Revision revision{};
};

struct HostView {
  Versioned<HostInfo> info;
  Versioned<HostLease> lease;
  Versioned<FenceIntent> fence;        ///< revision 0: nobody is about to switch it off
  Versioned<Maintenance> maintenance;  ///< revision 0: none
  /// No renewal seen for longer than `stale_after` on this host's own monotonic clock; kept by the shell.
  bool silent{};
  /// Its lease has been renewed for a while without a gap; kept by the shell.
  bool steady{};
  /// Its lease may be seen before its description: a host of which nothing is known yet is not used either.
  bool alive() const { return !silent && info.revision != 0; }
};

struct VmView {
  Versioned<VmSpec> spec;
  Versioned<Layout> layout;
  Versioned<Right> right;                  ///< revision 0: no record
  Versioned<Restored> restored;            ///< revision 0: it was made here, or is adopted
  Versioned<std::string> operation;        ///< id of the operation that holds the VM; revision 0: none
  std::map<std::string, VmStatus> status;  ///< by host
  std::map<std::string, LastCare> last;    ///< by what was done: care_of() in model.hpp
};

struct CellView {
  Revision revision{};     ///< etcd's revision of the newest change applied
  Revision vms_changed{};  ///< of the newest change of any VM or operation: what a cached list was made at
  bool synced{};           ///< the first full listing is complete and the watch is live
  std::map<std::string, HostView> hosts;
  std::map<std::string, VmView> vms;
  std::map<std::string, Versioned<Image>> images;
  std::map<std::string, Versioned<Operation>> operations;
  std::map<std::string, Progress> progress;
  Versioned<AuditHead> audit;
  Versioned<Disarmed> disarmed;  ///< revision 0: failover is armed
  Versioned<Restore> restore;    ///< revision 0: nothing was ever restored into this cell

  const VmView* vm(const std::string& name) const {
    const auto it = vms.find(name);
    return it == vms.end() ? nullptr : &it->second;
  }
  const HostView* host(const std::string& id) const {
    const auto it = hosts.find(id);
    return it == hosts.end() ? nullptr : &it->second;
  }
};

}  // namespace bascule::core
