#include "hostd/core/domain.hpp"

#include <algorithm>
#include <array>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <charconv>
#include <set>

#include "hostd/core/names.hpp"

namespace bascule::core {
namespace {

// Random, fixed for ever: changing it changes every VM's uuid.
constexpr boost::uuids::uuid uuid_namespace{
    {0x6a, 0x1f, 0x0b, 0x52, 0x9c, 0x7d, 0x4e, 0x35, 0x8b, 0x60, 0x2d, 0xe4, 0x71, 0xc9, 0x38, 0xaf}};

bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool valid_ipv4(std::string_view text) {
  int parts = 0;
  while (true) {
    const auto dot = text.find('.');
    const auto part = text.substr(0, dot);
    if (part.empty() || part.size() > 3 || (part.size() > 1 && part.front() == '0')) return false;
    if (!std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; })) return false;
    if (const auto value = number<unsigned>(part); !value || *value > 255) return false;
    ++parts;
    if (dot == std::string_view::npos) return parts == 4;
    text.remove_prefix(dot + 1);
  }
}

/// Groups of 1-4 hex digits, eight of them, or fewer around one "::". No embedded IPv4: our addresses have none.
bool valid_ipv6(std::string_view text) {
  if (text.size() < 2 || text.size() > 39) return false;
  const auto gap = text.find("::");
  const bool has_gap = gap != std::string_view::npos;
  if (has_gap && text.find("::", gap + 1) != std::string_view::npos) return false;
  const auto groups = [](std::string_view part) -> int {
    int count = 0;
    while (!part.empty()) {
      const auto colon = part.find(':');
      const auto group = part.substr(0, colon);
      if (group.empty() || group.size() > 4) return -1;
      const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
      if (!std::ranges::all_of(group, hex)) return -1;
      ++count;
      if (colon == std::string_view::npos) return count;
      part.remove_prefix(colon + 1);
      if (part.empty()) return -1;
    }
    return count;
  };
  if (!has_gap) return groups(text) == 8;
  const int left = groups(text.substr(0, gap));
  const int right = groups(text.substr(gap + 2));
  return left >= 0 && right >= 0 && left + right <= 7;
}

Result<> check_disks(const DomainSpec& spec) {
  if (spec.disks.empty() || spec.disks.size() > Limits::volumes_per_vm) {
    return fail(Errc::invalid, "disks: a domain has 1 to " + std::to_string(Limits::volumes_per_vm));
  }
  std::set<std::uint32_t> indexes;
  std::set<std::string> devices;
  for (const auto& disk : spec.disks) {
    if (disk.index >= Limits::volumes_per_vm || !indexes.insert(disk.index).second) {
      return fail(Errc::invalid, "disks: index " + std::to_string(disk.index) + " is too large or used twice");
    }
    if (!valid_drbd_device(disk.device) || !devices.insert(disk.device).second) {
      return fail(Errc::invalid, "disks: '" + disk.device + "' is not a DRBD device of its own");
    }
    if (!valid_name(disk.serial)) return fail(Errc::invalid, "disks: a serial is a name");
  }
  return {};
}

Result<> check_nics(const DomainSpec& spec) {
  if (spec.nics.size() > Limits::nics_per_vm) return fail(Errc::invalid, "nics: too many");
  std::set<std::string> macs;
  for (const auto& nic : spec.nics) {
    if (!valid_bridge(nic.bridge)) return fail(Errc::invalid, "nics: '" + nic.bridge + "' is not a bridge name");
    if (!valid_mac(nic.mac)) return fail(Errc::invalid, "nics: '" + nic.mac + "' is not a MAC address");
    if (!macs.insert(nic.mac).second) return fail(Errc::invalid, "nics: MAC address used twice");
  }
  return {};
}

}  // namespace

std::string domain_uuid(std::string_view cell, std::string_view name) {
  // '/' is in no name, so two different pairs never give the same text.
  const std::string text = std::string(cell) + "/" + std::string(name);
  return to_string(boost::uuids::name_generator_sha1(uuid_namespace)(text));
}

