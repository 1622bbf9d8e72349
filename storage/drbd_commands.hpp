// The exact drbdsetup and drbdmeta command lines for one resource on one host. Pure; the unit test
// holds them against what `drbdadm --dry-run` makes of the generated configuration, for 8.4 and 9.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "storage/drbd_config.hpp"
#include "storage/resource.hpp"

namespace bascule::storage {

using Argv = std::vector<std::string>;

inline constexpr std::string_view kDrbdsetup = "/usr/sbin/drbdsetup";
inline constexpr std::string_view kDrbdmeta = "/usr/sbin/drbdmeta";

Argv down_command(std::string_view name);
Argv show_command(std::string_view name);
Argv events_now_command(std::string_view name);
Argv events_stream_command();

/// Commands on what the kernel runs already, by what it says of itself: no configuration is needed
/// to demote or cut.
struct Running {
  DrbdVersion version{};
  std::string name;
  std::vector<std::uint32_t> minors;
  std::string local, remote;  ///< "ipv4:10.0.0.1:7800"; empty without a connection (8.4)
  std::uint32_t peer_id{};    ///< 9

  /// 8.4: one for each minor, there the role is the device's.
  std::vector<Argv> primary(bool force) const;
  Argv generation(std::uint16_t volume, std::uint32_t minor) const;  ///< of an attached device
  std::vector<Argv> secondary() const;
  Argv disconnect(bool force) const;
  Argv two_primaries(bool allow) const;
  std::vector<Argv> suspend_io() const;  ///< one for each minor; the kernel's flag is the resource's
  std::vector<Argv> resume_io() const;
};

class DrbdCommands {
 public:
  /// Errors: invalid (see check).
  static core::Result<DrbdCommands> make(Resource resource, const DrbdOptions& options, DrbdVersion version,
                                         std::string_view self);

  const Resource& resource() const { return resource_; }
  const std::string& name() const { return name_; }
  const std::string& backing(const Volume& volume) const { return volume.backing[own_]; }

  // Metadata on a backing device that is not attached.
  Argv create_metadata(const Volume& volume) const;  ///< overwrites without asking
  /// Prints the generation; exit 1: no metadata there.
  Argv metadata_generation(const Volume& volume) const;
  /// Before every attach; 0 also when there is nothing to do.
  Argv apply_activity_log(const Volume& volume) const;
  /// Of a detached leg: Inconsistent, and every block to be resynced.
  Argv invalidate(const Volume& volume) const;

  Argv metadata_details(const Volume& volume) const;

  // Bringing up. On 9 the peer is made known before attaching and `connect` only opens it.
  Argv new_resource() const;
  Argv new_minor(const Volume& volume) const;
  std::vector<Argv> new_peer() const;  ///< empty on 8.4
  Argv attach(const Volume& volume, std::uint64_t size_kib) const;
  Argv connect(bool discard_own_data) const;

  /// The same resource for the commands that need no configuration.
  Running running() const;

  Argv skip_first_sync(const Volume& volume) const;
  Argv verify(const Volume& volume) const;
  Argv resize(const Volume& volume, std::uint64_t size_mib, bool assume_clean) const;
  /// Notes the device's size, by which moved metadata is found.
  Argv check_resize(const Volume& volume) const;
  Argv detach(const Volume& volume, bool force) const;
  Argv generation(const Volume& volume) const;  ///< of an attached device

 private:
  DrbdCommands() = default;
  const Endpoint& self() const { return resource_.hosts[own_]; }
  const Endpoint& peer() const { return resource_.hosts[1 - own_]; }
  bool nine() const { return version_ == DrbdVersion::v9; }
  std::string peer_id() const { return std::to_string(peer().node_id); }
  Argv meta(const Volume& volume) const;

  Resource resource_;
  std::string name_;
  Sections sections_;
  DrbdVersion version_{};
  std::size_t own_{};
};

/// The number in "100: Failure: (124) Device is attached to a disk" or "State change failed: (-12)";
/// 0 = none.
int failure_code(std::string_view said);
namespace failure {
inline constexpr int held_open = -12;       ///< SS_DEVICE_IN_USE
inline constexpr int transient = -18;       ///< SS_IN_TRANSIENT_STATE
inline constexpr int address_in_use = 102;  ///< connect: local address(port) already in use
inline constexpr int unknown_minor = 127;
inline constexpr int no_disk = 138;
inline constexpr int no_connection = 162;  ///< 8.4: "unknown connection"
}  // namespace failure

/// "0000000000000004:...": UUID_JUST_CREATED, that is: metadata made, never written since. The
/// lowest bit only says whether the device was primary.
bool just_created(std::string_view generation);

/// From `metadata_details`: the size both legs had last, 0 before they ever met, nullopt when the text does not say it.
std::optional<std::uint64_t> agreed_kib(std::string_view details);

}  // namespace bascule::storage
