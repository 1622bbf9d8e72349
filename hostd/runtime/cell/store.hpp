// The cell as this host knows it: a CellView kept by listing once and watching, and the few transactions that change
// it. Thread rule: everything on the io thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "hostd/core/alert.hpp"
#include "hostd/core/engine.hpp"
#include "hostd/core/plan.hpp"
#include "hostd/core/restore.hpp"
#include "hostd/core/timing.hpp"
#include "hostd/core/view.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"
#include "hostd/runtime/etcd/recipes.hpp"
#include "hostd/runtime/signal.hpp"

namespace bascule::runtime {

/// One change as clients follow it; see api::Event.
struct CellChange {
  core::Revision revision{};
  std::string type, object, project;
};

inline constexpr std::chrono::seconds kCommitDeadline{20};  ///< for one change with all its retries
inline constexpr int kCommitTries = 16;  ///< lost compares before giving up: two hosts write the audit head
inline constexpr std::size_t kEventsKept = 8192;

class CellStore {
 public:
  CellStore(boost::asio::any_io_executor executor, KvStore& kv, const std::string& cell, std::string self,
            std::string instance, std::chrono::milliseconds commit_within = kCommitDeadline);

  /// Lists and watches for ever; run it once, detached.
  boost::asio::awaitable<void> run();
  /// One attempt to renew this host's lease. Errors: conflict (somebody is about to switch this host off), else as for
  /// KvStore::txn; after outcome_unknown the next value may simply be tried: a lease only says that its host lives.
  /// An intent to switch this host off makes it fail, unless it is of an earlier boot or `void_intent`: then it is
  /// deleted.
  boost::asio::awaitable<core::Result<>> renew_lease(core::HostLease lease, bool void_intent, Deadline deadline);
  /// For how long each other host's lease has not changed, on this host's clock.
  std::map<std::string, core::Mono> absences() const;
  /// A host has spoken by another way than its lease (a promise was given to it): its timer begins anew.
  void heard(const std::string& host);
  /// This host was cut off itself: what it timed of others says nothing.
  void restart_absences();
  /// Keeps HostView::silent true to `absences`: `after` without change; and HostView::steady: no such gap, on this
  /// host's clock, for `steady_after`. True when something changed.
  bool mark_hosts(core::Mono after, core::Mono steady_after);

  /// The intent to switch a host off, which compares its lease; then how that ended. Errors: conflict, stale, as
  /// commit.
  boost::asio::awaitable<core::Result<core::Revision>> intend_fence(std::string host, std::string why,
                                                                    core::WallMs now);
  boost::asio::awaitable<core::Result<>> end_fence(std::string host, core::Revision intent, bool confirmed,
                                                   std::string words, core::WallMs now);

  /// Writes this hostd's format beside a cell's records where none stands yet. Errors: refused, else as for
  /// KvStore::txn.
  boost::asio::awaitable<core::Result<>> mark_format();
  /// Why this hostd leaves the cell alone: its records have a format that it does not know (format.hpp). Then the view
  /// is not synced and nothing is committed but the lease, which says that this host lives and guards its guests.
  /// Empty: it does not.
  const std::string& refusal() const { return refusal_; }

  const core::CellView& view() const { return view_; }
  Signal& changed() { return changed_; }
  const std::deque<CellChange>& events() const { return events_; }
  core::Revision events_from() const { return events_from_; }  ///< changes up to it are no longer kept
  const std::string& self() const { return self_; }
  std::uint64_t cluster_id() const { return kv_.health().cluster_id; }
  /// Unfinished operations, and VMs whose records changed since the last call: what the worker looks at, so that a
  /// wake-up costs what changed, not what exists.
  const std::set<std::string>& active_operations() const { return active_; }
  std::set<std::string> take_changed_vms() { return std::exchange(changed_vms_, {}); }

  /// Waits until the view includes this revision. Error unavailable after the deadline.
  boost::asio::awaitable<core::Result<>> caught_up(core::Revision revision, Deadline deadline);

  /// The answer kept under an idempotency key.
  struct Remembered {
    std::string request_digest;
    std::string operation;
    core::Revision revision{};
  };
  struct Accepted {
    std::string operation;  ///< empty: unchanged
    bool replayed{};
    core::Revision revision{};
    core::Plan plan;
  };
  /// Plans the request on the newest view and commits it. Idempotency keys are per caller.
  boost::asio::awaitable<core::Result<Accepted>> submit(core::Request request, core::WallMs now);

  /// Applies the end of a step to the newest record and commits it, with the right change if there is one.
  boost::asio::awaitable<core::Result<>> end_step(std::string op, core::Work work, core::Outcome outcome,
                                                  core::WallMs now);
  /// Errors: as core::with_cancel and core::with_approval.
  boost::asio::awaitable<core::Result<>> steer(std::string op, core::Steer how, core::Who who, std::string reason,
                                               core::WallMs now);

  /// Commits a run-right comparing `revision` (0 = absent). `why` goes to the audit chain.
  boost::asio::awaitable<core::Result<core::Revision>> commit_right(std::string vm, core::Right right,
                                                                    core::Revision revision, std::string why,
                                                                    core::WallMs now);
  /// One part of a backup file that is written back, with its audit record: the record of the restore after it.
  /// Errors: as core::plan_restore, and as commit.
  boost::asio::awaitable<core::Result<core::RestorePlan>> restore(core::RestoreStep step, core::Who who,
                                                                  std::string reason, core::WallMs now);
  /// Layout and spec after a volume grew.
  boost::asio::awaitable<core::Result<>> commit_size(std::string vm, std::string volume, std::uint64_t size_mib);

