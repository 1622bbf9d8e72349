// What a host keeps on its own disk (R5, R6), so that an etcd that went back in time, or a leg that failed before a
// crash, is recognised. Pure; hostd/note_store.hpp keeps it durable.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "hostd/core/model.hpp"

namespace bascule::core {

struct VmNote {
  std::int64_t epoch{};
  Revision revision{};  ///< of the newest run-right seen; 0: none, or in a cluster that is lost
  std::vector<std::string>
      failed;  ///< ids of own legs that lost their disk: never promoted until they are in sync again
  /// The same by the volume's number, as the kernel's helper wrote it down; `legs_named` makes legs of them.
  std::vector<std::uint16_t> lost;
  /// Hosts beside this one that the run-right of that revision lists in sync, or that a write sent on it may add: who
  /// could take the guest over. nullopt: this host did not hold that right, or it was noted by an older hostd.
  std::optional<std::vector<std::string>> others;
  bool operator==(const VmNote&) const = default;
};

struct Notes {
  std::uint64_t cluster_id{};  ///< etcd's; 0 = none seen yet
  Revision highest{};          ///< etcd's revision
  std::map<std::string, VmNote> vms;
  std::map<std::string, std::string> addresses;  ///< of the other hosts' APIs: to ask for promises while etcd is away
  bool operator==(const Notes&) const = default;
};

/// Why nothing may rest on this record on this host; nullopt = it may. `revision` 0: there is no record.
std::optional<std::string> distrust(const Notes& notes, const std::string& vm, const Right& right, Revision revision);
/// What is noted against the leg of `host` of the volume with this number in the layout.
bool leg_noted(const Notes& notes, const std::string& vm, const Layout& layout, std::size_t volume,
               const std::string& host);
/// Why this host's legs of the VM may not be promoted although the record lists them.
std::optional<std::string> failed_legs(const Notes& notes, const std::string& vm, const Layout& layout,
                                       const std::string& host);

/// The leg with this id has lost its disk and was not in sync since: it is not attached but over the link.
bool failed_leg(const Notes& notes, const std::string& vm, const std::string& leg);

/// The notes after the record was seen; nullopt when they stay as they are. Never goes back.
std::optional<Notes> noted(const Notes& notes, const std::string& vm, const std::string& self, const Right& right,
                           Revision revision);
/// The notes before a write on this record is sent that may list a leg of `other`: kept first, they say to the next
/// hostd that it may be there, until a newer record is seen.
Notes noted_adding(const Notes& notes, const std::string& vm, const std::string& self, const Right& right,
                   Revision revision, const std::string& other);
/// The other hosts' addresses as the records have them.
std::optional<Notes> noted_addresses(const Notes& notes, std::map<std::string, std::string> addresses);
/// The notes for another etcd cluster, after all of the old one was lost: its id and its revisions are over. Epochs,
/// legs that lost their disk and who was in sync stay.
Notes in_new_cluster(const Notes& notes);
std::optional<Notes> forgotten(const Notes& notes, const std::string& vm);
/// The kernel's helper says that a volume's disk failed here, perhaps while no hostd looked.
std::optional<Notes> disk_lost(const Notes& notes, const std::string& vm, std::uint16_t volume);
/// The layout is known: what was noted by number is noted against the legs that `host` has now.
std::optional<Notes> legs_named(const Notes& notes, const std::string& vm, const Layout& layout,
                                const std::string& host);
/// A leg lost its disk, or is in sync with an UpToDate peer again.
std::optional<Notes> leg_failed(const Notes& notes, const std::string& vm, const std::string& leg, bool failed);

}  // namespace bascule::core
