// The records a cell keeps in etcd, as plain values. Names and meaning: ARCHITECTURE.md.
// Thread rule: values; copy freely. Units are in the names. No record holds a secret.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bascule::core {

/// etcd's mod revision of a key; 0 = the key does not exist.
using Revision = std::int64_t;
/// Milliseconds since the Unix epoch, for people and audits only: never compared between hosts.
using WallMs = std::int64_t;
inline constexpr WallMs kHourMs = 3'600'000;
inline constexpr WallMs kDayMs = 24 * kHourMs;

enum class Site : std::uint8_t { a, b };
enum class Power : std::uint8_t { off, on };
/// What happens when the VM's host is lost. `ha`: two legs kept in sync, and it starts on the other side by itself;
/// `mirror`: the same, but a human starts it; `backup`: the other leg is a cold copy, brought up to date on a calendar,
/// which a human may start; `none`: one leg only, the VM waits for its host.
enum class Protection : std::uint8_t { ha, mirror, backup, none };
/// The other leg follows every write.
inline bool replicates(Protection p) { return p == Protection::ha || p == Protection::mirror; }

/// Limits on what a definition may ask for.
struct Limits {
  static constexpr std::size_t volumes_per_vm = 8;  // minors are reserved in blocks of this size
  static constexpr std::size_t nics_per_vm = 8;
  static constexpr std::uint32_t cpus = 255;             // QEMU 7.2 q35 without IOMMU stops here
  static constexpr std::uint64_t memory_mib = 1048576;   // 1 TiB
  static constexpr std::uint64_t volume_mib = 16777216;  // 16 TiB, DRBD 8.4's own ceiling is higher
  static constexpr std::size_t vms = 4096;               // per cell: minors 8 * 4096 < 2^20
  static constexpr std::size_t reason_bytes = 500;
  static constexpr std::size_t name_bytes = 40;
  static constexpr std::uint32_t priority = 1000;  // of a restart; higher first
  static constexpr std::size_t copies_per_day = 24;
  static constexpr std::uint32_t drill_every_days = 3650;
};

struct VolumeSpec {
  std::string name;
  std::uint64_t size_mib{};
  std::string image;  ///< name of an imported image that fills it at creation; empty = zeroes
  bool operator==(const VolumeSpec&) const = default;
};

struct NicSpec {
  std::string network;  ///< client network name; each host maps it to a bridge of its own
  std::string mac;      ///< empty in a request: derived from the VM's name
  bool operator==(const NicSpec&) const = default;
};

/// A VM as the client and operator describe it: `vms/<name>/spec`.
struct VmSpec {
  std::string name;
  std::string project;
  std::uint32_t cpus{1};
  std::uint64_t memory_mib{};
  std::string nominal_host;  ///< where it runs in normal times
  std::string peer_host;     ///< the other leg's host, on the other site
  Power power{Power::off};   ///< desired; a client's stop defeats a takeover
  Protection protection{Protection::ha};
  std::uint32_t priority{100};  ///< 0..Limits::priority: who starts first when a host is lost
  /// The VM gets a pvpanic device: a kernel that panics says so through it, and the guest is started again.
  bool restart_on_panic{};
  /// `backup` only: when the cold copy is brought up to date, every day, as HH:MM in UTC.
  std::vector<std::string> copy_at;
  /// In how many days it is to be carried to the other site for real, each time anew; 0: nobody asks for it.
  std::uint32_t drill_every_days{};
  std::string migration_policy{"standard"};
  std::vector<VolumeSpec> volumes;
  std::vector<NicSpec> nics;
  bool operator==(const VmSpec&) const = default;
};

/// One host's half of a volume. The id is new whenever its backing device is created or replaced.
struct Leg {
  std::string host;
  std::string id;
  bool operator==(const Leg&) const = default;
  auto operator<=>(const Leg&) const = default;
};

/// Where a VM's volumes lie: `vms/<name>/layout`. Written once at creation, then only grown.
struct VolumeLayout {
  std::string name;
  std::uint32_t minor{};  ///< DRBD minor, the same on both hosts, unique in the cell
  std::uint64_t size_mib{};
  std::vector<Leg> legs;  ///< exactly two; with protection `none` only the nominal host's is made
  bool operator==(const VolumeLayout&) const = default;
};
struct Layout {
  std::uint16_t port{};  ///< replication port, unique in the cell
  std::vector<VolumeLayout> volumes;
  bool operator==(const Layout&) const = default;
};

/// Who wrote a record, so that a delayed write can be recognised (rule U).
struct Writer {
  std::string host;
  std::string instance;  ///< new at every start of hostd
  std::uint64_t number{};
  bool operator==(const Writer&) const = default;
};

/// The run-right: `vms/<name>/right`. Changed only by transactions that compare its revision.
struct Right {
  std::int64_t epoch{};  ///< +1 when `host` changes or the VM starts
  std::string host;
  std::optional<std::string> migrating_to;
  std::map<std::string, std::vector<Leg>> insync;  ///< volume name -> legs that may run next
  /// Automatic starts since it last ran steadily or a person started it: a guest that never stays up is not tried for
  /// ever. Counted here, so that neither a restart of hostd nor of the host forgets it.
  std::uint32_t restarts{};
  Writer writer;
  bool operator==(const Right&) const = default;
};

