// The port to this host's hypervisor. The real one is LibvirtHost; tests use FakeVmHost; one contract suite runs on
// both. Thread rule: every call and every event is on the io thread; nothing here blocks it.
//
// Errors common to all calls:
//   unavailable      libvirt is not reached; the request was not sent, nothing was changed
//   outcome_unknown  sent, no answer (connection lost, deadline passed): observe before deciding anything
//   exhausted        too many calls are waiting already; the request was not sent
//   not_found        no such domain on this host (calls that need one)
//   refused          libvirt or QEMU said no; the sentence carries its words
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "hostd/core/domain.hpp"

namespace bascule::runtime {

class VmHost {
 public:
  VmHost() = default;
  VmHost(const VmHost&) = delete;
  VmHost& operator=(const VmHost&) = delete;
  virtual ~VmHost() = default;

  template <class T = void>
  using Answer = boost::asio::awaitable<core::Result<T>>;
  using Sink = std::function<void(const core::DomainEvent&)>;

  /// Adds a listener, for the life of the host. Call before connect. Events of one domain arrive in libvirt's order.
  /// After every (re)connection `connected` with a full list comes before any event that follows the list.
  virtual void on_event(Sink sink) = 0;

  /// True between `connected` and `disconnected`.
  virtual bool connected() const = 0;

  /// Boots a transient domain. Errors: conflict when a domain of this name or uuid exists here (it is left as it is),
  /// invalid (the spec), internal (the proof names another VM or host). On any error but outcome_unknown no domain
  /// was left behind by this call.
  virtual Answer<> start(core::DomainSpec spec, core::StartProof proof) = 0;

  /// Every active domain on this host, ours or not, sorted by name. Absent ones are simply not listed.
  virtual Answer<std::vector<core::DomainInfo>> list() = 0;
  /// One domain; `absent` is an answer, not an error. `absent` means libvirt was asked and has none.
  virtual Answer<core::DomainInfo> observe(std::string name) = 0;

  /// Presses the ACPI power button. Success means pressed; the guest may ignore it: wait for the event, with a limit.
  virtual Answer<> request_shutdown(std::string name) = 0;
  /// Ends the QEMU process. Idempotent: success means that libvirt has no such domain any more. `refused`: the process
  /// could not be killed (it waits for I/O in the kernel) and may still exist.
  virtual Answer<> force_off(std::string name) = 0;
  /// Presses the reset button.
  virtual Answer<> reset(std::string name) = 0;
  /// Lets a paused domain run: one that arrived by migration, or was stopped by a disk error. Success when it runs
  /// already. Errors: internal (the proof), refused.
  virtual Answer<> resume(std::string name, core::ResumeProof proof) = 0;

  /// Live migration to `host`, peer to peer between the two libvirt daemons; returns when it has ended. The guest
  /// arrives PAUSED and stays so until `resume` on the target. Success: it arrived, and the process here has ended; the
  /// daemon here may still be tidying up, with `observe` waiting for it. Never unsafe, never post-copy. If this hostd
  /// dies in the middle, the daemons go on and the next hostd observes. Errors: invalid, not_found, conflict (a
  /// migration of it runs), cancelled (abort_migration; it still runs here), refused (failed; it still runs here),
  /// outcome_unknown (it does not run here now, or that could not be asked: the target may hold a paused copy).
  virtual Answer<> migrate(std::string name, std::string host, core::MigrationParams params) = 0;
  /// Asks QEMU to give up an outgoing migration. `conflict` when none runs. Success means asked, not ended.
  virtual Answer<> abort_migration(std::string name) = 0;
  /// The outgoing migration now; Job::none when there is none.
  virtual Answer<core::MigrationStats> migration_progress(std::string name) = 0;
  /// The last migration that ended, with the measured downtime: on the target, where the domain is now.
  /// Does not count the time it stood paused there. Job::none when there was none since libvirt started.
  virtual Answer<core::MigrationStats> completed_migration(std::string name) = 0;
  virtual Answer<> set_max_downtime(std::string name, std::uint64_t ms) = 0;
  /// MiB/s; 0 = no limit.
  virtual Answer<> set_bandwidth(std::string name, std::uint64_t mib) = 0;

  /// Tells a running guest that a disk has grown. Never shrinks: `invalid` when it would.
  virtual Answer<> block_resize(std::string name, std::uint32_t disk_index, std::uint64_t bytes) = 0;

  virtual Answer<core::HostCapacity> capacity() = 0;
};

}  // namespace bascule::runtime
