// From a request to a journaled operation: all admission rules stand here, and nothing is changed.
#pragma once

#include <optional>
#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/request.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

/// What one transaction will write when the request is accepted.
struct Plan {
  bool unchanged{};              ///< nothing to do: the object is already so
  Operation operation;           ///< without id, author, times, writer; no steps = done at once
  std::optional<VmSpec> spec;    ///< written together with the operation
  std::optional<Layout> layout;  ///< vm_create only
  std::optional<Image> image;    ///< image_import only
  /// The operation that held the VM and is ended as undone by this one, comparing the revision it was read at.
  std::optional<Versioned<Operation>> superseded;
  std::optional<bool> maintenance;  ///< host_maintenance, of `operation.target_host`
  std::optional<bool> armed;        ///< ha_arm, ha_disarm
  Revision compare_spec{};          ///< mod revision of the spec this was planned on; 0 = must not exist
  std::string object;               ///< for the audit: vm/<name> or image/<name>
};

/// `self` is the host that serves the request; it only matters for placement ties and images.
/// Errors: invalid, not_found, conflict, stale, forbidden, exhausted, unavailable.
Result<Plan> plan(const CellView& view, const Request& request, const std::string& self);

/// Operations and records kept per cell (finished ones are pruned by hostd, oldest first).
inline constexpr std::size_t kMaxUnfinishedOperations = 256;

}  // namespace bascule::core
