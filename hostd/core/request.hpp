// What a person asks for, after the API has checked its shape. `plan()` turns it into an operation.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "hostd/core/model.hpp"

namespace bascule::core {

enum class Role : std::uint8_t { operator_, client, auditor, host };

struct Caller {
  Role role{Role::auditor};
  std::string name;
  std::string project;  ///< clients only
  /// A client of more projects than that one: all of them, `project` first.
  std::vector<std::string> projects{};
  bool owns(const std::string& p) const {
    return !p.empty() && (p == project || std::ranges::find(projects, p) != projects.end());
  }
  bool operator==(const Caller&) const = default;
};

// Each verb, with its own arguments. Hosts and sizes that are empty/0 are chosen by `plan`.
struct PutVm {
  VmSpec spec;
};  ///< create, or bring to this definition; equal = no change
struct StartVm {
  std::string vm;
  /// Only by an operator: its leg here is used although its disk has failed (R5). Where it is the only leg there is.
  bool with_failed_disk{};
};
struct ShutdownVm {
  std::string vm;
};  ///< ACPI power button
struct PowerOffVm {
  std::string vm;
};
struct ResetVm {
  std::string vm;
};
struct MigrateVm {
  std::string vm;
  std::string target;
  std::string policy;
};
struct ResizeVm {
  std::string vm;
  std::uint32_t cpus{};
  std::uint64_t memory_mib{};
};
struct RemoveVm {
  std::string vm;
};
struct GrowVolume {
  std::string vm, volume;
  std::uint64_t size_mib{};
};
struct VerifyVolume {
  std::string vm, volume;
};
struct ImportImage {
  Image image;
};  ///< the content is already in this host's image folder
struct RemoveImage {
  std::string image;
};
/// Start it on the other side, because its host is lost. Asked by hostd itself (Role::host) or by an operator, who
/// waits for the takeover time or states that the host is off.
struct FailoverVm {
  std::string vm;
  bool host_is_off{};  ///< the operator's signed statement
  /// Only by an operator, where the record does not list the legs here: the host whose newer data is given up. Its legs
  /// are kept as they are.
  std::string sacrifice;
  std::string superseded;                   ///< the operation that held the VM, as the caller saw it; empty: none
  std::map<std::string, std::string> seen;  ///< what the decision rests on, kept in the operation's result
};
/// Start it again where its right is, or, with `elsewhere`, on the other side by a hand-over: its guest ended by
/// itself.
struct RestartVm {
  std::string vm;
  bool elsewhere{};
};
/// Back to its nominal host, by live migration, when everything is ready for it.
struct FailbackVm {
  std::string vm;
  std::string policy;
};
/// Brings the cold copy of a VM with protection `backup` up to date.
struct CopyVm {
  std::string vm;
};
/// After a split brain: the legs of the host that does not hold the run-right are resynced from the holder's.
struct RepairVm {
  std::string vm;
};
/// After all of etcd was lost: `host` becomes the holder of a VM that was restored from a backup.
struct AdoptVm {
  std::string vm, host;
};
/// Lets the watchdog of a host without VMs fire, and measures it.
struct ProveWatchdog {
  std::string host;
};
struct SetMaintenance {
  std::string host;
  bool on{};
};
struct SetArmed {
  bool armed{};
};

using Verb = std::variant<PutVm, StartVm, ShutdownVm, PowerOffVm, ResetVm, MigrateVm, ResizeVm, RemoveVm, GrowVolume,
                          VerifyVolume, ImportImage, RemoveImage, FailoverVm, RestartVm, FailbackVm, CopyVm, RepairVm,
                          AdoptVm, ProveWatchdog, SetMaintenance, SetArmed>;

/// What a second operator has to agree to; hostd/core/four_eyes.hpp.
struct FourEyes {
  std::vector<std::string> verbs{};
  std::int64_t minutes{60};
};

struct Request {
  Verb verb;
  Caller caller;
  std::string reason;                ///< mandatory, 1..Limits::reason_bytes
  std::string idempotency_key;       ///< empty = none
  std::optional<Revision> if_match;  ///< spec revision the caller saw; nullopt = any
  bool if_none_match{};              ///< only create
  bool dry_run{};
  FourEyes four_eyes{};  ///< of the host that serves the request
};

}  // namespace bascule::core
