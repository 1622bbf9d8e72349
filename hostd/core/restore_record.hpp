// What a cell keeps of a backup file that is written back into it (docs/cell-backup.md). Plain values.
#pragma once

#include <cstdint>
#include <string>

#include "hostd/core/model.hpp"

namespace bascule::core {

/// `restore`: a backup file is being written into this cell, or was.
struct Restore {
  std::string file;         ///< SHA-256 of the file, lower-case hex: a second run with it goes on
  AuditHead head;           ///< of the chain in the file: where this cell's own chain comes from
  std::uint32_t vms{};      ///< how many VMs of the file are written back
  std::uint32_t written{};  ///< how many were
  bool ended{};
  bool operator==(const Restore&) const = default;
};

/// `vms/<name>/restored`: the VM's records are from a file, and it has no run-right before somebody has adopted it.
/// What the file says of the right of that moment: information, never a permission.
struct Restored {
  std::int64_t epoch{};
  std::string host;
  bool operator==(const Restored&) const = default;
};

}  // namespace bascule::core
