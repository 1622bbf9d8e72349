#include "hostd/core/plan_rules.hpp"

#include "hostd/core/calendar.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <charconv>
#include <ranges>
#include <set>

#include "hostd/core/names.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

constexpr std::uint32_t kFirstMinor = 100;  // below are left to whatever else the machine uses
constexpr std::uint32_t kMinorBlocks = Limits::vms;
constexpr std::uint64_t kMinMemoryMib = 64;  // SeaBIOS and a small kernel do not boot below
constexpr std::uint64_t kMinVolumeMib = 8;   // DRBD's own metadata and alignment need some room

// Source: oVirt's named policies (convergence ladder), cut to four steps; see docs/operations.md.
constexpr std::array kPolicies{
    MigrationPolicy{"gentle", 64, {100, 150, 200, 300}, 20, false, 1800},
    MigrationPolicy{"standard", 0, {300, 400, 500, 1000}, 15, true, 1800},
    MigrationPolicy{"must-finish", 0, {500, 1000, 2000, 5000}, 10, true, 0},
};

std::uint32_t fnv1a(std::string_view text) {
  std::uint32_t h = 2166136261U;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 16777619U;
  return h;
}

Result<> check_volumes(const VmSpec& spec) {
  if (spec.volumes.empty() || spec.volumes.size() > Limits::volumes_per_vm) {
    return fail(Errc::invalid,
                fmt::format("volumes: 1 to {} are needed, {} given", Limits::volumes_per_vm, spec.volumes.size()));
  }
  std::set<std::string> names;
  for (const auto& v : spec.volumes) {
    if (auto r = check_name("volumes.name", v.name); !r) return r;
    if (!names.insert(v.name).second) return fail(Errc::invalid, "volumes.name: '" + v.name + "' is there twice");
    if (v.size_mib < kMinVolumeMib || v.size_mib > Limits::volume_mib) {
      return fail(Errc::invalid,
                  fmt::format("volumes.size_mib of '{}': {} to {} MiB", v.name, kMinVolumeMib, Limits::volume_mib));
    }
    if (!v.image.empty()) {
      if (auto r = check_name("volumes.image", v.image); !r) return r;
    }
  }
  return {};
}

Result<> check_nics(const VmSpec& spec) {
  if (spec.nics.size() > Limits::nics_per_vm) {
    return fail(Errc::invalid, fmt::format("networks: at most {}", Limits::nics_per_vm));
  }
  for (const auto& n : spec.nics) {
    if (auto r = check_name("networks.network", n.network); !r) return r;
    if (!n.mac.empty() && !valid_mac(n.mac)) {
      return fail(Errc::invalid, "networks.mac: six lower-case hex pairs with colons, unicast");
    }
  }
  return {};
}

std::string pick(const CellView& view, const VmSpec& spec, const std::string& self, std::optional<Site> not_on,
                 std::optional<Site> prefer_self_site) {
  std::string best;
  std::uint64_t best_free = 0;
  for (const auto& [id, h] : view.hosts) {
    if (!h.alive() || (not_on && h.info.value.site == *not_on)) continue;
    const std::uint64_t free = free_memory_mib(view, id, spec.name);
    if (free < spec.memory_mib) continue;
    const bool wins_tie = id == self && free == best_free && prefer_self_site.has_value();
    if (best.empty() || free > best_free || wins_tie) {
      best = id;
      best_free = free;
    }
  }
  return best;
}

Result<> check_networks_on(const CellView& view, const VmSpec& spec, const std::string& host) {
  const auto& offered = view.host(host)->info.value.networks;
  for (const auto& n : spec.nics) {
    if (std::ranges::find(offered, n.network) == offered.end()) {
      return fail(Errc::invalid, "networks.network: host " + host + " has no network '" + n.network + "'");
    }
  }
  return {};
}

// An emulating QEMU (TCG) before 9.0 misses writes of the guest while its memory is copied, and what arrives is
// damaged. Source: QEMU 9.0, "physmem: Fix migration dirty bitmap coherency with TCG memory access". KVM has its own
// log.
constexpr int kTcgMigratesSince = 9;

