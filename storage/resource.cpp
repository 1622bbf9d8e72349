#include "storage/resource.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "hostd/core/model.hpp"
#include "hostd/core/names.hpp"

namespace bascule::storage {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kPrefix = "vm-";
constexpr std::size_t kMaxPath = 255;
constexpr std::size_t kMaxSecret = 63;        // DRBD's SHARED_SECRET_MAX is 64 with the NUL
constexpr std::uint32_t kMaxMinor = 1048575;  // 20 bits
constexpr std::size_t kMaxHostName = 64;      // Linux, utsname

bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

/// Letters, digits and a few marks; no quote, blank, brace, semicolon, backslash, control character
/// or leading hyphen.
bool plain(std::string_view text, std::string_view marks, std::size_t limit) {
  return !text.empty() && text.size() <= limit && text.front() != '-' &&
         std::ranges::all_of(text, [&](char c) { return alnum(c) || marks.find(c) != std::string_view::npos; });
}

bool valid_path(std::string_view path) {
  return plain(path, "/_.+-:@", kMaxPath) && path.front() == '/' && path.find("/../") == std::string_view::npos &&
         !path.ends_with("/..");
}

bool is_v4(const std::string& address) {
  in_addr out{};
  return ::inet_pton(AF_INET, address.c_str(), &out) == 1;
}
bool is_v6(const std::string& address) {
  in6_addr out{};
  return ::inet_pton(AF_INET6, address.c_str(), &out) == 1;
}

Result<> check_endpoint(const Endpoint& endpoint) {
  if (!plain(endpoint.host, "-.", kMaxHostName)) {
    return fail(Errc::invalid, "replication: a host's name may hold letters, digits, dots and hyphens only");
  }
  if (endpoint.address.size() > INET6_ADDRSTRLEN || (!is_v4(endpoint.address) && !is_v6(endpoint.address))) {
    return fail(Errc::invalid,
                fmt::format("replication: the address of {} is not an IPv4 or IPv6 literal", endpoint.host));
  }
  if (endpoint.port == 0) return fail(Errc::invalid, fmt::format("replication: {} has no port", endpoint.host));
  if (endpoint.node_id > 15) return fail(Errc::invalid, "replication: a node id is 0 to 15");
  return {};
}

Result<> check_volume(const Volume& volume, std::size_t own) {
  if (auto ok = core::check_name("volume", volume.name); !ok) return ok;
  const auto bad = [&](std::string_view what) {
    return fail(Errc::invalid, fmt::format("volume {}: {}", volume.name, what));
  };
  if (volume.index >= core::Limits::volumes_per_vm) return bad("its number in the resource is out of range");
  if (volume.minor > kMaxMinor) return bad("its minor is out of range");
  if (volume.size_mib == 0 || volume.size_mib > core::Limits::volume_mib) return bad("its size is out of range");
  if (volume.backing[own].empty()) return bad("this host's backing device is not known");
  for (const auto& path : volume.backing) {
    if (!path.empty() && !valid_path(path)) return bad("a backing device is not a plain absolute path");
  }
  return {};
}

struct Range {
  const char* name;
  std::uint32_t value, low, high;
};

}  // namespace

std::string_view to_string(DrbdVersion version) { return version == DrbdVersion::v8_4 ? "8.4" : "9"; }

Result<DrbdVersion> parse_drbd_version(std::string_view text) {
  constexpr std::string_view kLabel = "version: ";
  if (text.starts_with(kLabel)) text.remove_prefix(kLabel.size());
  if (text.starts_with("8.4.")) return DrbdVersion::v8_4;
  if (text.starts_with("9.")) return DrbdVersion::v9;
  return fail(Errc::invalid, "this DRBD kernel module is neither 8.4 nor 9; nothing was changed, load a supported one");
}

std::string resource_name(std::string_view vm) { return std::string(kPrefix).append(vm); }

std::string_view vm_of(std::string_view resource) {
  if (!resource.starts_with(kPrefix)) return {};
  resource.remove_prefix(kPrefix.size());
  return core::valid_name(resource) ? resource : std::string_view{};
}

std::string device_path(std::uint32_t minor) { return fmt::format("/dev/drbd{}", minor); }

Result<std::size_t> side_of(const Resource& resource, std::string_view host) {
  for (std::size_t i = 0; i < resource.hosts.size(); ++i) {
    if (resource.hosts[i].host == host) return i;
  }
  return fail(Errc::not_found, fmt::format("{} has no leg of VM {}", host, resource.vm));
}

