// The exact drbdsetup and drbdmeta command lines for one resource on one host. Pure; the unit test
// holds them against what `drbdadm --dry-run` makes of the generated configuration, for 8.4 and 9.
#pragma once

#include <cstdint>
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

class DrbdCommands {
 public:
  /// Errors: invalid (see check).
  static core::Result<DrbdCommands> make(Resource resource, const DrbdOptions& options,
                                         DrbdVersion version, std::string_view self);

  const Resource& resource() const { return resource_; }
  const std::string& name() const { return name_; }
  const std::string& backing(const Volume& volume) const { return volume.backing[own_]; }

  // Metadata on a backing device that is not attached.
  Argv create_metadata(const Volume& volume) const;  ///< overwrites without asking
  Argv metadata_generation(
      const Volume& volume) const;  ///< prints the generation; exit 1: no metadata there
  Argv apply_activity_log(
      const Volume& volume) const;  ///< before every attach; 0 also when there is nothing to do

  // Bringing up. On 9 the peer is made known before attaching and `connect` only opens it.
  Argv new_resource() const;
  Argv new_minor(const Volume& volume) const;
  std::vector<Argv> new_peer() const;  ///< empty on 8.4
  Argv attach(const Volume& volume) const;
  Argv connect() const;

  Argv disconnect(bool force) const;
  Argv two_primaries(bool allow) const;
  std::vector<Argv> primary()
      const;  ///< 8.4: one command for each minor, there the role is the device's
  std::vector<Argv> secondary() const;
  Argv skip_first_sync(const Volume& volume) const;
  Argv verify(const Volume& volume) const;
  Argv resize(const Volume& volume, std::uint64_t size_mib, bool assume_clean) const;
  Argv detach(const Volume& volume, bool force) const;
  Argv generation(const Volume& volume) const;  ///< of an attached device
  Argv down() const;
  Argv show() const;

  Argv events_now() const;
  static Argv events_stream();
  static Argv down(std::string_view resource_name);
  static Argv events_now(std::string_view resource_name);

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

/// "0000000000000004:...": UUID_JUST_CREATED, that is: metadata made, never written since. The
/// lowest bit only says whether the device was primary.
bool just_created(std::string_view generation);

}  // namespace bascule::storage
