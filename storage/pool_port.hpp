// Backing devices on this host. Sizes are what the guest will see; the metadata's room is added
// here. Errors common to all: invalid, exhausted (says how much is free and how much is needed),
// outcome_unknown, refused, unavailable. Thread rule: the executor of the adapter, one thread.
#pragma once

#include "storage/backing.hpp"
#include "storage/drbd_port.hpp"

namespace bascule::storage {

class PoolPort {
 public:
  PoolPort() = default;
  PoolPort(const PoolPort&) = delete;
  PoolPort& operator=(const PoolPort&) = delete;
  virtual ~PoolPort() = default;

  virtual const PoolConfig& config() const = 0;

  /// A device that reads as zeroes everywhere, active; its path. Repeated: the same device,
  /// untouched if it may hold data. conflict: a finished one of another size is there.
  virtual Task<std::string> create(LegName leg, std::uint64_t size_mib) = 0;
  /// Path of an existing leg, made active (loop device attached, logical volume activated).
  /// not_found.
  virtual Task<std::string> activate(LegName leg) = 0;
  /// At least this size afterwards, the new space zeroed. Never shrinks. not_found.
  virtual Task<> grow(LegName leg, std::uint64_t size_mib) = 0;
  /// Gone; also when it was not there. conflict while something (DRBD) holds it.
  virtual Task<> remove(LegName leg) = 0;
  /// The leg as it is now, beside it. The caller keeps it from being written to meanwhile unless snapshots_at_once().
  /// `copy` replaces the one before; `repair` leaves one that is there as it is. not_found, exhausted.
  virtual Task<> snapshot(LegName leg, Snapshot which) = 0;
  virtual Task<bool> has_snapshot(LegName leg, Snapshot which) = 0;
  /// A snapshot is of one instant, also while the leg is written to.
  virtual bool snapshots_at_once() const = 0;
  virtual Task<PoolSpace> space() = 0;
  Task<std::uint64_t> free_mib();
};

}  // namespace bascule::storage