const Volume* find_volume(const Resource& resource, std::string_view name) {
  const auto it = std::ranges::find(resource.volumes, name, &Volume::name);
  return it == resource.volumes.end() ? nullptr : &*it;
}

Result<> check(const Resource& resource, std::string_view self) {
  if (auto ok = core::check_name("vm", resource.vm); !ok) return ok;
  for (const auto& endpoint : resource.hosts) {
    if (auto ok = check_endpoint(endpoint); !ok) return ok;
  }
  const auto& [a, b] = resource.hosts;
  if (a.host == b.host || a.address == b.address || a.node_id == b.node_id) {
    return fail(Errc::invalid,
                fmt::format("VM {}: its two hosts must differ in name, address and node id", resource.vm));
  }
  if (is_v4(a.address) != is_v4(b.address)) {
    return fail(Errc::invalid, fmt::format("VM {}: replication addresses must be of one family", resource.vm));
  }
  const auto own = side_of(resource, self);
  if (!own) return fail(Errc::invalid, own.error().what);
  if (resource.volumes.empty() || resource.volumes.size() > core::Limits::volumes_per_vm) {
    return fail(Errc::invalid, fmt::format("VM {}: 1 to {} volumes", resource.vm, core::Limits::volumes_per_vm));
  }
  std::set<std::string_view> names;
  std::set<std::string_view> paths;
  std::set<std::uint32_t> minors;
  std::set<std::uint16_t> indexes;
  for (const auto& volume : resource.volumes) {
    if (auto ok = check_volume(volume, *own); !ok) return ok;
    if (!names.insert(volume.name).second || !minors.insert(volume.minor).second ||
        !indexes.insert(volume.index).second || !paths.insert(volume.backing[*own]).second) {
      return fail(Errc::invalid, fmt::format("VM {}: two volumes share a name, number, minor or device", resource.vm));
    }
  }
  if (!resource.secret.empty() && !plain(resource.secret, "+/=_.", kMaxSecret)) {
    return fail(Errc::invalid, "replication secret: 1 to 63 letters, digits and + / = _ . only");
  }
  return {};
}

Result<> check(const DrbdOptions& o) {
  if (!valid_path(o.fence_peer)) return fail(Errc::invalid, "fence-peer: not a plain absolute path");
  if (!valid_path(o.lost_disks)) return fail(Errc::invalid, "lost-disks: not a plain absolute path");
  // The limits of drbd_limits.h and, for the handler, of drbdadm.
  for (const Range& r :
       {Range{"handler timeout", o.handler_timeout_s, 1, 900}, Range{"ping-int", o.ping_int_s, 1, 120},
        Range{"ping-timeout", o.ping_timeout_ds, 1, 300}, Range{"timeout", o.timeout_ds, 1, 600},
        Range{"connect-int", o.connect_int_s, 1, 120}, Range{"ko-count", o.ko_count, 1, 200},
        Range{"resync ceiling", o.resync_max_kib, 250, 4194304}, Range{"resync floor", o.resync_min_kib, 1, 4194304},
        Range{"resync fill", o.resync_fill_kib, 1, 524288}, Range{"max-buffers", o.max_buffers, 32, 131072},
        Range{"al-extents", o.al_extents, 67, 6433}}) {
    if (r.value < r.low || r.value > r.high) {
      return fail(Errc::invalid,
                  fmt::format("replication {}: {} is not within {} and {}", r.name, r.value, r.low, r.high));
    }
  }
  if (o.timeout_ds >= 10 * o.ping_int_s || o.timeout_ds >= 10 * o.connect_int_s) {
    return fail(Errc::invalid, "replication timeout must be shorter than ping-int and connect-int");
  }
  if (o.resync_min_kib > o.resync_max_kib) return fail(Errc::invalid, "replication resync floor is above its ceiling");
  for (const auto* name : {&o.verify_alg, &o.csums_alg, &o.hmac_alg}) {
    if (!plain(*name, "-", 32))
      return fail(Errc::invalid, "replication: a digest's name is letters, digits and hyphens");
  }
  return {};
}

std::string address_argument(const Endpoint& endpoint) {
  return is_v4(endpoint.address) ? fmt::format("ipv4:{}:{}", endpoint.address, endpoint.port)
                                 : fmt::format("ipv6:[{}]:{}", endpoint.address, endpoint.port);
}

}  // namespace bascule::storage
