// Automatic failover is decided here: who is started where when a host is lost, a guest dies or a host comes back, and
// which host is to be switched off first. Pure; hostd/ha_loop.cpp is the shell that asks and carries it out. What it
// asks for becomes an operation like any other, with this host as its author and the sentence as its reason.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "hostd/core/calendar.hpp"
#include "hostd/core/reconcile.hpp"
#include "hostd/core/request.hpp"
#include "hostd/core/timing.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

/// What this host knows beside the records, now.
struct HaFacts {
  Mono now{};
  WallMs wall{};                                  ///< for calendars only
  Mono up_for{};                                  ///< since this hostd started: nothing older is known
  bool renewed{};                                 ///< this host's own lease was renewed within renew_timeout
  std::map<std::string, Mono> absent;             ///< by host: for how long its lease has not changed, timed here
  std::set<std::string> can_fence;                ///< hosts whose power switch this host is configured for
  std::size_t fenced_lately{};                    ///< by this host, within HaLimits::fence_window
  std::map<std::string, Mono> steady;             ///< by VM: for how long its guest has run here without a break
  std::map<std::string, std::string> unfit;       ///< VMs whose own legs may not be promoted, by this host's notes: why
  std::map<std::string, std::string> distrusted;  ///< VMs whose record this host does not act on (R6), and why
  std::set<std::string> busy;                     ///< VMs on which something of this host is still at work
  VerifyCalendar verify;                          ///< this host's configuration
  std::size_t starting{};                         ///< failovers and restarts at work on this host
};

struct HaLimits {
  static constexpr std::size_t parallel_starts = 4;  ///< on one host at a time: a boot storm helps nobody
  static constexpr std::uint32_t restarts_here = 3;  ///< automatic starts before the other side is tried
  static constexpr std::uint32_t restarts_all = 6;   ///< then a person must look
  static constexpr Mono steady_after{600'000};       ///< a guest that ran this long starts to count from zero
  static constexpr Mono other_leg_patience{10'000};  ///< after a blackout the other leg is heard first, if it comes
  static constexpr std::size_t fences = 1;           ///< hosts switched off within the window, at most
  static constexpr Mono fence_window{600'000};
};

struct HaAction {
  enum class Kind : std::uint8_t { submit, settle, fence } kind{Kind::submit};
  std::string vm;    ///< submit, settle
  Verb verb;         ///< submit
  std::string host;  ///< fence
  Right right;       ///< settle: a record to commit, comparing `revision`
  Revision revision{};
  std::string reason;
};

struct HaRound {
  std::vector<HaAction> actions;             ///< in the order of priority
  std::map<std::string, std::string> waits;  ///< by VM: why a guest that should run is not started
};

HaRound ha_round(const CellView& view, const std::map<std::string, LocalVm>& locals, const HaFacts& facts,
                 const Timing& timing, const std::string& self);

/// What a person has signed for a takeover; hostd itself signs nothing.
struct Signed {
  bool host_is_off{};  ///< the holder's host is off
  bool sacrifice{};    ///< what its legs have more is given up: these legs need not be in the record
};
/// The takeover rule, also checked again by the step that takes the right, with `local` asked afresh. Errors: the
/// sentence says what is missing.
Result<> may_take_over(const CellView& view, const VmView& vm, const LocalVm& local, const HaFacts& facts,
                       const Timing& timing, const std::string& self, Signed by_hand);

/// When this host was last heard it stopped its guests by itself once nobody hears it; of one that is not known nothing
/// is said.
bool guards(const CellView& view, const std::string& host);

/// Its power switch confirmed that this host is off, and it has not come back since.
bool known_off(const CellView& view, const std::string& host);

/// May an operation of this kind be ended by a failover because its host is lost?
bool may_supersede(OpKind kind);

}  // namespace bascule::core