bool copies_all_memory(const HostInfo& source) {
  if (source.accel == "kvm") return true;
  int major = 0;
  const auto& version = source.qemu_version;
  std::from_chars(version.data(), version.data() + version.size(), major);
  return major >= kTcgMigratesSince;
}

}  // namespace

const MigrationPolicy* migration_policy(std::string_view name) {
  const auto it = std::ranges::find(kPolicies, name, &MigrationPolicy::name);
  return it == kPolicies.end() ? nullptr : &*it;
}

Result<> check_spec(const VmSpec& spec) {
  if (auto r = check_name("name", spec.name); !r) return r;
  if (auto r = check_name("project", spec.project); !r) return r;
  if (spec.cpus < 1 || spec.cpus > Limits::cpus) {
    return fail(Errc::invalid, fmt::format("cpus: 1 to {}", Limits::cpus));
  }
  if (spec.memory_mib < kMinMemoryMib || spec.memory_mib > Limits::memory_mib) {
    return fail(Errc::invalid, fmt::format("memory_mib: {} to {}", kMinMemoryMib, Limits::memory_mib));
  }
  if (migration_policy(spec.migration_policy) == nullptr) {
    return fail(Errc::invalid, "migration_policy: gentle, standard or must-finish");
  }
  for (const auto& h : {spec.nominal_host, spec.peer_host}) {
    if (!h.empty()) {
      if (auto r = check_name("hosts", h); !r) return r;
    }
  }
  if (!spec.copy_at.empty() && spec.protection != Protection::backup) {
    return fail(Errc::invalid, "copy_at: only with protection 'backup'");
  }
  if (spec.copy_at.size() > Limits::copies_per_day) {
    return fail(Errc::invalid, fmt::format("copy_at: at most {} times a day", Limits::copies_per_day));
  }
  for (const auto& at : spec.copy_at) {
    if (!minute_of_day(at)) return fail(Errc::invalid, "copy_at: times of the day in UTC such as 02:30 are needed");
  }
  if (spec.drill_every_days > Limits::drill_every_days) {
    return fail(Errc::invalid, fmt::format("drill_every_days: 0 to {}", Limits::drill_every_days));
  }
  if (spec.drill_every_days != 0 && spec.protection == Protection::none) {
    return fail(Errc::invalid, "drill_every_days: not with protection 'none', there is no other host to run it on");
  }
  if (auto r = check_volumes(spec); !r) return r;
  return check_nics(spec);
}

Result<const VmView*> find_vm(const CellView& view, const std::string& name) {
  const VmView* vm = view.vm(name);
  if (vm == nullptr || vm->spec.revision == 0) return fail(Errc::not_found, "there is no VM '" + name + "'");
  return vm;
}

Error no_right() {
  return fail(Errc::conflict, "the VM has no run-right: its creation did not end, or it was restored from a backup and "
                              "nobody has adopted it; nothing was changed");
}

Result<> check_host_alive(const CellView& view, const std::string& host) {
  if (host.empty()) return no_right();
  const HostView* h = view.host(host);
  if (h == nullptr) return fail(Errc::invalid, "there is no host '" + host + "' in this cell");
  if (h->info.revision == 0) {
    return fail(Errc::unavailable, "host " + host + " has not described itself yet: its hostd is just starting. " +
                                       "Nothing was changed; try again when `hostctl host list` shows it alive");
  }
  if (h->silent) {
    return fail(Errc::unavailable, "host " + host +
                                       " does not renew its lease: its hostd is down or cut off. "
                                       "Nothing was changed; try again when `hostctl host list` shows it alive");
  }
  return {};
}

Result<> check_not_in_maintenance(const CellView& view, const std::string& host) {
  const HostView* h = view.host(host);
  if (h == nullptr || h->maintenance.revision == 0) return {};
  return fail(Errc::conflict,
              fmt::format("host {} is in maintenance (asked by {}: \"{}\"); `hostctl host maintenance {} "
                          "off` ends it",
                          host, h->maintenance.value.author, h->maintenance.value.reason, host));
}

