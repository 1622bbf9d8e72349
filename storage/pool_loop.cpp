#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "hostd/runtime/spawn.hpp"
#include "storage/deadlines.hpp"
#include "storage/pool_adapter.hpp"
#include "storage/tool.hpp"

namespace bascule::storage {

using core::Errc;
using core::fail;
using core::Result;
using runtime::Descriptor;

namespace {

constexpr std::size_t kMaxFiles = 65536;

core::Error failed(std::string_view act, const std::string& path, int error) {
  return fail(Errc::io, fmt::format("cannot {} {}: {}", act, path, std::generic_category().message(error)));
}

Task<runtime::Outcome> change(Argv argv, std::string what) {
  auto outcome = co_await run_tool(std::move(argv), Effect::changes, kLvmDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal(what, *outcome);
  co_return std::move(*outcome);
}

/// Size in bytes; not_found.
Result<std::uint64_t> size_of(const std::string& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) {
    if (errno == ENOENT) return fail(Errc::not_found, file + " does not exist");
    return failed("look at", file, errno);
  }
  return static_cast<std::uint64_t>(info.st_size);
}

/// A sparse file of this size: reads as zeroes. Existing content stays.
Result<> set_size(const std::string& file, std::uint64_t mib, int flags) {
  Descriptor fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600));
  if (fd.get() < 0) return failed("open", file, errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(mib << 20)) != 0) return failed("size", file, errno);
  return {};
}

}  // namespace

LoopPool::LoopPool(const boost::asio::any_io_executor& executor, PoolConfig config)
    : config_(std::move(config)), turn_(executor) {}

Result<PoolSpace> LoopPool::space_now() const {
  std::error_code error;
  const auto disk = std::filesystem::space(config_.path, error);
  if (error) return failed("look at the pool", config_.path, error.value());
  // Sparse files were promised more than they use yet; what is promised is not free.
  std::uint64_t promised = 0;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator it(config_.path, error), end; !error && it != end; it.increment(error)) {
    if (++count > kMaxFiles) break;
    struct stat info{};
    if (::lstat(it->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    const auto size = static_cast<std::uint64_t>(info.st_size);
    const auto used = static_cast<std::uint64_t>(info.st_blocks) * 512;
    promised += size - std::min(used, size);
  }
  if (error) return failed("list the pool", config_.path, error.value());
  return PoolSpace{disk.capacity >> 20, (disk.available - std::min<std::uint64_t>(promised, disk.available)) >> 20};
}

Task<PoolSpace> LoopPool::space() { co_return space_now(); }

Task<std::vector<LoopInfo>> LoopPool::devices_of(std::string file) {
  auto argv = loop_list(file);
  auto outcome = co_await run_tool(std::move(argv), Effect::reads, kAskDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal("listing loop devices of " + file, *outcome);
  co_return parse_losetup(outcome->out);
}

Task<std::string> LoopPool::attach(std::string file) {
  auto devices = co_await devices_of(file);
  if (!devices) co_return devices.error();
  if (!devices->empty()) {
    const LoopInfo& device = devices->front();
    if (device.direct_io && !device.read_only) co_return device.device;
    co_return fail(
        Errc::conflict,
        fmt::format("{} has {} with other settings than direct I/O, read and write; detach it", file, device.device));
  }
  auto argv = loop_attach(file);
  auto outcome = co_await change(std::move(argv), "attaching " + file + " to a loop device with direct I/O");
  if (!outcome) co_return outcome.error();
  std::string device = outcome->out.substr(0, outcome->out.find('\n'));
  if (!device.starts_with("/dev/loop")) co_return fail(Errc::io, "losetup named no device for " + file);
  co_return device;
}

Task<std::string> LoopPool::create(LegName leg, std::uint64_t size_mib) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  const std::string file = file_path(config_, *name);
  const std::uint64_t needed = backing_mib(size_mib);
  const auto size = size_of(file);
  if (size && (*size >> 20) < needed) {
    co_return fail(Errc::conflict, fmt::format("{} exists with {} MiB instead of {}; it was left alone, look at it and "
                                               "remove it by hand",
                                               file, *size >> 20, needed));
  }
  if (!size && size.error().code != Errc::not_found) co_return size.error();
  if (!size) {
    const std::string fresh = file + ".new";  // left from a crash or not: it never held data
    if (::unlink(fresh.c_str()) != 0 && errno != ENOENT) co_return failed("remove", fresh, errno);
    const auto room = space_now();
    if (!room) co_return room.error();
    if (auto ok = check_room(config_, *room, needed); !ok) co_return ok.error();
    if (auto ok = set_size(fresh, needed, O_CREAT | O_EXCL); !ok) co_return ok.error();
    if (::rename(fresh.c_str(), file.c_str()) != 0) co_return failed("name", file, errno);
    Argv argv{"/usr/bin/sync", file, config_.path};  // may take a while, so not on this thread
    auto synced = co_await change(std::move(argv), "syncing " + file);
    if (!synced) co_return synced.error();
  }
  co_return co_await attach(file);
}

Task<std::string> LoopPool::activate(LegName leg) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  const std::string file = file_path(config_, *name);
  const auto size = size_of(file);
  if (!size) {
    if (size.error().code != Errc::not_found) co_return size.error();
    co_return fail(Errc::not_found, fmt::format("the backing file {} of volume {} of VM {} does not exist here", file,
                                                leg.volume, leg.vm));
  }
  co_return co_await attach(file);
}

