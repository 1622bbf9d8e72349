// The ways in which hostd may use the store, so that no caller invents its own. Work on any
// KvStore.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/kv.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::runtime {

/// A write that may be repeated safely (rule U). The transaction compares the mod revision of `key`
/// (0: absent) and its success branch puts or deletes `key`; its failure branch is empty. Every
/// compare is by mod revision, at most kMaxGuards of them.
struct GuardedWrite {
  core::kv::Txn txn;
  std::string key;
  /// True when the value found under `key` (nullptr: no such key) is the one this very write leaves
  /// behind: it carries the writer, its instance and a number that no other write has. Must not
  /// throw.
  std::function<bool(const core::kv::KeyValue*)> ours;
  bool sent_before{false};  ///< an earlier call with this same write ended as outcome_unknown
};
inline constexpr std::size_t kMaxGuards = 16;

struct Commit {
  core::kv::Revision revision{0};  ///< of the write: the mod revision the key has now (0: recognised by its absence)
  int attempts{1};
  bool recognised{false};  ///< an earlier attempt had committed; its answer was lost
};

/// What the compared keys held when a compare did not hold: in the order of the compares, empty if
/// absent.
using Found = std::vector<std::optional<core::kv::KeyValue>>;

struct GuardTiming {
  Deadline deadline;                        ///< for all attempts
  std::chrono::milliseconds attempt{1000};  ///< for one
};

/// Carries out rule U: repeats the same guarded write after an unknown outcome until a definite
/// answer. Success means: committed exactly once, and no delayed copy can commit any more. Errors:
///  - stale: it is not committed and no copy of it ever will be; `found`, if given, has what is
///  there now. If this
///    write was committed and then overwritten by another before it was recognised, that is stale
///    too;
///  - outcome_unknown: the deadline came first, or a copy may still commit. Nothing may be decided;
///  call again with the
///    same write and `sent_before`;
///  - unavailable: no copy was ever sent;
///  - invalid (not a guarded write, or over a limit), refused, forbidden, exhausted: nothing
///  changed.
/// A key guarded by absence must never be used again after its deletion, or a delayed copy could
/// bring it back.
boost::asio::awaitable<core::Result<Commit>> commit_guarded(KvStore& store, GuardedWrite write, GuardTiming timing,
                                                            Found* found = nullptr);

/// Reads for a decision: the ranges are answered by a transaction that also writes `probe_key`, so
/// that it goes through the raft log and cannot be answered by a member left behind (plain reads of
/// etcd 3.4.23 can). Repeated until the deadline. Nobody else may use `probe_key`. Errors as for
/// txn, never outcome_unknown.
boost::asio::awaitable<core::Result<core::kv::TxnReply>> read_decision(KvStore& store, std::string probe_key,
                                                                       std::vector<core::kv::Op> ranges,
                                                                       GuardTiming timing);

struct Listing {
  std::vector<core::kv::KeyValue> kvs;
  core::kv::Revision revision{0};  ///< all of them as of this revision; watch from revision + 1
};
/// Every key that begins with `prefix`, as of one revision, in pages. Begins again (up to
/// kMaxListRestarts times) when that revision is compacted on the way. Errors: exhausted above
/// kMaxListKeys, else as for txn.
boost::asio::awaitable<core::Result<Listing>> range_all(KvStore& store, std::string prefix, Deadline deadline,
                                                        std::int64_t page_size = core::kv::kPageSize);
inline constexpr int kMaxListRestarts = 3;

}  // namespace bascule::runtime