enum class DomainState : std::uint8_t { absent, running, paused, shutting_down, crashed, unknown };

/// What one host sees of one VM: `vms/<name>/status/<host>`. Information, never a permission.
struct VmStatus {
  DomainState domain{DomainState::absent};
  std::string domain_reason;
  std::string role;        ///< DRBD role here: Primary, Secondary, Unknown, or empty when down
  std::string connection;  ///< DRBD connection state
  std::string suspended;   ///< "no" or a list: fencing, no-data, user
  struct Volume {
    std::string disk, peer_disk, replication;
    std::uint64_t out_of_sync_kib{};
    bool operator==(const Volume&) const = default;
  };
  std::map<std::string, Volume> volumes;
  std::string waits;  ///< why this host does not start a guest that should run; empty: it is not this host's to start
  bool operator==(const VmStatus&) const = default;
};

/// How a kind of care for a VM ended last: `vms/<name>/last/<what>`, what = vm-copy, volume-verify.<volume>, or an
/// exercise (drills.hpp): vm-migrate, vm-failover, vm-failback. Kept when the operation itself is forgotten.
struct LastCare {
  WallMs when_ms{};
  bool good{};       ///< the copy is complete; the legs are equal; the guest was at work on the other host
  std::string text;  ///< why it was not good; of an exercise: the host
  std::string operation;
  bool operator==(const LastCare&) const = default;
};

/// `hosts/<id>/info`: written by its hostd at start and on change.
struct HostInfo {
  std::string id;
  Site site{Site::a};
  std::string api_address;          ///< host:port
  std::string replication_address;  ///< IP
  std::string migration_address;    ///< IP
  std::string hostd_version, libvirt_version, qemu_version, drbd_version, kernel;
  std::string accel;  ///< kvm or tcg
  std::string instance;
  std::uint32_t cpus{};
  std::uint64_t memory_mib{};     ///< what hostd may give to VMs
  std::uint64_t pool_free_mib{};  ///< as of the last change this hostd made
  std::string pool_kind;
  std::vector<std::string> networks;
  std::uint16_t first_port{7800};
  std::uint16_t last_port{8799};
  bool operator==(const HostInfo&) const = default;
};

/// `hosts/<id>/lease`: rewritten every `renew`; a peer times the absence of change on its own clock.
struct HostLease {
  std::string instance;
  std::uint64_t number{};
  std::string boot;  ///< the kernel's boot id: tells a restart of hostd from one of the machine
  /// Without a renewal or promise it stops its guests in time. False while failover is disarmed: then its absence alone
  /// permits no takeover, also after it was armed again.
  bool guarding{true};
  bool operator==(const HostLease&) const = default;
};

/// `hosts/<id>/fence`: somebody is about to switch this host off. While it stands, that host's renewals fail.
struct FenceIntent {
  std::string by;  ///< host
  std::string
      boot;  ///< of the target, from its last lease: after a reset the intent is fulfilled, and the target ends it
  std::string why;
  bool confirmed{};  ///< the power switch said that it is off
  Writer writer;
  bool operator==(const FenceIntent&) const = default;
};

/// `hosts/<id>/maintenance`: present while an operator keeps VMs off this host.
struct Maintenance {
  std::string author, reason;
  WallMs since_ms{};
  bool operator==(const Maintenance&) const = default;
};

/// `ha`: present while an operator has switched automatic failover off in the whole cell.
struct Disarmed {
  std::string author, reason;
  WallMs since_ms{};
  bool operator==(const Disarmed&) const = default;
};

/// `images/<name>`. Immutable once ready.
struct Image {
  std::string name;
  std::uint64_t size_bytes{};  ///< of the raw content
  std::string sha256;          ///< of the raw content, lower-case hex
  std::string host;            ///< which host keeps the file
  bool operator==(const Image&) const = default;
};

enum class OpKind : std::uint8_t {
  vm_create,
  vm_update,
  vm_start,
  vm_shutdown,
  vm_power_off,
  vm_reset,
  vm_migrate,
  vm_remove,
  volume_grow,
  volume_verify,
  volume_repair,  ///< after a split brain: the other leg gives up what it wrote, once a second person agrees
  vm_adopt,       ///< after the loss of all of etcd: a restored VM gets a run-right, once a second person agrees
  vm_copy,        ///< protection `backup`: the cold copy is brought up to date
  image_import,
  image_remove,
  vm_failover,  ///< its host was lost: started on the other side, by hostd or on a person's word
  vm_restart,   ///< its guest ended by itself: started again
  vm_failback,  ///< back to its nominal host
  host_maintenance,
  watchdog_prove,  ///< an idle host's watchdog really fires
  ha_disarm,
  ha_arm,
};

/// running -> done | undoing -> undone | needs_operator. A cancelled operation ends undone.
enum class OpState : std::uint8_t { running, undoing, done, undone, needs_operator };