Task<> LoopPool::grow(LegName leg, std::uint64_t size_mib) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  const std::string file = file_path(config_, *name);
  const std::uint64_t needed = backing_mib(size_mib);
  const auto size = size_of(file);
  if (!size) co_return size.error();
  if ((*size >> 20) < needed) {
    const auto room = space_now();
    if (!room) co_return room.error();
    if (auto ok = check_room(config_, *room, needed - (*size >> 20)); !ok) co_return ok.error();
    if (auto ok = set_size(file, needed, 0); !ok) co_return ok.error();
  }
  auto devices = co_await devices_of(file);
  if (!devices) co_return devices.error();
  const auto list = *devices;
  for (const auto& device : list) {  // also when the file had grown before: a crash may have come between
    auto argv = loop_set_capacity(device.device);
    auto told = co_await change(std::move(argv), "enlarging " + device.device);
    if (!told) co_return told.error();
  }
  co_return Result<>{};
}

/// No loop device holds the file afterwards; nothing to do without the file.
Task<> LoopPool::detach(std::string file) {
  if (::access(file.c_str(), F_OK) != 0) co_return Result<>{};
  auto devices = co_await devices_of(file);
  if (!devices) co_return devices.error();
  const auto list = *devices;
  for (const auto& device : list) {
    if (claimed(device.device)) {  // a detach would only be remembered and the file be gone below DRBD
      co_return fail(Errc::conflict,
                     fmt::format("{} ({}) is still in use; take its DRBD resource down first", file, device.device));
    }
    auto argv = loop_detach(device.device);
    auto gone = co_await change(std::move(argv), "detaching " + device.device);
    if (!gone) co_return gone.error();
  }
  co_return Result<>{};
}

/// `to` becomes a copy of `from`, whole or not at all.
Task<> LoopPool::copy_file(std::string from, std::string to) {
  const std::string fresh = to + ".new";
  Argv copy{"/usr/bin/cp", "--reflink=auto", "--sparse=always", "--", from, fresh};
  auto copied = co_await change(std::move(copy), "copying " + from);
  if (!copied) co_return copied.error();
  Argv argv{"/usr/bin/sync", fresh};
  auto synced = co_await change(std::move(argv), "syncing " + fresh);
  if (!synced) co_return synced.error();
  if (::rename(fresh.c_str(), to.c_str()) != 0) co_return failed("name", to, errno);
  Argv folder{"/usr/bin/sync", config_.path};
  auto named = co_await change(std::move(folder), "syncing " + config_.path);
  if (!named) co_return named.error();
  co_return Result<>{};
}

Task<> LoopPool::snapshot(LegName leg, Snapshot which) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  const std::string file = file_path(config_, *name);
  const std::string kept = file + snapshot_suffix(which);
  if (which == Snapshot::repair && ::access(kept.c_str(), F_OK) == 0) co_return Result<>{};
  const auto size = size_of(file);
  if (!size) co_return size.error();
  const auto room = space_now();
  if (!room) co_return room.error();
  if (auto ok = check_room(config_, *room, *size >> 20); !ok) co_return ok.error();
  co_return co_await copy_file(file, kept);
}

Task<bool> LoopPool::has_snapshot(LegName leg, Snapshot which) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  co_return ::access((file_path(config_, *name) + snapshot_suffix(which)).c_str(), F_OK) == 0;
}

Task<> LoopPool::remove(LegName leg) {
  const auto name = device_name(leg, config_);
  if (!name) co_return name.error();
  const auto turn = co_await turn_.take();
  const std::string file = file_path(config_, *name);
  auto free = co_await detach(file);
  if (!free) co_return free.error();
  Argv argv{"/usr/bin/rm", "--force", "--", file, file + ".new"};  // freeing a large file takes time
  for (const auto which : {Snapshot::copy, Snapshot::repair}) {
    for (const char* end : {"", ".new"}) argv.push_back(file + snapshot_suffix(which) + end);
  }
  auto removed = co_await change(std::move(argv), "removing " + file);
  if (!removed) co_return removed.error();
  co_return Result<>{};
}

}  // namespace bascule::storage
