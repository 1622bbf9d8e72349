// The kernel's question: a primary lost its peer and froze, or a secondary without a peer is to be promoted. May it go
// on alone (R1)? Pure; hostd/arbiter.cpp carries the answer to the kernel. The whole table of states and answers is in
// tests/unit/core_loss_test.cpp.
#pragma once

#include <string>

#include "hostd/core/reconcile.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

struct LossVerdict {
  enum class Kind : std::uint8_t {
    win,   ///< commit `right` comparing `revision`; only then may the kernel be told "peer excluded"
    lost,  ///< stay frozen: another host has the right, or a leg here may lack writes
    wait,  ///< cannot be decided yet: ask again when the record or this host's view of the guest changes
    over,  ///< the peer is back: the kernel ignores any answer
  } kind{Kind::wait};
  Right right;
  Revision revision{};
  std::string sentence;
  bool closes_window{};  ///< of a win: two primaries must be forbidden here before `right` is committed
};

/// `local` was read from DRBD after the kernel asked; the record is the newest seen.
LossVerdict decide_loss(const VmView& vm, const LocalVm& local, const std::string& self);

}  // namespace bascule::core
