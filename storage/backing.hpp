// Backing devices of legs: names, sizes, command lines and the parsing of what the tools print.
// Pure.
//
// A new leg reads as zeroes: thin volumes and sparse files by construction, thick volumes because
// they are overwritten. LVM tags carry what a crash must not lose: a volume without kTagReady is
// not finished; kTagGrow... says from where new space has yet to be zeroed. Neither tag is there
// once the leg may hold data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::storage {

using Argv = std::vector<std::string>;

enum class PoolKind : std::uint8_t { loop, lvm, lvm_thin };
std::string_view to_string(PoolKind kind);
std::optional<PoolKind> parse_pool_kind(std::string_view text);  ///< "loop", "lvm", "lvm-thin"

struct PoolConfig {
  PoolKind kind{PoolKind::loop};
  std::string path;       ///< loop: the folder of the files
  std::string group;      ///< lvm
  std::string thin_pool;  ///< lvm-thin
};
/// Errors: invalid, names the key.
core::Result<> check(const PoolConfig& config);

/// Which leg: the id is new whenever a backing device is made, so no two legs ever share a name.
struct LegName {
  std::string vm, volume, id;
  bool operator==(const LegName&) const = default;
};
/// Which snapshot of a leg; one of each at most. `copy`: the cold copy before it is refreshed. `repair`: what a leg
/// held before it was resynced from the other after a split brain; it stays until somebody removes it by hand.
enum class Snapshot : std::uint8_t { copy, repair };

/// bascule-<vm>-<volume>-<id>. Errors: invalid (a bad part, or too long for the device mapper).
core::Result<std::string> device_name(const LegName& leg, const PoolConfig& config);

/// What is appended to a leg's name for its snapshot: "-copy", "-repair".
std::string snapshot_suffix(Snapshot which);

/// Sectors DRBD's internal metadata takes at the end of a device of this size: the bitmap (one bit
/// for 4 KiB) in 4 KiB steps, 32 KiB of activity log, the superblock. Measured: 80 sectors on 65
/// MiB.
std::uint64_t metadata_sectors(std::uint64_t device_sectors);
/// The backing device that leaves `size_mib` after the metadata, in whole MiB.
std::uint64_t backing_mib(std::uint64_t size_mib);

inline constexpr std::string_view kTagNew = "bascule_new";      ///< made, not yet known to be all zeroes
inline constexpr std::string_view kTagReady = "bascule_ready";  ///< may hold data: never made or zeroed again
inline constexpr std::string_view kTagGrow = "bascule_grow_";   ///< + old size in MiB: new space not yet zeroed

// Command lines. `name` comes from device_name, sizes are of the backing device.
Argv list_volumes(const PoolConfig& config);  ///< lvs of the whole group
Argv list_group(const PoolConfig& config);    ///< vgs
Argv create_volume(const PoolConfig& config, const std::string& name, std::uint64_t mib);
Argv activate_volume(const PoolConfig& config, const std::string& name);
Argv extend_volume(const PoolConfig& config, const std::string& name, std::uint64_t mib);
Argv remove_volume(const PoolConfig& config, const std::string& name);
/// Thick: as large as its origin, so that it never overflows.
Argv snapshot_volume(const PoolConfig& config, const std::string& origin, const std::string& name);
/// Adds `add` and takes away `drop` (empty = none) in one metadata commit.
Argv retag_volume(const PoolConfig& config, const std::string& name, std::string_view add, std::string_view drop);
/// From an offset to the end. Refused while the device is in use, unless `in_use`: growing happens under DRBD.
Argv zero_device(const std::string& path, std::uint64_t from_bytes, bool in_use);

std::string volume_path(const PoolConfig& config,
                        const std::string& name);                          ///< /dev/<group>/<name>
std::string file_path(const PoolConfig& config, const std::string& name);  ///< <path>/<name>.img
Argv loop_list(const std::string& file);
Argv loop_attach(const std::string& file);
Argv loop_set_capacity(const std::string& device);
Argv loop_detach(const std::string& device);

struct LvInfo {
  std::string name;
  std::uint64_t size_bytes{};
  std::vector<std::string> tags;
  std::string pool;  ///< the thin pool it lives in; empty = thick or a pool itself
  bool active{};
  double data_percent{};  ///< of a thin pool or thin volume
  bool has_tag(std::string_view tag) const;
};
struct VgInfo {
  std::string name;
  std::uint64_t size_bytes{}, free_bytes{}, extent_bytes{};
};
struct LoopInfo {
  std::string device, file;
  bool direct_io{}, read_only{};
};

/// Output of list_volumes, list_group, loop_list. Errors: invalid; never throws.
core::Result<std::vector<LvInfo>> parse_lvs(std::string_view json);
core::Result<VgInfo> parse_vgs(std::string_view json, std::string_view group);
/// Empty text means no devices: losetup prints nothing then.
core::Result<std::vector<LoopInfo>> parse_losetup(std::string_view json);

const LvInfo* find_lv(const std::vector<LvInfo>& volumes, std::string_view name);
/// From a kTagGrow tag: the old size; nullopt when there is none.
std::optional<std::uint64_t> pending_growth(const LvInfo& volume);

struct PoolSpace {
  std::uint64_t total_mib{}, free_mib{};
};
/// Thick: what the group has free. Thin: the pool less what its volumes were promised; a pool that
/// runs full fails all its volumes at once, so nothing is promised twice. Errors: not_found (no
/// such thin pool).
core::Result<PoolSpace> lvm_space(const PoolConfig& config, const VgInfo& group, const std::vector<LvInfo>& volumes);

/// Errors: exhausted, saying how much is free and how much is needed.
core::Result<> check_room(const PoolConfig& config, const PoolSpace& space, std::uint64_t needed_mib);

}  // namespace bascule::storage
