// The time budget of failover: every constant, the sums they must satisfy, and why (DESIGN section 4, "host lease").
// Safety of data never rests on time (R1..R3 do that); time is needed only for "one runner" (S1). Pure values.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "hostd/core/error.hpp"

namespace bascule::core {

/// Milliseconds on this host's own monotonic clock, from an epoch of its own: never compared between hosts.
using Mono = std::chrono::milliseconds;

struct Timing {
  Mono renew{1000};          ///< the host lease is rewritten this often
  Mono renew_timeout{3000};  ///< a renewal counts only if confirmed this soon after its first sending
  Mono watchdog{10000};      ///< the device's time-out, as read back from it
  Mono reset_time{2000};     ///< from the watchdog's end to the last instruction of a guest
  Mono stop_time{1000};      ///< what killing every guest by hand takes; done before the watchdog would
  Mono takeover{16000};      ///< absence of change of a host's lease before another host may take over
  int verifications{1};      ///< further looks, one `renew` apart, after `takeover`
  Mono hold{3000};           ///< a primary that lost its peer waits this long before it goes on alone (R1)
  Mono etcd_election{1000};  ///< etcd's --election-timeout
  Mono request{200};         ///< one transaction of a healthy etcd, generously
  Mono drbd_ping{3500};      ///< ping-int + ping-timeout: how late DRBD notices a dead peer on an idle link
  Mono suspect{5000};        ///< absence after which a host is shown as silent, and power fencing may be asked
  /// The watchdog's descriptor does not outlive a crash of hostd: its closing pings once more.
  bool watchdog_counts_twice{};

  /// 1 %: ten times what a crystal may be off.
  static constexpr int clock_rate_error_percent = 1;

  bool operator==(const Timing&) const = default;
};

/// "standard" or "fast"; nullopt on another name.
std::optional<Timing> timing_profile(std::string_view name);

/// (renew_timeout + watchdog + reset_time) x (1 + rho) / (1 - rho): after this much absence the other host's guests
/// have stopped, whatever happened to it.
Mono least_takeover(const Timing& t);

/// Guests without a valid renewal are stopped by hand this long after the last pet of the watchdog.
inline Mono stop_after_pet(const Timing& t) { return t.watchdog - t.stop_time; }

/// A gap in this host's own renewals after which it says nothing of others: longer than the loss of etcd's leader
/// takes.
inline Mono own_gap(const Timing& t) { return t.renew_timeout + 2 * t.etcd_election; }

/// A host is steady again when its lease was renewed without a gap for this long: twice what decides its loss.
inline Mono steady_after(const Timing& t) { return 2 * t.takeover; }

/// S8. Error `invalid` names the sum that does not hold, with its numbers.
Result<> check(const Timing& t);

/// The sums as a person reads them, one per line.
std::string describe(const Timing& t);

}  // namespace bascule::core
