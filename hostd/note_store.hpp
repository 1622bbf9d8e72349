// core::Notes on this host's disk. Thread rule: io thread; a save is a small synchronous write.
#pragma once

#include <optional>
#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/notes.hpp"

namespace bascule {

class NoteStore {
 public:
  explicit NoteStore(std::string folder) : path_(std::move(folder) + "/notes.json") {}

  /// What an earlier hostd left; none = a first start. Errors: io, invalid: hostd must not go on without its memory.
  core::Result<> load();
  const core::Notes& notes() const { return notes_; }

  /// Replaces them and saves at once when there is something new. A save that fails is an error: nothing may be decided
  /// that the note was to guard.
  core::Result<> keep(std::optional<core::Notes> next);
  /// etcd's identity and revision; saved now and then, a little late is no harm.
  core::Result<> seen(std::uint64_t cluster_id, core::Revision revision);

  static constexpr core::Revision save_every = 1000;  ///< revisions of etcd

 private:
  core::Result<> save() const;
  std::string path_;
  core::Notes notes_;
  core::Revision saved_{};
};

}  // namespace bascule