std::uint64_t free_memory_mib(const CellView& view, const std::string& host, const std::string& except_vm) {
  const HostView* h = view.host(host);
  if (h == nullptr) return 0;
  std::uint64_t used = 0;
  for (const auto& [name, vm] : view.vms) {
    if (name == except_vm || vm.spec.value.power == Power::off) continue;
    const bool here = vm.right.revision != 0 ? vm.right.value.host == host : vm.spec.value.nominal_host == host;
    const bool coming = vm.right.value.migrating_to == host;
    if (here || coming) used += vm.spec.value.memory_mib;
  }
  const std::uint64_t total = h->info.value.memory_mib;
  return used >= total ? 0 : total - used;
}

Result<> place(const CellView& view, VmSpec& spec, const std::string& self) {
  if (spec.nominal_host.empty()) {
    std::optional<Site> avoid;
    if (const HostView* p = view.host(spec.peer_host)) avoid = p->info.value.site;
    spec.nominal_host = pick(view, spec, self, avoid, Site::a);
    if (spec.nominal_host.empty()) {
      return fail(Errc::exhausted, fmt::format("no live host has {} MiB of memory free", spec.memory_mib));
    }
  }
  if (auto r = check_host_alive(view, spec.nominal_host); !r) return r;
  const Site site = view.host(spec.nominal_host)->info.value.site;
  if (spec.peer_host.empty()) {
    spec.peer_host = pick(view, spec, self, site, std::nullopt);
    if (spec.peer_host.empty()) {
      return fail(Errc::exhausted, "no live host on the other site has enough memory for the second copy");
    }
  }
  if (auto r = check_host_alive(view, spec.peer_host); !r) return r;
  if (view.host(spec.peer_host)->info.value.site == site) {
    return fail(Errc::invalid, "hosts: " + spec.nominal_host + " and " + spec.peer_host +
                                   " are on the same site; a volume has one leg on each");
  }
  for (const auto& host : {spec.nominal_host, spec.peer_host}) {
    if (auto r = check_networks_on(view, spec, host); !r) return r;
  }
  return {};
}

Result<> give_macs(const CellView& view, VmSpec& spec) {
  std::set<std::string> used;
  for (const auto& [name, vm] : view.vms) {
    if (name == spec.name) continue;
    for (const auto& n : vm.spec.value.nics) used.insert(n.mac);
  }
  for (std::size_t i = 0; i < spec.nics.size(); ++i) {
    auto& nic = spec.nics[i];
    if (!nic.mac.empty()) {
      if (!used.insert(nic.mac).second) return fail(Errc::conflict, "networks.mac: " + nic.mac + " is in use");
      continue;
    }
    // 52:54:00 is QEMU's locally administered prefix. 2^24 addresses against at most 4096 * 8 NICs: the walk ends.
    for (std::uint32_t h = fnv1a(spec.name + '/' + std::to_string(i));; ++h) {
      nic.mac = fmt::format("52:54:00:{:02x}:{:02x}:{:02x}", (h >> 16) & 255U, (h >> 8) & 255U, h & 255U);
      if (used.insert(nic.mac).second) break;
    }
  }
  return {};
}

std::optional<std::uint32_t> minor_block(std::uint32_t first) {
  const std::uint32_t block = (first - kFirstMinor) / Limits::volumes_per_vm;
  const bool begins = first >= kFirstMinor && (first - kFirstMinor) % Limits::volumes_per_vm == 0;
  return begins && block < kMinorBlocks ? std::optional(block) : std::nullopt;
}

Result<Layout> lay_out(const CellView& view, const VmSpec& spec, const std::string& seed) {
  std::set<std::uint32_t> blocks;
  std::set<std::uint16_t> ports;
  for (const auto& [name, vm] : view.vms) {
    if (vm.layout.revision == 0 || vm.layout.value.volumes.empty()) continue;
    blocks.insert((vm.layout.value.volumes.front().minor - kFirstMinor) / Limits::volumes_per_vm);
    ports.insert(vm.layout.value.port);
  }
  Layout layout;
  const auto& a = view.host(spec.nominal_host)->info.value;
  const auto& b = view.host(spec.peer_host)->info.value;
  std::uint32_t port = std::max(a.first_port, b.first_port);
  const std::uint32_t last = std::min(a.last_port, b.last_port);
  while (port <= last && ports.contains(static_cast<std::uint16_t>(port))) ++port;
  std::uint32_t block = 0;
  while (block < kMinorBlocks && blocks.contains(block)) ++block;
  if (port > last) return fail(Errc::exhausted, "no replication port is free on both hosts");
  if (block == kMinorBlocks) return fail(Errc::exhausted, "no DRBD minor is free in this cell");
  layout.port = static_cast<std::uint16_t>(port);
  for (std::uint32_t i = 0; i < spec.volumes.size(); ++i) {
    const auto& v = spec.volumes[i];
    layout.volumes.push_back({.name = v.name,
                              .minor = kFirstMinor + block * std::uint32_t{Limits::volumes_per_vm} + i,
                              .size_mib = v.size_mib,
                              .legs = {{spec.nominal_host, seed + "a" + std::to_string(i)},
                                       {spec.peer_host, seed + "b" + std::to_string(i)}}});
  }
  return layout;
}

