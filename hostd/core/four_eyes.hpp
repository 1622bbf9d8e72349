// Two people for what cannot be taken back: which requests wait for a second operator.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/plan.hpp"

namespace bascule::core {

/// The words of `[four_eyes] verbs`. A volume's repair after a split brain and a restored VM's adoption always wait.
inline constexpr std::string_view kFourEyesVerbs[] = {"vm-remove", "failover-sacrifice", "failover-host-is-off",
                                                      "ha-disarm"};
bool four_eyes_verb(std::string_view word);

/// The plan of an operator's request that the configuration names waits, before anything else is done, until another
/// operator approves it. A host's own requests never wait.
void wait_for_second(Plan& plan, const CellView& view, const Request& request, const std::string& self);

/// For how long it waits, from its beginning: the operation says so itself, or `otherwise`.
WallMs approval_time(const Operation& op, WallMs otherwise);

/// Why waiting is over though nobody has approved; empty: it goes on. A host that was lost and has been heard since is
/// not what the first person spoke of.
std::string approval_is_void(const CellView& view, const Operation& op);

}  // namespace bascule::core
