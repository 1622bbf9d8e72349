// core::Notes on this host's disk. Thread rule: io thread; a save is a small synchronous write.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/notes.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/runtime/spawn.hpp"

namespace bascule {

/// A volume whose disk failed here, as the kernel's helper (hostd-fence-peer lost-disk) wrote it down.
struct LostDisk {
  std::string vm;
  std::uint16_t volume{};
};

/// Where the notes are kept.
class NotePort {
 public:
  NotePort() = default;
  NotePort(const NotePort&) = delete;
  NotePort& operator=(const NotePort&) = delete;
  virtual ~NotePort() = default;
  /// nullopt: there are none yet. Error io.
  virtual core::Result<std::optional<std::string>> read() = 0;
  /// Replaces them whole; when it succeeds they outlive a power cut. Error io.
  virtual core::Result<> write(const std::string& text) = 0;
  /// Error io.
  virtual core::Result<std::vector<LostDisk>> lost_disks() = 0;
  /// It is in the notes, or over. Error io.
  virtual core::Result<> drop_lost_disk(const LostDisk& disk) = 0;
};

/// notes.json in a folder of this host's disk, and lost-disks/<resource>.<volume>.
class NoteFile final : public NotePort {
 public:
  explicit NoteFile(const std::string& folder) : path_(folder + "/notes.json"), lost_(lost_folder(folder)) {}
  static std::string lost_folder(const std::string& folder) { return folder + "/lost-disks"; }
  core::Result<std::optional<std::string>> read() override;
  core::Result<> write(const std::string& text) override;
  core::Result<std::vector<LostDisk>> lost_disks() override;
  core::Result<> drop_lost_disk(const LostDisk& disk) override;

 private:
  std::string path_, lost_;
};

/// Into the log when it failed, where nothing else can be done about it.
void tell_unkept(const core::Result<>& kept, const About& about);

/// One hostd, or `hostd --new-cluster`, at a time: held for as long as the answer lives. Error conflict: another runs.
core::Result<runtime::Descriptor> lock_state(const std::string& folder);

class NoteStore {
 public:
  explicit NoteStore(std::unique_ptr<NotePort> port) : port_(std::move(port)) {}

  /// What an earlier hostd left, and what failed while none looked; none = a first start. Errors: io, invalid: hostd
  /// must not go on without its memory.
  core::Result<> load();
  const core::Notes& notes() const { return notes_; }

  /// Replaces them and saves at once when there is something new. A save that fails is an error: nothing may be decided
  /// that the note was to guard.
  core::Result<> keep(std::optional<core::Notes> next);
  /// R5: volumes whose disk the helper wrote down since; empty also where its folder cannot be read (the next start
  /// tries again).
  std::vector<std::uint16_t> lost_disks(const std::string& vm);
  /// R5: its legs here are whole again, or made anew: what the helper wrote of them is over.
  core::Result<> drop_lost_disks(const std::string& vm);
  core::Result<> drop_lost_disk(const std::string& vm, std::uint16_t volume);
  /// etcd's identity and revision; saved now and then, a little late is no harm.
  core::Result<> seen(std::uint64_t cluster_id, core::Revision revision);

  static constexpr core::Revision save_every = 1000;  ///< revisions of etcd

 private:
  std::unique_ptr<NotePort> port_;
  core::Notes notes_;
  core::Revision saved_{};
};

}  // namespace bascule