Result<> check_start(const CellView& view, const VmView& vm, std::uint64_t memory_mib) {
  if (vm.right.revision == 0) return no_right();
  const std::string& host = vm.right.value.host;
  if (auto r = check_host_alive(view, host); !r) return r;
  if (auto r = check_not_in_maintenance(view, host); !r) return r;
  if (auto r = claim(vm.right.value, vm.layout.value, host); !r) return r.error();
  const std::uint64_t free = free_memory_mib(view, host, vm.spec.value.name);
  if (free < memory_mib) {
    return fail(Errc::exhausted,
                fmt::format("host {} has {} MiB of memory free, the VM needs {}", host, free, memory_mib));
  }
  return {};
}

DomainState domain_state(const VmView& vm) {
  const auto it = vm.status.find(vm.right.value.host);
  return it == vm.status.end() ? DomainState::absent : it->second.domain;
}

bool waits_for_disk(const VmView& vm) {
  const auto it = vm.status.find(vm.right.value.host);
  return it != vm.status.end() && it->second.domain != DomainState::absent &&
         it->second.suspended.find("no-data") != std::string::npos;
}

Result<> check_migration(const CellView& view, const VmView& vm, const std::string& target) {
  const std::string& source = vm.right.value.host;
  if (vm.right.revision == 0) return no_right();
  if (target == source) return fail(Errc::invalid, "the VM already runs on " + target);
  if (domain_state(vm) != DomainState::running) {
    return fail(Errc::conflict, "the VM is not running (" + std::string(to_string(domain_state(vm))) + " on " + source +
                                    "); only a running VM is migrated live");
  }
  if (auto r = check_host_alive(view, source); !r) return r;
  if (auto r = check_host_alive(view, target); !r) return r;
  if (auto r = check_not_in_maintenance(view, target); !r) return r;
  if (const auto& from = view.host(source)->info.value; !copies_all_memory(from)) {
    return fail(Errc::conflict, fmt::format("host {} emulates its guests with QEMU {}, which damages a guest's memory "
                                            "when it is moved live; KVM or QEMU {}.0 is needed. The VM keeps running",
                                            source, from.qemu_version, kTcgMigratesSince));
  }
  if (auto r = mark(vm.right.value, vm.layout.value, source, target); !r) return r.error();
  const auto status = vm.status.find(source);
  for (const auto& v : vm.layout.value.volumes) {
    const auto seen = status->second.volumes.find(v.name);
    if (status->second.connection != "Connected" || seen == status->second.volumes.end() ||
        seen->second.replication != "Established" || seen->second.peer_disk != "UpToDate") {
      return fail(Errc::conflict, "volume " + v.name + " is not in sync between the sites (connection " +
                                      status->second.connection + "); the VM keeps running on " + source +
                                      ". Wait for the resync to end, then migrate");
    }
  }
  const std::uint64_t free = free_memory_mib(view, target, vm.spec.value.name);
  if (free < vm.spec.value.memory_mib) {
    return fail(Errc::exhausted, fmt::format("host {} has {} MiB of memory free, the VM needs {}", target, free,
                                             vm.spec.value.memory_mib));
  }
  if (view.host(target)->info.value.cpus < vm.spec.value.cpus) {
    return fail(Errc::exhausted, fmt::format("host {} has {} CPUs, the VM needs {}", target,
                                             view.host(target)->info.value.cpus, vm.spec.value.cpus));
  }
  return {};
}

}  // namespace bascule::core
