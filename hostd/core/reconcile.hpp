// What a host does for a VM on which no operation is at work: bring legs up after a boot, connect them, keep the
// record's in-sync lists true (R3, R4, R5), close what was left open. Pure; one action per VM and round.
#pragma once

#include <map>
#include <string>

#include "hostd/core/view.hpp"

namespace bascule::core {

/// What this host sees of its own half of one VM, from DRBD's event stream and libvirt.
struct LocalVm {
  bool up{};              ///< the DRBD resource exists in the kernel
  bool rejoin_pending{};  ///< attached by this hostd or boot, and R5's write is still owed
  bool two_primaries{};   ///< allow-two-primaries is set
  std::string role;
  std::string connection;
  std::string suspended{"no"};
  DomainState domain{DomainState::unknown};
  std::map<std::string, VmStatus::Volume> volumes;
};

struct Remedy {
  enum class Kind : std::uint8_t {
    none,
    bring_up,      ///< attach every volume, stay StandAlone
    commit_right,  ///< `right`, comparing `revision`
    add_back,      ///< R3 for `volume`: ask DRBD afresh, then commit comparing `revision`
    connect,
    demote,
    close_window,
    destroy_domain,  ///< a copy runs here without the right
  } kind{Kind::none};
  Right right;
  Revision revision{};
  std::string volume;
  bool clears_rejoin{};  ///< commit_right: R5's write; on success rejoin_pending ends
  std::string sentence;  ///< why, for the log
};

Remedy reconcile(const VmView& vm, const LocalVm& local, const std::string& self);

}  // namespace bascule::core
