// The port to the arbiter store. Two adapters keep the same contract tests: etcd (etcd_store.hpp)
// and the fake of the tests. Thread rule: everything runs on the one executor the store was made
// with.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/kv.hpp"

namespace bascule::runtime {

/// On this machine's monotonic clock; never compared with another machine's.
using Deadline = std::chrono::steady_clock::time_point;

/// One thing a watch has to say.
struct WatchItem {
  enum class Kind : std::uint8_t {
    events,        ///< changes, in revision order, each exactly once
    connected,     ///< a member serves the watch (again); nothing was missed
    disconnected,  ///< no member serves it now; it goes on trying by itself
    relist,        ///< final: changes were compacted away or are too many; list again and start a new
                   ///< watch
    broken,        ///< final: the store went back in time, or the watch was closed; `detail` says what to
                   ///< do
  };
  Kind kind{Kind::events};
  core::kv::Revision revision{0};  ///< events: every change up to and including it was delivered
  std::vector<core::kv::Event> events;
  std::string detail;
};

/// A stream of the changes under one prefix. Destroying it ends it.
class KvWatch {
 public:
  KvWatch() = default;
  KvWatch(const KvWatch&) = delete;
  KvWatch& operator=(const KvWatch&) = delete;
  virtual ~KvWatch() = default;
  /// The next item, or nullopt at the deadline; after a final one, the same again. Give a deadline
  /// rather than racing it with a timer: an item that arrives as the race is lost would be gone. At
  /// most one call at a time.
  virtual boost::asio::awaitable<std::optional<WatchItem>> next(Deadline deadline = Deadline::max()) = 0;
};

/// What is known of one member of the store.
struct MemberHealth {
  std::string endpoint;
  bool reachable{false};   ///< the last check was answered
  bool has_leader{false};  ///< it sees a leader, so it is with the quorum
  bool leads{false};       ///< it is the leader itself
  std::string version;
  std::uint64_t cluster_id{0};
  std::uint64_t member_id{0};
  std::uint64_t raft_term{0};
  core::kv::Revision revision{0};   ///< applied by this member
  std::string fault;                ///< why this member is not used at all: foreign cluster, version, back in time
  std::vector<std::string> alarms;  ///< of the whole store: NOSPACE (nothing can be written), CORRUPT
  std::string last_error;           ///< of the last check that failed; empty after a good one
};
struct StoreHealth {
  std::vector<MemberHealth> members;
  std::uint64_t cluster_id{0};             ///< of the first member heard, or the expected one; 0 = none yet
  core::kv::Revision highest_revision{0};  ///< ever seen, the expected one included: to be kept on local disk (R6)
  /// Some member answers and sees a leader.
  [[nodiscard]] bool usable() const {
    for (const MemberHealth& member : members) {
      if (member.reachable && member.has_leader && member.fault.empty()) return true;
    }
    return false;
  }
};

class KvStore {
 public:
  KvStore() = default;
  KvStore(const KvStore&) = delete;
  KvStore& operator=(const KvStore&) = delete;
  virtual ~KvStore() = default;

  /// Carries out one transaction by the deadline. What its errors promise:
  ///  - unavailable: no member got the whole request; nothing was or will be changed;
  ///  - outcome_unknown (only if it writes): a member may have it and gave no definite answer. It
  ///  may have happened, or
  ///    may still happen minutes later. It was sent once and is not sent again: settle it
  ///    (recipes.hpp);
  ///  - invalid, refused, forbidden, exhausted, stale: a definite no, nothing changed (stale: the
  ///  revision asked for
  ///    was compacted). A compare that did not hold is no error: `succeeded` is false.
  /// A read-only transaction is repeated on other members until the deadline, so it ends as
  /// unavailable.
  virtual boost::asio::awaitable<core::Result<core::kv::TxnReply>> txn(core::kv::Txn txn, Deadline deadline) = 0;

  /// Changes of keys that begin with `prefix`, from revision `from` on, `from` included. Reconnects
  /// by itself. etcd 3.4.23 may lose events after a compaction: list again from time to time,
  /// whatever the watch says.
  virtual std::unique_ptr<KvWatch> watch(std::string prefix, core::kv::Revision from) = 0;

  /// What the last checks and answers showed; does not wait.
  [[nodiscard]] virtual StoreHealth health() const = 0;
};

}  // namespace bascule::runtime
