// A VM as a host's hypervisor sees it: plain values, no libvirt word. The port that carries them is
// hostd/runtime/libvirt/vm_host.hpp; the XML made of them is hostd/runtime/libvirt/domain_xml.hpp.
// Thread rule: values; copy freely. Units are in the names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"

namespace bascule::core {

enum class Accel : std::uint8_t { tcg, kvm };

/// One disk. `index` fixes the guest's name of it (0 = vda) and its boot order: 0 boots.
struct DomainDisk {
  std::uint32_t index{};
  std::string device;  ///< /dev/drbdN, nothing else
  std::string serial;  ///< what the guest may read; a valid name
  bool operator==(const DomainDisk&) const = default;
};

struct DomainNic {
  std::string bridge;  ///< on this host
  std::string mac;
  bool operator==(const DomainNic&) const = default;
};

/// All that a domain is made of. The same on both hosts of a VM, or a live migration is refused.
struct DomainSpec {
  std::string name;  ///< the VM's name
  std::string uuid;  ///< domain_uuid(cell, name)
  std::uint32_t cpus{1};
  std::uint64_t memory_mib{};
  std::vector<DomainDisk> disks;
  std::vector<DomainNic> nics;
  Accel accel{Accel::tcg};
  bool panic_device{};  ///< pvpanic: the guest may say that its kernel has panicked; it ends then
  std::string cpu_model{default_cpu_model};

  /// x86-64-v2 on Intel, AMD and TCG alike, so it migrates between unequal machines.
  static constexpr const char* default_cpu_model = "Nehalem";
};

/// RFC 4122 version 5 of "cell/name" in a namespace of our own: every host derives the same one.
std::string domain_uuid(std::string_view cell, std::string_view name);

/// Limits, names, device paths and indexes. Error `invalid`, naming the field.
Result<> check(const DomainSpec& spec);

/// Linux bridge names: 1 to 15 of letters, digits, '-', '_', '.'; not "." or "..".
bool valid_bridge(std::string_view name);
/// /dev/drbd followed by a minor below 2^20.
bool valid_drbd_device(std::string_view path);

/// Why a domain is in its state, as far as a decision may need it.
enum class DomainReason : std::uint8_t {
  other,
  started,              ///< running: booted here
  migrated,             ///< running/absent: came or left by a migration
  migrating,            ///< paused: being handed over (source) or received (target): neither has it all yet
  migration_cancelled,  ///< running: an outgoing migration was given up
  user,                 ///< paused by request; also: arrived by migration and waits for `resume`
  io_error,             ///< paused: a disk write failed
  starting,             ///< paused: QEMU is still being set up
  unresumable,          ///< paused: post-copy failed, API error and the like: needs a person
  guest_shutdown,       ///< absent: the guest powered off
  destroyed,            ///< absent: forced off
  failed,               ///< absent: QEMU died or never came up
};

struct DomainInfo {
  std::string name;
  std::string uuid;
  DomainState state{DomainState::unknown};
  DomainReason reason{DomainReason::other};
  bool operator==(const DomainInfo&) const = default;
};

/// What permits a start or a resume: the committed run-right that names this host. The adapter does not judge it, but
/// no line can start a VM without saying which record it stands on, and the log shows it.
struct RightProof {
  std::string vm;
  std::string host;
  std::int64_t epoch{};
  Revision revision{};
};
struct StartProof : RightProof {};
struct ResumeProof : RightProof {};
/// Error `internal` unless the proof names this VM and this host and a committed revision and epoch.
Result<> check(const RightProof& proof, std::string_view vm, std::string_view host);

struct MigrationParams {
  std::uint64_t bandwidth_mib{};   ///< MiB/s, 0 = no limit
  std::uint64_t downtime_ms{300};  ///< the first rung; later ones by set_max_downtime
  bool auto_converge{};
  std::uint32_t parallel{};  ///< connections for the memory stream, 0 or 1 = one
  bool tls{true};
  std::string target_address;  ///< IP of the target on the replication network; QEMU listens there

  static constexpr std::uint64_t max_bandwidth_mib = 131072;  // 1 Tbit/s; libvirt's own limit is far above
  static constexpr std::uint64_t max_downtime_ms = 2000000;   // QEMU 7.2's limit
  static constexpr std::uint32_t max_parallel = 16;
};
Result<> check(const MigrationParams& params);
/// Dotted IPv4 or an IPv6 without zone: nothing that could be a name.
bool valid_ip(std::string_view text);

/// A migration job, while it runs or after it ended. Sizes in bytes, times in ms.
struct MigrationStats {
  enum class Job : std::uint8_t { none, running, completed, failed, cancelled };
  Job job{Job::none};
  std::uint64_t elapsed_ms{}, remaining_ms{};
  std::uint64_t downtime_ms{};      ///< expected while running, measured once completed
  std::uint64_t downtime_net_ms{};  ///< completed only: without the clock difference of the two hosts
  std::uint64_t setup_ms{};
  std::uint64_t memory_total{}, memory_processed{}, memory_remaining{};
  std::uint64_t memory_bps{};
  std::uint64_t dirty_pages_per_s{}, page_bytes{};
  std::uint64_t iteration{};
  std::uint64_t throttle_percent{};
  std::string error;  ///< failed: QEMU's own words
  bool operator==(const MigrationStats&) const = default;
};
/// 0..100, -1 when the size is not known yet.
int percent_done(const MigrationStats& stats);

/// What libvirt reports by itself. Names of states and reasons as above.
struct DomainEvent {
  enum class Kind : std::uint8_t {
    changed,        ///< `info` is the state that the event speaks of; absent = stopped
    job_completed,  ///< `stats` of an outgoing migration that just ended on this host
    iteration,      ///< an outgoing migration began pass `stats.iteration`
    connected,      ///< libvirt is reached; `all` is a full list: whatever was missed is in it
    disconnected,   ///< libvirt is not reached: what is known is old
  };
  Kind kind{Kind::changed};
  DomainInfo info;
  MigrationStats stats;
  std::vector<DomainInfo> all;
};

/// The machine and its versions. Versions as "9.0.0".
struct HostCapacity {
  std::uint64_t memory_mib{}, free_memory_mib{};
  std::uint32_t cpus{};
  std::string libvirt_version, qemu_version;
};

std::string_view to_string(Accel v);
std::string_view to_string(DomainReason v);
std::string_view to_string(MigrationStats::Job v);
std::string_view to_string(DomainEvent::Kind v);

}  // namespace bascule::core
