#include "hostd/note_store.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/runtime/spawn.hpp"
#include "storage/resource.hpp"

namespace bascule {
using core::Errc;
using core::fail;
using core::Result;

namespace {

core::Error failure(const std::string& path) {
  return fail(Errc::io, "this host's notes cannot be written to " + path + ": " + std::strerror(errno) +
                            "; nothing is started or promoted without them");
}

Result<> sync_folder(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path().string();
  const runtime::Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return failure(folder);
  return {};
}

}  // namespace

Result<std::optional<std::string>> NoteFile::read() {
  std::error_code ec;
  if (!std::filesystem::exists(path_, ec) && !ec) return std::optional<std::string>{};
  std::ifstream in(path_, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return fail(Errc::io, "this host's notes cannot be read from " + path_);
  return std::optional<std::string>(text.str());
}

Result<> NoteFile::write(const std::string& text) {
  const std::string fresh = path_ + ".new";
  const runtime::Descriptor fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd.get() < 0) return failure(fresh);
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(fd.get()) != 0) {
    return failure(fresh);
  }
  if (::rename(fresh.c_str(), path_.c_str()) != 0) return failure(path_);
  return sync_folder(path_);
}

Result<std::vector<LostDisk>> NoteFile::lost_disks() {
  std::vector<LostDisk> out;
  std::error_code ec;
  if (!std::filesystem::exists(lost_, ec) && !ec) return out;
  for (auto it = std::filesystem::directory_iterator(lost_, ec); !ec && it != std::filesystem::directory_iterator();
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    const auto dot = name.find('.');
    LostDisk disk;
    disk.vm = storage::vm_of(std::string_view(name).substr(0, dot));
    const std::string_view number = dot == std::string::npos ? "" : std::string_view(name).substr(dot + 1);
    const auto [end, wrong] = std::from_chars(number.data(), number.data() + number.size(), disk.volume);
    if (disk.vm.empty() || number.empty() || wrong != std::errc{} || end != number.data() + number.size()) continue;
    out.push_back(std::move(disk));
  }
  if (ec) return fail(Errc::io, "which disks failed cannot be read from " + lost_ + ": " + ec.message());
  return out;
}

Result<> NoteFile::drop_lost_disk(const LostDisk& disk) {
  const std::string path = lost_ + "/" + storage::resource_name(disk.vm) + "." + std::to_string(disk.volume);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failure(path);
  return {};
}

void tell_unkept(const Result<>& kept, const About& about) {
  if (!kept) say(msg::notes_not_kept, about, "{}", kept.error().what);
}

Result<runtime::Descriptor> lock_state(const std::string& folder) {
  const std::string path = folder + "/lock";
  runtime::Descriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return fail(Errc::io, path + ": " + std::strerror(errno));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  return fail(Errc::conflict, "hostd runs on this host, or `hostd --new-cluster` does (" + path +
                                  " is locked): `systemctl stop hostd`, or wait for its end");
}

Result<> NoteStore::load() {
  auto text = port_->read();
  if (!text) return text.error();
  if (*text) {
    auto read = codec::decode<core::Notes>(**text);
    if (!read) {
      return fail(Errc::invalid, "this host's notes are damaged (" + read.error().what +
                                     "): it has lost its memory of the records. See docs/failover.md");
    }
    notes_ = std::move(*read);
    saved_ = notes_.highest;
  }
  // safety: R5, S2. A disk that failed while hostd hung or was away is in the notes before anything is decided.
  // [model: R5_note]
  auto lost = port_->lost_disks();
  if (!lost) return lost.error();
  for (const auto& disk : *lost) {
    // A disk that is full or read-only holds no guest's host back: the helper's file stays for the next start.
    auto kept = keep(core::disk_lost(notes_, disk.vm, disk.volume));
    if (kept) kept = port_->drop_lost_disk(disk);
    tell_unkept(kept, {.vm = disk.vm});
  }
  return {};
}

std::vector<std::uint16_t> NoteStore::lost_disks(const std::string& vm) {
  std::vector<std::uint16_t> out;
  const auto lost = port_->lost_disks();
  for (const auto& disk : lost ? *lost : std::vector<LostDisk>{}) {
    if (disk.vm == vm) out.push_back(disk.volume);
  }
  return out;
}

Result<> NoteStore::drop_lost_disks(const std::string& vm) {
  auto lost = port_->lost_disks();
  if (!lost) return lost.error();
  for (const auto& disk : *lost) {
    if (disk.vm != vm) continue;
    if (auto gone = port_->drop_lost_disk(disk); !gone) return gone;
  }
  return {};
}

Result<> NoteStore::drop_lost_disk(const std::string& vm, std::uint16_t volume) {
  return port_->drop_lost_disk({vm, volume});
}

Result<> NoteStore::keep(std::optional<core::Notes> next) {
  if (!next) return {};
  notes_ = std::move(*next);
  auto done = port_->write(codec::encode(notes_));
  if (done) saved_ = notes_.highest;
  return done;
}

Result<> NoteStore::seen(std::uint64_t cluster_id, core::Revision revision) {
  if (cluster_id == notes_.cluster_id && revision < saved_ + save_every) return {};
  core::Notes next = notes_;
  next.cluster_id = cluster_id;
  next.highest = std::max(next.highest, revision);
  return keep(std::move(next));
}

}  // namespace bascule
