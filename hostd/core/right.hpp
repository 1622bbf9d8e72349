// Every change that may be made to a run-right, as a pure function: the record after it, or why not.
// The caller commits the result in a transaction that compares the revision the record was read at.
// Rules R1..R5 and H are those of the design; each function names the one it carries out.
#pragma once

#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"

namespace bascule::core {

/// True when `host` has an in-sync leg on every volume of the VM, by the record (never by DRBD's word).
bool insync_everywhere(const Right& right, const Layout& layout, const std::string& host);

/// The leg of `host` in this volume's layout; nullptr when it has none.
const Leg* leg_of(const VolumeLayout& volume, const std::string& host);
/// The other host of the pair; empty when `host` has no leg.
std::string other_host(const Layout& layout, const std::string& host);

/// First creation: the first host's legs alone.
Right first_right(const Layout& layout, const std::string& host);

/// R2 for the holder itself: epoch + 1. Errors: conflict when `host` does not hold the right, a migration is
/// marked, or one of its legs is not in sync.
Result<Right> claim(const Right& right, const Layout& layout, const std::string& host);

/// R2, takeover: `host` becomes holder with its own legs alone, a mark of a migration is gone. Errors: conflict when it
/// holds the right already, refused when one of its legs is not in sync. The caller compares the old holder's lease.
Result<Right> take(const Right& right, const Layout& layout, const std::string& host);

/// The same on a person's word, from legs that the record does not list: what the others have more is given up.
Result<Right> take_sacrificing(const Right& right, const Layout& layout, const std::string& host);

/// R1: the holder goes on without its peer, whose legs leave every list; a mark of a migration is gone. A record is
/// returned even when they had left already: it must be written for every loss of the link. Errors: conflict when
/// `host` does not hold the right, refused when one of its own legs is not in sync.
Result<Right> exclude_peer(const Right& right, const Layout& layout, const std::string& host);

/// The same without any condition, and a mark of a migration stays: whatever leg of another host is not the last of its
/// volume leaves. For a write before I/O goes on that hostd has stopped.
Right without_others(const Right& right, const Layout& layout, const std::string& host);

/// Migration, step 2. Errors: conflict unless `host` holds it, nobody migrates, both legs are in sync everywhere.
Result<Right> mark(const Right& right, const Layout& layout, const std::string& host, const std::string& target);
/// Undo of `mark`. Equal to the input when it is not marked.
Result<Right> unmark(const Right& right, const std::string& host);

/// H: the holder, having seen its own domain gone, gives the right away; in-sync legs are kept.
Result<Right> hand_over(const Right& right, const Layout& layout, const std::string& host, const std::string& peer);

/// R3: the holder adds a leg that DRBD, asked afresh, reports in sync.
Result<Right> add_leg(const Right& right, const Layout& layout, const std::string& host, const std::string& volume,
                      const Leg& leg);
/// The same for both legs of a volume.
Result<Right> add_legs(const Right& right, const Layout& layout, const std::string& host, const std::string& volume);
/// R3, for a primary whose own disk is gone and that works on the other host's leg: that leg is listed in place of its
/// own.
Result<Right> swap_leg(const Right& right, const Layout& layout, const std::string& host, const std::string& volume);
/// R4/R5: take a leg out. Never the last one of a volume. Writes (returns a record) even if it is already out,
/// so that a delayed add loses its compare.
Result<Right> remove_leg(const Right& right, const std::string& volume, const Leg& leg);

}  // namespace bascule::core
