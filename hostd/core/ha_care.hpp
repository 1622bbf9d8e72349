// Care for volumes that is due by a calendar: cold copies, online verifies. A part of core::ha_round. Pure.
#pragma once

#include <optional>
#include <string>

#include "hostd/core/ha.hpp"

namespace bascule::core {

struct CareDue {
  Verb verb;
  std::string reason;
};

/// For a VM that this host holds and on which no operation is at work. `peer_ready`: the other host could take it over.
std::optional<CareDue> care_due(const CellView& view, const VmView& vm, const LocalVm& local, const HaFacts& facts,
                                bool peer_ready, const std::string& self);

}  // namespace bascule::core
