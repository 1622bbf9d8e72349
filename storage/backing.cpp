#include "storage/backing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "hostd/core/names.hpp"

namespace bascule::storage {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kLosetup = "/usr/sbin/losetup";
constexpr std::size_t kDeviceMapperName = 127;  // DM_NAME_LEN less the NUL
constexpr std::uint64_t kSectorsPerMib = 2048;
constexpr std::uint64_t kBitmapSectorBits = std::uint64_t{1} << 18;  // device sectors one 4 KiB block of bitmap covers

std::string lvm(std::string_view tool) { return fmt::format("/usr/sbin/{}", tool); }
std::string pair(const PoolConfig& config, const std::string& name) { return config.group + "/" + name; }

/// LVM's own alphabet for names, no leading hyphen.
bool lvm_name(std::string_view text) {
  return !text.empty() && text.size() <= 64 && text.front() != '-' && text.front() != '.' &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                  c == '.' || c == '+';
         });
}

std::size_t with_doubled_hyphens(std::string_view text) {
  return text.size() + static_cast<std::size_t>(std::ranges::count(text, '-'));
}

}  // namespace

std::string_view to_string(PoolKind kind) {
  switch (kind) {
    case PoolKind::loop: return "loop";
    case PoolKind::lvm: return "lvm";
    case PoolKind::lvm_thin: return "lvm-thin";
  }
  return "?";
}

std::optional<PoolKind> parse_pool_kind(std::string_view text) {
  for (const PoolKind kind : {PoolKind::loop, PoolKind::lvm, PoolKind::lvm_thin}) {
    if (text == to_string(kind)) return kind;
  }
  return std::nullopt;
}

Result<> check(const PoolConfig& config) {
  if (config.kind == PoolKind::loop) {
    const std::string& path = config.path;
    const bool plain = std::ranges::all_of(path, [](char c) { return c > ' ' && c != 0x7F; });
    if (path.size() < 2 || path.size() > 128 || path.front() != '/' || path.back() == '/' || !plain ||
        path.find("/../") != std::string::npos || path.ends_with("/..")) {
      return fail(Errc::invalid, "pool.path: an absolute path without blanks, without a slash at its end");
    }
    return {};
  }
  if (!lvm_name(config.group)) return fail(Errc::invalid, "pool.group: not the name of a volume group");
  if (config.kind == PoolKind::lvm_thin && !lvm_name(config.thin_pool)) {
    return fail(Errc::invalid, "pool.thin_pool: not the name of a thin pool");
  }
  return {};
}

Result<std::string> device_name(const LegName& leg, const PoolConfig& config) {
  if (auto ok = core::check_name("vm", leg.vm); !ok) return ok.error();
  if (auto ok = core::check_name("volume", leg.volume); !ok) return ok.error();
  if (auto ok = core::check_name("leg", leg.id); !ok) return ok.error();
  std::string name = fmt::format("bascule-{}-{}-{}", leg.vm, leg.volume, leg.id);
  // The device mapper joins group and volume with a hyphen and doubles those inside.
  const std::size_t length = with_doubled_hyphens(config.group) + 1 + with_doubled_hyphens(name);
  if (config.kind != PoolKind::loop && length > kDeviceMapperName) {
    return fail(Errc::invalid,
                fmt::format("volume {} of VM {}: the names are too long together for LVM by {} characters; "
                            "choose shorter ones",
                            leg.volume, leg.vm, length - kDeviceMapperName));
  }
  return name;
}

std::string snapshot_suffix(Snapshot which) { return which == Snapshot::copy ? "-copy" : "-repair"; }

std::uint64_t metadata_sectors(std::uint64_t device_sectors) {
  const std::uint64_t bitmap = (device_sectors + kBitmapSectorBits - 1) / kBitmapSectorBits * 8;
  return bitmap + 72;
}

std::uint64_t backing_mib(std::uint64_t size_mib) {
  std::uint64_t mib = size_mib + 1;
  while (mib * kSectorsPerMib - metadata_sectors(mib * kSectorsPerMib) < size_mib * kSectorsPerMib) ++mib;
  return mib;
}

Argv list_volumes(const PoolConfig& config) {
  return {lvm("lvs"),  "--reportformat", "json",      "--units",
          "b",         "--nosuffix",     "--options", "lv_name,lv_size,lv_tags,pool_lv,lv_active,data_percent",
          config.group};
}

Argv list_group(const PoolConfig& config) {
  return {lvm("vgs"),  "--reportformat", "json",      "--units",
          "b",         "--nosuffix",     "--options", "vg_name,vg_size,vg_free,vg_extent_size",
          config.group};
}

Argv create_volume(const PoolConfig& config, const std::string& name, std::uint64_t mib) {
  Argv argv{lvm("lvcreate"), "--yes", "--wipesignatures", "n", "--addtag", std::string(kTagNew), "--name", name};
  if (config.kind == PoolKind::lvm_thin) {
    argv.insert(argv.end(), {"--virtualsize", fmt::format("{}m", mib), "--thinpool", config.thin_pool, config.group});
  } else {
    argv.insert(argv.end(), {"--zero", "n", "--size", fmt::format("{}m", mib), config.group});
  }
  return argv;
}

