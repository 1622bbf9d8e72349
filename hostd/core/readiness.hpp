// Is a VM ready to go back to its nominal host? Shown to the person who decides it, and asked again by the plan. Pure.
#pragma once

#include <string>
#include <vector>

#include "hostd/core/view.hpp"

namespace bascule::core {

struct ReadinessCheck {
  std::string what;  ///< legs, link, verify, capacity, host, lease
  bool ready{};
  std::string text;
};

/// Every check, green ones too; `target` has the VM's other leg.
std::vector<ReadinessCheck> failback_readiness(const CellView& view, const VmView& vm, const std::string& target);

}  // namespace bascule::core
