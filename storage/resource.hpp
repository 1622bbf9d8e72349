// A VM's DRBD resource as plain values. Everything that generates a configuration or a command
// starts from a Resource that `check` has accepted; no text from outside reaches DRBD otherwise.
// Thread rule: values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::storage {

/// Which family of kernel module runs here; configuration, commands and metadata differ.
enum class DrbdVersion : std::uint8_t { v8_4, v9 };

std::string_view to_string(DrbdVersion version);

/// From /sys/module/drbd/version ("8.4.11\n") or the first line of /proc/drbd ("version: 8.4.11
/// (api..."). Errors: invalid when it is neither 8.4 nor 9.
core::Result<DrbdVersion> parse_drbd_version(std::string_view text);

struct Volume {
  std::string name;          ///< the client's name for it
  std::uint16_t index{};     ///< DRBD volume number inside the resource
  std::uint32_t minor{};     ///< the same on both hosts
  std::uint64_t size_mib{};  ///< what the guest sees, exactly
  /// Backing device on each host, in the order of Resource::hosts. Only this host's must be set;
  /// loop devices get their name at activation and the other host's name for its own is its own
  /// affair.
  std::array<std::string, 2> backing;
  bool without_disk{};  ///< `up_standalone` makes the device and leaves its disk away
  bool operator==(const Volume&) const = default;
};

struct Endpoint {
  std::string host;     ///< `uname -n` there: drbdadm picks its own section by it
  std::string address;  ///< replication address, IPv4 or IPv6 literal
  std::uint16_t port{};
  std::uint8_t node_id{};  ///< DRBD 9 only
  bool operator==(const Endpoint&) const = default;
};

/// One VM's volumes, on one pair of hosts: it freezes, promotes and arbitrates as one.
struct Resource {
  std::string vm;
  std::array<Endpoint, 2> hosts;
  std::vector<Volume> volumes;
  /// Authenticates the peers to each other (it does not encrypt). Empty = none. Never logged.
  std::string secret;
  bool operator==(const Resource&) const = default;
};

/// Knobs of a cell. The defaults are for a fibre of 1 to 2 ms; limits are those of DRBD 8.4
/// (drbd_limits.h).
struct DrbdOptions {
  std::string fence_peer{"/usr/libexec/bascule/hostd-fence-peer"};  ///< one program: the kernel's helper execs it
  std::string lost_disks{"/var/lib/bascule/state/lost-disks"};      ///< where that program keeps which disks failed
  std::uint32_t handler_timeout_s{900};  ///< drbdadm's limit for a handler (cmd-timeout-long); its own default is none
  std::uint32_t ping_int_s{3};           ///< idle link: ping this often
  std::uint32_t ping_timeout_ds{5};      ///< 1/10 s; S8: ping-int + ping-timeout < takeover
  std::uint32_t timeout_ds{20};          ///< 1/10 s; below ping-int and connect-int
  std::uint32_t connect_int_s{5};
  std::uint32_t ko_count{7};
  std::uint32_t resync_max_kib{716800};  ///< ceiling of the dynamic resync, KiB/s
  std::uint32_t resync_min_kib{10240};
  std::uint32_t resync_fill_kib{1024};  ///< c-fill-target
  std::uint32_t max_buffers{8192};
  std::uint32_t al_extents{6007};
  std::string verify_alg{"crc32c"};
  std::string csums_alg{"crc32c"};
  std::string hmac_alg{"sha256"};  ///< used only when the resource has a secret
  bool operator==(const DrbdOptions&) const = default;
};

/// What `promote` may override. `outdated`: a person gave up what the other leg has more, and the record lists these
/// legs alone. `fresh`: the only leg there is, with metadata that no write has changed yet.
enum class Force : std::uint8_t { no, outdated, fresh };

/// What `connect` gives up when both legs were written to apart.
enum class Discard : std::uint8_t { nothing, own_data };

/// vm-<vm>
std::string resource_name(std::string_view vm);
/// The VM of a DRBD resource that is ours; empty for anybody else's.
std::string_view vm_of(std::string_view resource);
/// /dev/drbd<minor>
std::string device_path(std::uint32_t minor);

/// The index (0 or 1) of `host` in the pair. Errors: not_found.
core::Result<std::size_t> side_of(const Resource& resource, std::string_view host);
const Volume* find_volume(const Resource& resource, std::string_view name);

/// Names, addresses, paths, numbers and uniqueness; `self` must be one of the two hosts and have
/// every backing path. Nothing that passes can end a quoted string, start an option or leave its
/// line. Errors: invalid, names the field.
core::Result<> check(const Resource& resource, std::string_view self);
core::Result<> check(const DrbdOptions& options);

/// "ipv4:10.0.0.1:7800", "ipv6:[fe80::1]:7800": how drbdsetup writes an endpoint.
std::string address_argument(const Endpoint& endpoint);

}  // namespace bascule::storage