Argv activate_volume(const PoolConfig& config, const std::string& name) {
  return {lvm("lvchange"), "--yes", "--activate", "y", pair(config, name)};
}

Argv extend_volume(const PoolConfig& config, const std::string& name, std::uint64_t mib) {
  return {lvm("lvextend"), "--yes", "--size", fmt::format("{}m", mib), pair(config, name)};
}

Argv remove_volume(const PoolConfig& config, const std::string& name) {
  return {lvm("lvremove"), "--yes", pair(config, name)};
}

Argv snapshot_volume(const PoolConfig& config, const std::string& origin, const std::string& name) {
  Argv argv{lvm("lvcreate"), "--yes", "--name", name};
  if (config.kind == PoolKind::lvm) argv.insert(argv.end(), {"--snapshot", "--extents", "100%ORIGIN"});
  if (config.kind == PoolKind::lvm_thin) argv.insert(argv.end(), {"--type", "thin"});  // of a thin volume: a snapshot
  argv.push_back(pair(config, origin));
  return argv;
}

Argv retag_volume(const PoolConfig& config, const std::string& name, std::string_view add, std::string_view drop) {
  Argv argv{lvm("lvchange"), "--yes"};
  if (!add.empty()) argv.insert(argv.end(), {"--addtag", std::string(add)});
  if (!drop.empty()) argv.insert(argv.end(), {"--deltag", std::string(drop)});
  argv.push_back(pair(config, name));
  return argv;
}

Argv zero_device(const std::string& path, std::uint64_t from_bytes, bool in_use) {
  Argv argv{"/usr/sbin/blkdiscard", "--zeroout", "--offset", std::to_string(from_bytes)};
  if (in_use) argv.emplace_back("--force");  // opens it without O_EXCL, checks nothing
  argv.push_back(path);
  return argv;
}

std::string volume_path(const PoolConfig& config, const std::string& name) {
  return fmt::format("/dev/{}/{}", config.group, name);
}
std::string file_path(const PoolConfig& config, const std::string& name) {
  return fmt::format("{}/{}.img", config.path, name);
}

Argv loop_list(const std::string& file) {
  return {std::string(kLosetup), "--json", "--list", "--output", "NAME,BACK-FILE,DIO,RO", "--associated", file};
}
Argv loop_attach(const std::string& file) {
  // --nooverlap: a file that already has a device gives that one.
  return {std::string(kLosetup), "--find", "--show", "--nooverlap", "--direct-io=on", file};
}
Argv loop_set_capacity(const std::string& device) { return {std::string(kLosetup), "--set-capacity", device}; }
Argv loop_detach(const std::string& device) { return {std::string(kLosetup), "--detach", device}; }

bool LvInfo::has_tag(std::string_view tag) const { return std::ranges::find(tags, tag) != tags.end(); }

const LvInfo* find_lv(const std::vector<LvInfo>& volumes, std::string_view name) {
  const auto it = std::ranges::find(volumes, name, &LvInfo::name);
  return it == volumes.end() ? nullptr : &*it;
}

std::optional<std::uint64_t> pending_growth(const LvInfo& volume) {
  for (const auto& tag : volume.tags) {
    if (!tag.starts_with(kTagGrow)) continue;
    const std::string_view text = std::string_view(tag).substr(kTagGrow.size());
    std::uint64_t bytes = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
    if (error == std::errc{} && end == text.data() + text.size()) return bytes;
  }
  return std::nullopt;
}

Result<PoolSpace> lvm_space(const PoolConfig& config, const VgInfo& group, const std::vector<LvInfo>& volumes) {
  if (config.kind == PoolKind::lvm) return PoolSpace{group.size_bytes >> 20, group.free_bytes >> 20};
  const LvInfo* pool = find_lv(volumes, config.thin_pool);
  if (pool == nullptr) {
    return fail(Errc::not_found,
                fmt::format("the volume group {} has no thin pool {}; make it, or correct pool.thin_pool", config.group,
                            config.thin_pool));
  }
  std::uint64_t promised = 0;
  for (const auto& volume : volumes) {
    if (volume.pool == config.thin_pool) promised += volume.size_bytes;
  }
  return PoolSpace{pool->size_bytes >> 20, (pool->size_bytes - std::min(promised, pool->size_bytes)) >> 20};
}

Result<> check_room(const PoolConfig& config, const PoolSpace& space, std::uint64_t needed_mib) {
  if (needed_mib <= space.free_mib) return {};
  const std::string where = config.kind == PoolKind::loop  ? config.path
                            : config.kind == PoolKind::lvm ? config.group
                                                           : config.group + "/" + config.thin_pool;
  return fail(Errc::exhausted, fmt::format("the pool {} has {} MiB free of {} MiB and {} MiB are needed; nothing was "
                                           "changed, make room or enlarge the pool",
                                           where, space.free_mib, space.total_mib, needed_mib));
}

}  // namespace bascule::storage
