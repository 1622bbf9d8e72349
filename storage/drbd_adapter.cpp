// Configuration, metadata, bringing up and down, questions. Roles and the link:
// drbd_adapter_role.cpp.
#include "storage/drbd_adapter.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/this_coro.hpp>

#include "hostd/runtime/spawn.hpp"
#include "storage/backing.hpp"
#include "storage/config_file.hpp"
#include "storage/deadlines.hpp"
#include "storage/tool.hpp"

namespace bascule::storage {

using core::Errc;
using core::fail;
using core::Result;

namespace {

/// Two names of one device node, e.g. a link under /dev/<group> and its target.
bool same_device(const std::string& a, const std::string& b) {
  struct stat first{};
  struct stat second{};
  return a == b || (::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 && S_ISBLK(first.st_mode) &&
                    S_ISBLK(second.st_mode) && first.st_rdev == second.st_rdev);
}

/// Whole MiB of a block device; 0 when it cannot be read.
std::uint64_t device_mib(const std::string& path) {
  const runtime::Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::uint64_t bytes = 0;
  if (fd.get() < 0 || ::ioctl(fd.get(), BLKGETSIZE64, &bytes) != 0) return 0;
  return bytes >> 20;
}

core::Error no_volume(const Resource& resource, const std::string& volume) {
  return fail(Errc::not_found, fmt::format("VM {} has no volume {}", resource.vm, volume));
}

}  // namespace

Result<std::unique_ptr<DrbdAdapter>> DrbdAdapter::make(const boost::asio::any_io_executor& executor, std::string host,
                                                       DrbdOptions options, DrbdPaths paths) {
  if (auto ok = check(options); !ok) return ok.error();
  auto text = read_file(paths.version, 64);
  if (!text)
    return fail(Errc::unavailable, "the DRBD kernel module is not loaded; load it (modprobe drbd) and start hostd");
  while (!text->empty() && text->back() == '\n') text->pop_back();
  const auto version = parse_drbd_version(*text);
  if (!version) return version.error();
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  if (host != name.data()) {
    return fail(Errc::invalid, fmt::format("host = \"{}\" is not this machine's name ({}), by which DRBD's tools find "
                                           "their part of a configuration; make them equal",
                                           host, name.data()));
  }
  std::unique_ptr<DrbdAdapter> made(new DrbdAdapter);
  made->executor_ = executor;
  made->host_ = std::move(host);
  made->version_text_ = std::move(*text);
  made->version_ = *version;
  made->options_ = std::move(options);
  made->paths_ = std::move(paths);
  return made;
}

DrbdAdapter::~DrbdAdapter() { stop(); }

Task<> DrbdAdapter::act(Argv argv, std::string what) {
  auto outcome = co_await run_tool(std::move(argv), Effect::changes, kActDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal(what, *outcome);
  co_return Result<>{};
}

Task<> DrbdAdapter::act_patiently(Argv argv, std::string what, int code, int attempts) {
  for (int attempt = 1;; ++attempt) {
    Argv copy = argv;
    auto outcome = co_await run_tool(std::move(copy), Effect::changes, kActDeadline);
    if (!outcome) co_return outcome.error();
    if (outcome->ok()) co_return Result<>{};
    if (failure_code(outcome->err) != code || attempt >= attempts) co_return refusal(what, *outcome);
    co_await pause(kRetryPause);
  }
}

Result<DrbdCommands> DrbdAdapter::commands(Resource resource) const {
  return DrbdCommands::make(std::move(resource), options_, version_, host_);
}

Result<> DrbdAdapter::write(const Resource& resource) const {
  const auto global = global_config(options_);
  if (!global) return global.error();
  const auto text = resource_config(resource, options_, version_, host_);
  if (!text) return text.error();
  if (auto ok = replace_file(paths_.config + "/global_common.conf", *global, kConfigMark, true); !ok) return ok;
  return replace_file(fmt::format("{}/{}.res", paths_.config, resource_name(resource.vm)), *text, kConfigMark, false);
}

Task<> DrbdAdapter::write_config(Resource resource) { co_return write(resource); }

Task<> DrbdAdapter::remove_config(std::string name) {
  if (vm_of(name).empty()) co_return fail(Errc::invalid, "not the name of a resource of ours");
  co_return remove_file(fmt::format("{}/{}.res", paths_.config, name), kConfigMark);
}

Task<ResourceState> DrbdAdapter::query(std::string name) {
  if (vm_of(name).empty()) co_return fail(Errc::invalid, "not the name of a resource of ours");
  auto argv = events_now_command(name);
  auto outcome = co_await run_tool(std::move(argv), Effect::reads, kAskDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal("asking DRBD about " + name, *outcome);
  ResourceTable table;
  std::string_view rest = outcome->out;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    table.apply(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (!table.complete()) co_return fail(Errc::io, "DRBD's answer about " + name + " breaks off; ask again");
  co_return table.get(name);
}

Task<ShownResource> DrbdAdapter::show(std::string name) {
  auto argv = show_command(name);
  auto outcome = co_await run_tool(std::move(argv), Effect::reads, kAskDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal("asking DRBD for the settings of " + name, *outcome);
  co_return parse_show(outcome->out);
}

Task<> DrbdAdapter::create_metadata(Resource resource, std::string volume) {
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  const Volume* wanted = find_volume(c->resource(), volume);
  if (wanted == nullptr) co_return no_volume(c->resource(), volume);
  const std::string device = c->backing(*wanted);
  const auto used = fail(Errc::conflict, fmt::format("{} carries the DRBD metadata of a leg that has been used; it was "
                                                     "not touched. A fresh leg needs a fresh backing device",
                                                     device));
  auto state = co_await query(c->name());
  if (!state) co_return state.error();
  const auto known = state->volumes.find(wanted->index);
  if (known != state->volumes.end() && known->second.minor == wanted->minor && known->second.disk != Disk::diskless) {
    auto shown = co_await show(c->name());
    if (!shown) co_return shown.error();
    if (!same_device(shown->disk[wanted->minor], device)) {
      co_return fail(Errc::conflict, fmt::format("minor {} has {} attached instead of {}; nothing was changed",
                                                 wanted->minor, shown->disk[wanted->minor], device));
    }
    auto ask = c->generation(*wanted);
    auto live = co_await run_tool(std::move(ask), Effect::reads, kAskDeadline);
    if (!live) co_return live.error();
    if (!live->ok() || !just_created(live->out)) co_return used;
    co_return Result<>{};
  }
  auto ask = c->metadata_generation(*wanted);
  auto found = co_await run_tool(std::move(ask), Effect::reads, kAskDeadline);
  if (!found) co_return found.error();
  if (found->ok()) {
    if (!just_created(found->out)) co_return used;
    co_return Result<>{};
  }
  // Exit 1 with nothing on stdout is "no metadata here"; anything else (busy, unreadable) is not a
  // licence to write.
  if (found->status != 1 || !found->out.empty()) co_return refusal("looking for metadata on " + device, *found);
  auto make = c->create_metadata(*wanted);
  auto made = co_await run_tool(std::move(make), Effect::changes, kMetadataDeadline);
  if (!made) co_return made.error();
  if (!made->ok()) co_return refusal("writing metadata to " + device, *made);
  co_return Result<>{};
}

Task<> DrbdAdapter::attach(DrbdCommands c, Volume volume, std::optional<std::string> attached) {
  const std::string device = c.backing(volume);
  if (attached) {
    if (same_device(*attached, device)) co_return Result<>{};
    co_return fail(Errc::conflict, fmt::format("volume {} of VM {} has {} attached instead of {}; nothing was changed, "
                                               "take the resource down first",
                                               volume.name, c.resource().vm, *attached, device));
  }
  auto log = c.apply_activity_log(volume);
  auto applied = co_await run_tool(std::move(log), Effect::changes, kMetadataDeadline);
  if (!applied) co_return applied.error();
  if (!applied->ok()) co_return refusal("applying the activity log of " + device, *applied);
  // The size both legs had last, not the record's: a host may return in the middle of growing. Attached smaller than
  // its peer, the kernel refuses the connection; larger, the new part would be out of sync with nobody to resync it.
  auto ask = c.metadata_details(volume);
  auto details = co_await run_tool(std::move(ask), Effect::reads, kAskDeadline);
  if (!details) co_return details.error();
  if (!details->ok()) co_return refusal("reading the metadata of " + device, *details);
  const auto agreed = agreed_kib(details->out);
  if (!agreed) co_return fail(Errc::io, "drbdmeta does not say the size of " + device + "; it was not attached");
  auto attach = c.attach(volume, *agreed == 0 ? volume.size_mib * 1024 : *agreed);
  auto done = co_await act(std::move(attach),
                           fmt::format("attaching {} to volume {} of VM {}", device, volume.name, c.resource().vm));
  if (!done) co_return done.error();
  // Notes the device's size under /var/lib/drbd: if it grows while detached, drbdmeta finds the
  // metadata by it.
  auto note = c.check_resize(volume);
  co_return co_await act(std::move(note), "noting the size of " + device);
}

Task<> DrbdAdapter::make_peer_known(DrbdCommands c, ShownResource shown) {
  if (!shown.remote_address.empty()) co_return Result<>{};
  for (auto& argv : c.new_peer()) {
    Argv command = argv;
    auto done = co_await act(std::move(command), "making the peer known to " + c.name());
    if (!done) co_return done.error();
  }
  co_return Result<>{};
}

Task<> DrbdAdapter::up_standalone(Resource resource) {
  if (auto ok = write(resource); !ok) co_return ok.error();
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  auto state = co_await query(c->name());
  if (!state) co_return state.error();
  if (!state->present) {
    auto argv = c->new_resource();
    auto done = co_await act(std::move(argv), "making resource " + c->name());
    if (!done) co_return done.error();
  }
  const auto volumes = c->resource().volumes;
  for (const auto& volume : volumes) {
    const auto known = state->volumes.find(volume.index);
    if (known != state->volumes.end() && known->second.minor == volume.minor) continue;
    auto argv = c->new_minor(volume);
    auto done = co_await act(std::move(argv), fmt::format("making {}", device_path(volume.minor)));
    if (!done) co_return done.error();
  }
  auto shown = co_await show(c->name());
  if (!shown) co_return shown.error();
  auto peer = co_await make_peer_known(*c, *shown);
  if (!peer) co_return peer.error();
  for (const auto& volume : volumes) {
    if (volume.without_disk) continue;
    const auto it = shown->disk.find(volume.minor);
    std::optional<std::string> attached;
    if (it != shown->disk.end()) attached = it->second;
    auto done = co_await attach(*c, volume, std::move(attached));
    if (!done) co_return done.error();
  }
  co_return Result<>{};
}

Task<> DrbdAdapter::mark_stale(Resource resource, std::string volume) {
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  const Volume* found = find_volume(c->resource(), volume);
  if (found == nullptr) co_return no_volume(c->resource(), volume);
  const Volume wanted = *found;
  const std::string device = c->backing(wanted);
  auto shown = co_await show(c->name());
  if (!shown) co_return shown.error();
  if (shown->disk.contains(wanted.minor)) {
    co_return fail(Errc::conflict,
                   fmt::format("volume {} of VM {} is attached; it was not marked", volume, c->resource().vm));
  }
  auto log = c->apply_activity_log(wanted);
  auto applied = co_await run_tool(std::move(log), Effect::changes, kMetadataDeadline);
  if (!applied) co_return applied.error();
  if (!applied->ok()) co_return refusal("applying the activity log of " + device, *applied);
  auto mark = c->invalidate(wanted);
  co_return co_await act(std::move(mark), "marking " + device + " for a whole resync");
}

Task<> DrbdAdapter::resize(Resource resource, std::string volume, std::uint64_t size_mib) {
  const auto it = std::ranges::find(resource.volumes, volume, &Volume::name);
  if (it == resource.volumes.end()) co_return no_volume(resource, volume);
  it->size_mib = size_mib;
  const Volume wanted = *it;
  auto c = commands(resource);
  if (!c) co_return c.error();
  auto state = co_await query(c->name());
  if (!state) co_return state.error();
  const auto seen = state->volumes.find(wanted.index);
  const std::uint64_t now_kib = seen == state->volumes.end() ? 0 : seen->second.size_kib;
  if (now_kib == size_mib * 1024) co_return write(resource);
  if (now_kib > size_mib * 1024) {
    co_return fail(Errc::conflict, fmt::format("volume {} of VM {} has {} MiB and is never made smaller", volume,
                                               resource.vm, now_kib / 1024));
  }
  if (!in_sync(*state, resource) || (state->role != Role::primary && state->peer_role != Role::primary)) {
    co_return fail(Errc::conflict,
                   fmt::format("volume {} of VM {} can only grow while in sync and Primary on one host; "
                               "it keeps its {} MiB",
                               volume, resource.vm, now_kib / 1024));
  }
  // Asked for more than there is, 8.4 refuses and yet forgets the old limit: the device then takes all of its backing.
  const std::string device = c->backing(wanted);
  if (device_mib(device) < backing_mib(size_mib)) {
    co_return fail(Errc::conflict,
                   fmt::format("volume {} of VM {} needs {} MiB of backing for {} MiB and {} has {}; grow it first",
                               volume, resource.vm, backing_mib(size_mib), size_mib, device, device_mib(device)));
  }
  auto argv = c->resize(wanted, size_mib, false);
  auto done = co_await act(std::move(argv), fmt::format("growing volume {} of VM {}", volume, resource.vm));
  if (!done) co_return done.error();
  auto note = c->check_resize(wanted);
  auto noted = co_await act(std::move(note), "noting the size of " + c->backing(wanted));
  if (!noted) co_return noted.error();
  auto after = co_await query(c->name());
  if (!after) co_return after.error();
  if (after->volumes[wanted.index].size_kib != size_mib * 1024) {
    co_return fail(Errc::refused,
                   fmt::format("volume {} of VM {} has {} MiB instead of {}; see that both backing devices "
                               "have grown, then repeat",
                               volume, resource.vm, after->volumes[wanted.index].size_kib / 1024, size_mib));
  }
  co_return write(resource);
}

Task<> DrbdAdapter::detach(Resource resource, std::string volume, bool force) {
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  const Volume* wanted = find_volume(c->resource(), volume);
  if (wanted == nullptr) co_return no_volume(c->resource(), volume);
  auto state = co_await query(c->name());
  if (!state) co_return state.error();
  const auto it = state->volumes.find(wanted->index);
  if (it == state->volumes.end() || it->second.disk == Disk::diskless) co_return Result<>{};
  auto argv = c->detach(*wanted, force);
  co_return co_await act(std::move(argv), fmt::format("detaching volume {} of VM {}", volume, c->resource().vm));
}

Task<> DrbdAdapter::down(std::string name) {
  if (vm_of(name).empty()) co_return fail(Errc::invalid, "not the name of a resource of ours");
  // Exit 0 too when there is no such resource. udev and the like may hold a device open for a
  // moment.
  auto argv = down_command(name);
  co_return co_await act_patiently(std::move(argv), "taking down " + name, failure::held_open, kHeldOpenAttempts);
}

}  // namespace bascule::storage