/// What a step does; hostd/runtime/steps_*.cpp has one function for each.
enum class StepKind : std::uint8_t {
  make_leg,
  connect,
  skip_first_sync,
  grant,
  join_peer,
  fill,
  hand_over,
  admit_start,
  take_right,
  promote,
  start_domain,
  shutdown,
  destroy,
  reset,
  demote,
  admit_migration,
  mark_migration,
  prepare_target,
  open_window,
  promote_target,
  live_migrate,
  resume_target,
  demote_source,
  close_window,
  confirm,
  grow_leg,
  resize_drbd,
  resize_guest_disk,
  record_size,
  verify,
  seed_leg,
  snapshot_leg,
  await_sync,
  cut_link,
  compare_legs,
  await_approval,
  discard_leg,
  survey_legs,
  confirm_legs,
  adopt_right,
  prove_watchdog,
  drop_right,
  remove_leg,
  remove_image,
};

/// pending -> done; a step that failed part-way is `failed` until its undo has run.
enum class StepState : std::uint8_t { pending, done, failed, undone };

struct Step {
  StepKind kind{};
  std::string host;  ///< which hostd carries it out
  StepState state{StepState::pending};
  std::string note;  ///< one line of what was found or done, for people
  std::int64_t took_ms{};
  bool operator==(const Step&) const = default;
};

struct Who {
  std::string name;     ///< e.g. "alice"
  std::string role;     ///< operator, client, host
  std::string project;  ///< only for clients
  bool operator==(const Who&) const = default;
};

/// A journaled, resumable change: `ops/<id>`. The journal is also how hosts pass work on:
/// the host named by the first pending step carries it out, then commits the record.
struct Operation {
  std::string id;
  OpKind kind{};
  std::string vm;       ///< empty for images
  std::string project;  ///< of the VM, for the client's view
  std::string object;   ///< volume or image name when there is one
  Who author;
  std::string reason;
  WallMs created_ms{}, finished_ms{};
  OpState state{OpState::running};
  bool cancel_requested{};
  std::vector<Step> steps;
  std::string error;  ///< why it is undoing / undone / needs_operator
  std::string todo;   ///< needs_operator: what a person should do
  // Arguments, each used by the kinds that need it.
  std::string source_host, target_host;
  std::uint64_t size_mib{};
  std::optional<VmSpec> spec;                 ///< the definition to write in the transaction that ends it as done
  std::optional<VmSpec> restore;              ///< the definition to write back if it ends undone
  std::map<std::string, std::string> result;  ///< downtime_ms, total_ms, sha256 ...
  std::string idempotency;                    ///< `idem/<this>` names it and is forgotten with it; empty: no key
  Writer writer;
  bool operator==(const Operation&) const = default;
};

/// The key under which the end of this operation is remembered as care for the VM; empty: it is not.
std::string care_of(const Operation& op);

/// Progress of the running step, kept out of the journal: `progress/<op>`; lost without harm.
struct Progress {
  std::string step;
  int percent{-1};  ///< -1 = not known
  std::string text;
  std::uint64_t done_bytes{}, total_bytes{};
  bool operator==(const Progress&) const = default;
};

/// One link of the audit chain: `audit/<sequence, 12 digits>`.
struct AuditRecord {
  std::int64_t sequence{};
  WallMs when_ms{};
  Who who;
  std::string why;
  std::string what;    ///< e.g. "vm_migrate requested", "vm_migrate done"
  std::string object;  ///< vm/<name>, image/<name>
  std::string project;
  std::string operation;
  std::string result;    ///< empty before the act
  std::string previous;  ///< hash of the record before, hex; 64 zeroes for the first
  std::string hash;      ///< SHA-256 over every field above, hex
  bool operator==(const AuditRecord&) const = default;
};
struct AuditHead {
  std::int64_t sequence{};
  std::string hash;
  bool operator==(const AuditHead&) const = default;
};

/// Of DRBD's `suspended`: "no" or a list; empty is not known yet.
bool io_stands_still(std::string_view suspended);
/// A hand-over of a running guest.
bool is_move(OpKind kind);
/// One that ended well has shown that the VM's other host can run it.
bool proves_other_host(OpKind kind);

// Words for enums, used in JSON, messages and audit records; parse returns nullopt on anything else.
std::string_view to_string(Site v);
std::string_view to_string(Power v);
std::string_view to_string(Protection v);
std::string_view to_string(DomainState v);
std::string_view to_string(OpKind v);
std::string_view to_string(OpState v);
std::string_view to_string(StepKind v);
std::string_view to_string(StepState v);
std::optional<Site> parse_site(std::string_view s);
std::optional<Power> parse_power(std::string_view s);
std::optional<Protection> parse_protection(std::string_view s);
std::optional<DomainState> parse_domain_state(std::string_view s);
std::optional<OpKind> parse_op_kind(std::string_view s);
std::optional<OpState> parse_op_state(std::string_view s);
std::optional<StepKind> parse_step_kind(std::string_view s);
std::optional<StepState> parse_step_state(std::string_view s);

inline bool finished(OpState s) { return s == OpState::done || s == OpState::undone || s == OpState::needs_operator; }

}  // namespace bascule::core
