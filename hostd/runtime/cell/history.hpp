// The records of how VMs fared (core/history.hpp), below a prefix of their own; the view does not hold them.
// Thread rule: io thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/history.hpp"
#include "hostd/core/view.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::runtime {

using HistoryDays = std::vector<core::Versioned<core::HistoryDay>>;

class HistoryStore {
 public:
  HistoryStore(KvStore& kv, const std::string& cell);

  /// The records from day `from` to day `to` (both 2026-11-28, included), oldest first.
  boost::asio::awaitable<core::Result<HistoryDays>> days(std::string vm, core::Revision incarnation, std::string from,
                                                         std::string to);
  /// The day of the oldest record; empty: there is none.
  boost::asio::awaitable<core::Result<std::string>> began(std::string vm, core::Revision incarnation);

  /// All of them or none, one attempt: each compares the revision it was read at (0: it is new), and the VM, which
  /// must still be the one that was made at `incarnation`. Errors: stale, else as for KvStore::txn.
  boost::asio::awaitable<core::Result<>> write(std::string vm, core::Revision incarnation, HistoryDays days);
  /// Deletes the oldest records beyond `keep`, a few at a time: how many. By their number and not by their age: a clock
  /// that is years ahead must not delete them all.
  boost::asio::awaitable<core::Result<std::size_t>> trim(std::string vm, core::Revision incarnation, std::size_t keep);

  /// One step of the walk over all records: looks at the first VM at or after `cursor` and, if the view, which must be
  /// synced, knows no such VM, deletes some of what is left of it. Returns where to go on; empty: at the end.
  boost::asio::awaitable<core::Result<std::string>> sweep(std::string cursor, const core::CellView& view);
  /// Where `sweep` looks at this VM first.
  std::string cursor(const std::string& vm) const;

 private:
  KvStore& kv_;
  std::string root_, history_;
};

}  // namespace bascule::runtime