  /// True once after an operation was seen to end by this host's own write.
  bool take_ended() { return std::exchange(ended_here_, false); }
  /// Deletes what core::prune names, with the keys that go with it: how many. No error matters: what is left is left
  /// for the next time, and stale means that another host was faster.
  boost::asio::awaitable<core::Result<std::size_t>> forget_old(core::WallMs now);

  /// Kept beside the view: no decision about a VM reads them.
  const core::AlertBook& alerts() const { return alerts_; }
  /// One attempt at all of it or nothing, seen by the view when it returns. Nothing is settled: core::alert_round
  /// decides anew on what is there. Errors: stale, else as for KvStore::txn.
  boost::asio::awaitable<core::Result<>> write_alerts(core::AlertWrite changes);
  /// What a person does: the record and its audit record in one transaction. `id` of a test is new, or was made by the
  /// same request before: then nothing is written. Errors: not_found, conflict.
  boost::asio::awaitable<core::Result<>> test_alert(std::string id, core::Who who, std::string reason,
                                                    core::WallMs now);
  boost::asio::awaitable<core::Result<>> acknowledge(std::string id, core::Who who, std::string reason,
                                                     core::WallMs now);
  StoreHealth store_health() const { return kv_.health(); }

  // Information; a lost write is repeated by the next change.
  boost::asio::awaitable<core::Result<>> put_status(std::string vm, core::VmStatus status);
  /// `seen`: only while the record is of this revision. Error stale: it is not.
  boost::asio::awaitable<core::Result<>> put_info(core::HostInfo info, std::optional<core::Revision> seen = {});
  boost::asio::awaitable<core::Result<>> put_progress(std::string op, core::Progress progress);

  boost::asio::awaitable<core::Result<std::vector<core::AuditRecord>>> audit(std::int64_t from, std::size_t limit);

 private:
  struct Draft {
    core::kv::Txn txn;
    std::string key;    ///< the guarded key
    std::string value;  ///< what it holds afterwards; recognises our own write
  };
  /// Builds a draft from the newest view, commits it, and builds it anew when a compare was lost.
  boost::asio::awaitable<core::Result<core::Revision>> commit(std::function<core::Result<Draft>()> build);

  core::Writer writer();
  void add_audit(core::kv::Txn& txn, std::vector<core::AuditRecord> records, core::WallMs now) const;
  /// `ended`: the operation that ends with this one, if there is one.
  core::Result<Draft> draft_submit(const core::Plan& plan, const core::Request& request, const std::string& id,
                                   const std::string& digest, core::WallMs now, std::optional<core::Operation>& ended);
  core::Result<Draft> draft_op(const core::Operation& next, core::Revision revision, const core::Outcome* outcome,
                               core::WallMs now);
  /// Every write but the lease's and commit()'s: none in a cell whose format this hostd does not know.
  boost::asio::awaitable<core::Result<core::kv::TxnReply>> write(core::kv::Txn txn, Deadline deadline);
  boost::asio::awaitable<core::Result<std::optional<Remembered>>> remembered(std::string digest_key);
  boost::asio::awaitable<core::Result<core::Revision>> list();
  boost::asio::awaitable<void> follow(core::Revision from);
  void apply(const core::kv::Event& event);
  void apply_vm(std::string_view rest, const core::kv::Event& event);
  void apply_host(std::string_view rest, const core::kv::Event& event);
  void apply_alert(std::string_view rest, const core::kv::Event& event);
  void see_format(const std::optional<std::string>& value);
  void note(core::Revision revision, std::string type, std::string object, std::string project);
  static core::AuditRecord end_record(const core::Operation& op);
  core::Operation supersede(core::kv::Txn& txn, const core::Versioned<core::Operation>& old, const core::Operation& by);
  void switch_maintenance(core::kv::Txn& txn, const core::Operation& op, bool on, core::WallMs now) const;
  void switch_armed(core::kv::Txn& txn, const core::Operation& op, bool armed, core::WallMs now) const;

  KvStore& kv_;
  std::string root_;
  std::string self_;
  std::string instance_;
  std::chrono::milliseconds commit_within_;
  std::uint64_t number_{0};
  std::string refusal_;
  core::CellView view_;
  core::AlertBook alerts_;
  Signal changed_;
  std::set<std::string> active_, changed_vms_;
  bool ended_here_{};
  core::Revision renewed_at_{0};  ///< of this host's last renewal: the watch has to tell it soon
  std::deque<CellChange> events_;
  core::Revision events_from_{0};
  std::set<std::string> marked_;  ///< hosts whose silence is told with the next revision
  struct LeaseSeen {
    core::Revision revision{};
    std::chrono::steady_clock::time_point at{};  ///< of the last change, or of another sign of life
    std::optional<std::chrono::steady_clock::time_point> steady_since;  ///< nullopt: it is in a gap now
  };
  std::map<std::string, LeaseSeen> lease_seen_;
};

}  // namespace bascule::runtime
