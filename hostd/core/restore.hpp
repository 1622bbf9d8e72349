// A backup file is written back into an empty cell: definitions with power off and layouts, VM by VM, and nothing that
// lets a VM run. Pure; hostd/runtime/cell/restore.cpp commits what comes out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

/// One request of a restore. Each names the file, so that two files never mix.
struct RestoreStep {
  enum class Kind : std::uint8_t { begin, vm, end } kind{Kind::begin};
  std::string file;  ///< as Restore::file
  AuditHead head;
  std::uint32_t vms{};
  std::vector<std::string> hosts;  ///< begin: all that the layouts name
  VmSpec spec;                     ///< vm
  Layout layout;
  Restored restored;
  bool dry_run{};
};

struct RestorePlan {
  bool unchanged{};    ///< it is so already
  Restore next;        ///< the record after it
  Revision compare{};  ///< of the record before it; 0: none
  std::string what;    ///< for the audit
  std::string result;
};

inline constexpr std::size_t kRestoreHosts = 256;  ///< more than a cell has

/// Errors: invalid (what the file says makes no sense), conflict (the cell is not empty, or was changed since the
/// restore began; another file; a host that this cell has not), unavailable.
Result<RestorePlan> plan_restore(const CellView& view, const RestoreStep& step);

/// Why nothing else is done in this cell now; nullopt: no restore is at work.
std::optional<Error> restore_at_work(const CellView& view);

}  // namespace bascule::core