bool valid_bridge(std::string_view name) {
  if (name.empty() || name.size() > 15 || name == "." || name == "..") return false;
  return std::ranges::all_of(name, [](char c) { return alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool valid_drbd_device(std::string_view path) {
  constexpr std::string_view prefix = "/dev/drbd";
  if (!path.starts_with(prefix)) return false;
  const auto digits = path.substr(prefix.size());
  if (digits.empty() || digits.size() > 7 || (digits.size() > 1 && digits.front() == '0')) return false;
  if (!std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; })) return false;
  const auto minor = number<std::uint32_t>(digits);
  return minor && *minor < (1U << 20U);
}

bool valid_ip(std::string_view text) { return valid_ipv4(text) || valid_ipv6(text); }

Result<> check(const DomainSpec& spec) {
  if (auto ok = check_name("name", spec.name); !ok) return ok;
  const bool uuid_ok = spec.uuid.size() == 36 && std::ranges::all_of(spec.uuid, [](char c) {
                         return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
                       });
  if (!uuid_ok) return fail(Errc::invalid, "uuid: not in the form domain_uuid() gives");
  if (spec.cpus == 0 || spec.cpus > Limits::cpus) {
    return fail(Errc::invalid, "cpus: 1 to " + std::to_string(Limits::cpus));
  }
  if (spec.memory_mib == 0 || spec.memory_mib > Limits::memory_mib) {
    return fail(Errc::invalid, "memory_mib: 1 to " + std::to_string(Limits::memory_mib));
  }
  const bool model_ok = !spec.cpu_model.empty() && spec.cpu_model.size() <= 40 &&
                        std::ranges::all_of(spec.cpu_model, [](char c) { return alnum(c) || c == '-' || c == '_'; });
  if (!model_ok) return fail(Errc::invalid, "cpu_model: letters, digits, '-' and '_'");
  if (auto ok = check_disks(spec); !ok) return ok;
  return check_nics(spec);
}

Result<> check(const RightProof& proof, std::string_view vm, std::string_view host) {
  if (proof.vm == vm && proof.host == host && proof.epoch > 0 && proof.revision > 0) return {};
  return fail(Errc::internal, "'" + std::string(vm) + "' was not touched: the run-right shown is for '" + proof.vm +
                                  "' on '" + proof.host + "', revision " + std::to_string(proof.revision) + ", epoch " +
                                  std::to_string(proof.epoch) + "; this host is '" + std::string(host) + "'");
}

Result<> check(const MigrationParams& params) {
  using P = MigrationParams;
  if (params.bandwidth_mib > P::max_bandwidth_mib) return fail(Errc::invalid, "bandwidth_mib: too large");
  if (params.downtime_ms == 0 || params.downtime_ms > P::max_downtime_ms) {
    return fail(Errc::invalid, "downtime_ms: 1 to " + std::to_string(P::max_downtime_ms));
  }
  if (params.parallel > P::max_parallel) {
    return fail(Errc::invalid, "parallel: at most " + std::to_string(P::max_parallel));
  }
  if (!valid_ip(params.target_address)) {
    return fail(Errc::invalid, "target_address: '" + params.target_address + "' is not an IP address");
  }
  return {};
}

int percent_done(const MigrationStats& stats) {
  if (stats.job == MigrationStats::Job::completed) return 100;
  if (stats.memory_total == 0) return -1;
  const auto left = std::min(stats.memory_remaining, stats.memory_total);
  return static_cast<int>((stats.memory_total - left) * 100 / stats.memory_total);
}

std::string_view to_string(Accel v) { return v == Accel::kvm ? "kvm" : "tcg"; }

std::string_view to_string(DomainReason v) {
  switch (v) {
    case DomainReason::other: return "other";
    case DomainReason::started: return "started";
    case DomainReason::migrated: return "migrated";
    case DomainReason::migrating: return "migrating";
    case DomainReason::migration_cancelled: return "migration cancelled";
    case DomainReason::user: return "by request";
    case DomainReason::io_error: return "disk error";
    case DomainReason::starting: return "starting";
    case DomainReason::unresumable: return "cannot be resumed";
    case DomainReason::guest_shutdown: return "the guest powered off";
    case DomainReason::destroyed: return "forced off";
    case DomainReason::failed: return "QEMU failed";
  }
  return "?";
}

std::string_view to_string(MigrationStats::Job v) {
  using Job = MigrationStats::Job;
  switch (v) {
    case Job::none: return "none";
    case Job::running: return "running";
    case Job::completed: return "completed";
    case Job::failed: return "failed";
    case Job::cancelled: return "cancelled";
  }
  return "?";
}

std::string_view to_string(DomainEvent::Kind v) {
  using Kind = DomainEvent::Kind;
  switch (v) {
    case Kind::changed: return "changed";
    case Kind::job_completed: return "job completed";
    case Kind::iteration: return "iteration";
    case Kind::connected: return "connected";
    case Kind::disconnected: return "disconnected";
  }
  return "?";
}

}  // namespace bascule::core
