// What would happen to the VMs of a host if it were lost now: told before it happens, to those who can still change it.
// A forecast from the records alone; what then does happen is decided by ha.cpp, on the facts of that moment. Pure.
#pragma once

#include <string>
#include <vector>

#include "hostd/core/view.hpp"

namespace bascule::core {

struct IfLost {
  enum class Outcome : std::uint8_t {
    restarts,  ///< it starts on the other side by itself
    waits,     ///< a person can start it on the other side
    stays,     ///< nothing can start it before its host is back
    off,       ///< it should not run: nothing is missed
  } outcome{};
  std::string vm;
  std::string target;  ///< where it would start; empty: nowhere
  std::string text;    ///< one sentence, without the VM's name and the full stop
};
std::string_view to_string(IfLost::Outcome v);

/// Every VM whose run-right `host` holds, in the order in which failover would take them up; memory that the first ones
/// take is not there for the next.
std::vector<IfLost> if_lost(const CellView& view, const std::string& host);

}  // namespace bascule::core
