// When this host may go on running guests: the watchdog is petted only on proof that the others will not take over yet.
// The proof is a renewal of the host lease in etcd or, while etcd cannot be reached, a promise of every host that could
// take over. Pure; hostd/guardian.cpp is the shell that renews, asks, pets and stops.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hostd/core/notes.hpp"
#include "hostd/core/timing.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

/// A guest here that another host might take over.
struct GuardedVm {
  std::string name;
  /// Hosts beside this one that the record lists in sync, as last read; also a host that a write in flight may add.
  std::set<std::string> others;
  bool known{true};  ///< false: who could take it over is not known here, so only a renewal is a proof
  bool operator==(const GuardedVm&) const = default;
};

/// A guest here, as the records have it. `settled`: its record was written since this hostd read it first, so that no
/// write of an earlier hostd can arrive any more; `adding`: a write of this one that may add the other host is out.
GuardedVm guarded_by_record(const VmView& vm, const Notes& notes, const std::string& name, const std::string& self,
                            bool settled, bool adding);
/// The same before this hostd has read the records, by what it has on its own disk.
GuardedVm guarded_by_notes(const Notes& notes, const std::string& vm);

/// A domain of this name and uuid may be a guest of the cell; another one is nobody's to end.
bool may_be_guest(const std::string& cell, const std::string& name, const std::string& uuid);

struct GuardInput {
  Mono now{};
  bool armed{};
  std::optional<Mono> renewed;           ///< first sending of the newest lease value whose commit was confirmed
  std::map<std::string, Mono> promised;  ///< by host: the sending of the newest request it promised on
  std::optional<Mono> last_pet;          ///< also the arming; none yet since `started`
  Mono started{};                        ///< of this hostd
  /// Every guest here is named below: libvirt has given its list, or the records say what it should run.
  bool guests_known{true};
  std::vector<GuardedVm> guarded;  ///< every guest here whose protection rests on this host's stop
};

struct GuardOutput {
  bool pet{};
  Mono pet_until{};               ///< a pet that ends after this came too late: the machine must reset at once
  std::set<std::string> ask;      ///< hosts whose promise is needed now
  std::vector<std::string> stop;  ///< guests to end hard, now
  std::string sentence;           ///< why, when anything is asked or stopped
};

GuardOutput guard(const GuardInput& in, const Timing& timing);

}  // namespace bascule::core
