// The rules `plan` is made of, one per file-local concern; also used by steps that check again just before acting.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

/// Shape and limits of a definition by itself. Errors name the field.
Result<> check_spec(const VmSpec& spec);

/// The VM of that name, or not_found.
Result<const VmView*> find_vm(const CellView& view, const std::string& name);

/// Nobody may run it, since there is no record that says who: what is refused then.
Error no_right();

/// The host exists and renews its lease; an empty name: there is no holder. Error unavailable: which host, since when
/// it is silent is for the API.
Result<> check_host_alive(const CellView& view, const std::string& host);

/// Nobody keeps VMs off this host. Error conflict: who does, why, and how it ends.
Result<> check_not_in_maintenance(const CellView& view, const std::string& host);

/// Memory on `host` that is not promised to VMs whose right it holds and that should run (MiB).
std::uint64_t free_memory_mib(const CellView& view, const std::string& host, const std::string& except_vm);

/// Chooses hosts that the request left open and checks the others. Fills nominal_host and peer_host.
Result<> place(const CellView& view, VmSpec& spec, const std::string& self);

/// MACs for NICs that have none (derived from the VM's name, unique in the cell).
Result<> give_macs(const CellView& view, VmSpec& spec);

/// Minors, port and leg ids for a new VM. Leg ids come from `seed`, which must be new for every creation.
Result<Layout> lay_out(const CellView& view, const VmSpec& spec, const std::string& seed);

/// Which block of minors this one begins; nullopt: none that lay_out() gives.
std::optional<std::uint32_t> minor_block(std::uint32_t first);

/// Admission of a live migration; also the check of step admit-migration.
Result<> check_migration(const CellView& view, const VmView& vm, const std::string& target);

/// Admission of a start, with this much memory, on the host that holds the right.
Result<> check_start(const CellView& view, const VmView& vm, std::uint64_t memory_mib);

/// The state of the VM's domain on the host that holds its right.
DomainState domain_state(const VmView& vm);

/// Its guest stands still because no leg of it has a disk that answers.
bool waits_for_disk(const VmView& vm);

/// Policies of a migration by name.
struct MigrationPolicy {
  std::string_view name;
  std::uint32_t bandwidth_mib;               ///< MiB/s; 0 = no limit
  std::array<std::uint32_t, 4> downtime_ms;  ///< tried in turn when it does not converge
  std::uint32_t step_after_s;                ///< seconds without convergence before the next downtime
  bool auto_converge;                        ///< slow the guest down when the ladder is used up
  std::uint32_t give_up_after_s;             ///< then the migration is cancelled and undone; 0 = never
};
/// gentle, standard, must-finish; nullptr on another name.
const MigrationPolicy* migration_policy(std::string_view name);

}  // namespace bascule::core
