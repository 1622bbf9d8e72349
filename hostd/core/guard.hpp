// When this host may go on running guests: the watchdog is petted only on proof that the others will not take over yet.
// The proof is a renewal of the host lease in etcd or, while etcd cannot be reached, a promise of every host that could
// take over. Pure; hostd/guardian.cpp is the shell that renews, asks, pets and stops.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hostd/core/timing.hpp"

namespace bascule::core {

/// A guest here that another host might take over.
struct GuardedVm {
  std::string name;
  /// Hosts beside this one that the record lists in sync, as last read; also a host that a write in flight may add.
  std::set<std::string> others;
};

struct GuardInput {
  Mono now{};
  bool armed{};
  std::optional<Mono> renewed;           ///< first sending of the newest lease value whose commit was confirmed
  std::map<std::string, Mono> promised;  ///< by host: the sending of the newest request it promised on
  std::optional<Mono> last_pet;          ///< also the arming; none yet since `started`
  Mono started{};                        ///< of this hostd
  /// The cell was read since this hostd started. Before, nobody here knows who could take these guests over.
  bool records_read{true};
  /// libvirt has given its list: without it a guest may be here that is not named below.
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
