// How the VMs of this host fare, seen with every change of the cell and written down from time to time. What to count
// and when to write is core/history.hpp's; nothing of a VM depends on it, so every fault is only told and tried again.
// Thread rule: io thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "hostd/core/history.hpp"
#include "hostd/runtime/cell/history.hpp"
#include "hostd/runtime/cell/store.hpp"

namespace bascule {

class HistoryLoop {
 public:
  HistoryLoop(runtime::CellStore& cell, runtime::HistoryStore& store) : cell_(cell), store_(store) {}

  /// Looks and writes for ever; run it once, detached.
  boost::asio::awaitable<void> run();
  /// Deletes what is left of VMs that are gone, for ever and slowly; run it once, detached.
  boost::asio::awaitable<void> tidy();

 private:
  struct Entry {
    core::HistoryMemory memory;
    std::optional<core::HistoryDay> newest;  ///< as this host wrote it last
    std::optional<core::Mono> wrote;         ///< or tried to
    bool busy{};
  };
  void look();
  void start_writes();
  boost::asio::awaitable<void> write(std::string vm);
  boost::asio::awaitable<core::Result<>> commit(std::string vm, Entry& entry);
  bool mine_to_tidy() const;

  runtime::CellStore& cell_;
  runtime::HistoryStore& store_;
  std::map<std::string, Entry> entries_;
  std::string next_;  ///< the VM after the one that was written last
  std::size_t writing_{};
  std::set<std::string> gone_;
};

}  // namespace bascule
