// When a VM was last really carried to the other site, and when that is due again. Bascule tells; it moves no VM for
// it. Pure; times are on the wall clock.
#pragma once

#include <optional>
#include <string>

#include "hostd/core/view.hpp"

namespace bascule::core {

/// In a move's result: the host on which its guest was seen at work afterwards. Not there: it ended on the way.
inline constexpr const char* kRanOn = "ran_on";

/// What the end of an operation proves of a VM, to be kept under `care_of(op)`; nullopt: nothing. A live migration or
/// failback that moved a running guest, a failover that started one: each ended with the guest at work on the host that
/// was the other one. A VM that changed hosts while it was off proves nothing.
std::optional<LastCare> exercise_of(const Operation& op);

struct Drill {
  struct Exercise {
    OpKind what{};
    std::string host;  ///< where the guest was at work afterwards
    WallMs when_ms{};
    std::string operation;  ///< its record may be forgotten by now; the audit chain has it
    bool operator==(const Exercise&) const = default;
  };
  std::optional<Exercise> last;  ///< nullopt: never, or before hosts of this version kept it
  std::optional<WallMs> due_ms;  ///< nullopt: the definition asks for none, or none was ever made
  bool overdue{};                ///< one that was never made is overdue from the start
  bool operator==(const Drill&) const = default;
};
Drill drill(const VmView& vm, WallMs now);

}  // namespace bascule::core
