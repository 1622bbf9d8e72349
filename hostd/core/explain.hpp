// What is going on with a VM: one word for lists, one sentence for a person at three in the morning. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "hostd/core/view.hpp"

namespace bascule::core {

enum class VmState : std::uint8_t {
  creating,
  starting,
  stopping,
  migrating,
  removing,
  updating,  ///< an operation is at work
  running,
  off,   ///< as asked
  down,  ///< it should run and does not
  paused,
  frozen,  ///< its disk waits for a decision
  crashed,
  unknown,  ///< its host is silent, or cannot tell
};
std::string_view to_string(VmState v);

/// Uses only the VM, the operation that holds it and the host that holds its right: what a cached answer rests on.
VmState vm_state(const CellView& view, const VmView& vm);

/// Both legs of every volume are in sync, by the record.
bool vm_protected(const VmView& vm);

/// Begins with the VM's name, ends with a full stop.
std::string why(const CellView& view, const std::string& vm);

/// How the reason begins why a guest is not started that its client has switched off from inside.
inline constexpr std::string_view kOwnAct = "the guest switched itself off";
bool own_act(const VmStatus& status);

/// Why nothing starts a VM of this lost host while failover is disarmed, and what a person can do.
std::string disarmed_text(const CellView& view, const std::string& lost, const std::string& vm);

}  // namespace bascule::core
