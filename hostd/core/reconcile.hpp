// What a host does for a VM on which no operation is at work: bring legs up after a boot, connect them, keep the
// record's in-sync lists true (R3, R4, R5), close what was left open. Pure; one action per VM and round.
#pragma once

#include <map>
#include <string>

#include "hostd/core/domain.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

/// What this host sees of its own half of one VM, from DRBD's event stream and libvirt.
struct LocalVm {
  bool up{};                  ///< the DRBD resource exists in the kernel
  bool rejoin_pending{};      ///< attached by this hostd or boot, and R5's write is still owed
  bool io_ended{};            ///< this hostd has taken its disks away to let a copy without the right die
  bool failed_before{};       ///< a leg here has lost its disk and was not in sync since (R5)
  bool stopped_for_record{};  ///< hostd has stopped its I/O until the record is true (R4)
  bool unasked{};             ///< frozen by fencing, and for a while no helper has waited for hostd's answer
  int attached_again{};       ///< attempts to attach a disk that failed, since it was last in sync
  bool two_primaries{};       ///< allow-two-primaries is set
  std::string role;
  std::string peer_role;  ///< as last heard; Unknown without a connection
  std::string connection;
  std::string suspended{"no"};
  DomainState domain{DomainState::unknown};
  DomainReason reason{DomainReason::other};  ///< of the last change of `domain` that was seen
  std::map<std::string, VmStatus::Volume> volumes;
};

struct Remedy {
  enum class Kind : std::uint8_t {
    none,
    bring_up,      ///< attach every volume, stay StandAlone
    attach_again,  ///< a disk that failed, while the other leg is whole and connected: it is resynced from there
    commit_right,  ///< `right`, comparing `revision`
    add_back,      ///< R3 for `volume`: ask DRBD afresh, then commit comparing `revision`
    swap_leg,        ///< R3: the primary's own disk is gone, the other leg has all of it and is not listed yet
    connect,
    disconnect,  ///< of a cold copy, which is linked only while it is refreshed
    demote,
    close_window,
    destroy_domain,  ///< a copy runs here without the right
    fail_io,         ///< such a copy is frozen: its disks are taken away so that it can die
    take_down,       ///< the resource, to be brought up anew after `fail_io`
    ask_again,       ///< frozen without its peer, and the kernel's question (R1) has come to nothing: it is put anew
    resume_io,       ///< hostd has stopped it: `right`, comparing `revision`, is committed and then it goes on
  } kind{Kind::none};
  Right right;
  Revision revision{};
  std::string volume;
  bool shrinks{};          ///< commit_right, R4: until it is committed the VM's I/O must not go on for long
  bool clears_rejoin{};    ///< commit_right: R5's write; on success rejoin_pending ends
  bool needs_no_record{};  ///< right whatever the record says by now
  std::string sentence;    ///< why, for the log
};

/// `holder_alive`: the host that holds the right renews its lease.
/// A disk that fails again each time is tried this often at once, then ever more rarely.
inline constexpr int kAttachAgain = 3;

Remedy reconcile(const VmView& vm, const LocalVm& local, const std::string& self, bool holder_alive);

}  // namespace bascule::core
