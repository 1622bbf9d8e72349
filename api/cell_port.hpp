// What the REST server needs of the cell. The real one is hostd/runtime/cell; tests use a fake.
// Thread rule: every call is made on the io thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hostd/core/alert.hpp"
#include "hostd/core/engine.hpp"
#include "hostd/core/error.hpp"
#include "hostd/core/history.hpp"
#include "hostd/core/request.hpp"
#include "hostd/core/restore.hpp"
#include "hostd/core/signed_head.hpp"
#include "hostd/core/view.hpp"

namespace bascule::api {

/// The answer to a change. Exactly one of: an operation that now runs (or the one an earlier call with the
/// same idempotency key started), nothing to do, or the plan of a dry run.
struct Submitted {
  std::string operation;         ///< id; empty when nothing was to be done or for a dry run
  bool unchanged{};              ///< the definition was already so
  bool replayed{};               ///< same idempotency key seen before
  std::vector<core::Step> plan;  ///< dry run: the steps that would be taken
  core::Revision revision{};     ///< of the spec after the change (ETag), 0 if none
};

/// One change in the cell, as clients follow it. `revision` is etcd's: the same on every host, so a stream
/// can be resumed on another one.
struct Event {
  core::Revision revision{};
  std::string type;  ///< vm.changed, vm.removed, operation.changed, operation.removed, host.changed, image.changed ...
  std::string object;   ///< vm name, operation id, ...
  std::string project;  ///< empty = not shown to clients
};

class CellPort {
 public:
  virtual ~CellPort() = default;

  /// The newest view. The reference is good until the next suspension point.
  virtual const core::CellView& view() const = 0;

  /// Checks the request against the newest view (pure `core::plan`), then commits operation, lock, audit record
  /// and idempotency key in one transaction. Errors: every Errc; `outcome_unknown` means ask again with the same key.
  virtual boost::asio::awaitable<core::Result<Submitted>> submit(core::Request request) = 0;

  /// What a person says to an operation at work: stop and undo, or a second operator's approval of what it waits for.
  /// Errors: not_found, forbidden, conflict (past the point of no return, finished, waits for nothing).
  virtual boost::asio::awaitable<core::Result<>> steer(core::Caller caller, std::string operation, core::Steer how,
                                                       std::string reason) = 0;

  /// One part of a backup file that is written back into an empty cell. Errors: as core::plan_restore.
  virtual boost::asio::awaitable<core::Result<core::RestorePlan>> restore(core::RestoreStep step,
                                                                          core::Request request) = 0;

  /// Audit records with sequence in [from, from+limit), oldest first, read from etcd.
  virtual boost::asio::awaitable<core::Result<std::vector<core::AuditRecord>>> audit(std::int64_t from,
                                                                                     std::size_t limit) = 0;

  /// The heads of the audit chain that the hosts countersigned, by host and then by number; read from etcd.
  virtual boost::asio::awaitable<core::Result<std::vector<core::SignedHead>>> audit_heads() = 0;
  /// What this host itself makes of the chain.
  struct AuditWatch {
    std::int64_t signed_up_to{};
    std::string problem;  ///< empty: none
  };
  virtual AuditWatch audit_watch() const { return {}; }

  /// Events after `after`, oldest first, at most `limit`. Error `stale` when `after` is older than what is kept:
  /// the client must list again.
  virtual core::Result<std::vector<Event>> events_after(core::Revision after, std::size_t limit) = 0;
  /// The oldest revision that `events_after` still answers for: a stream without a starting point begins there.
  virtual core::Revision events_kept_after() const { return view().revision; }
  /// Completes when an event newer than `after` exists, or with `timeout` after `timeout_ms`.
  virtual boost::asio::awaitable<core::Result<>> wait_event(core::Revision after, std::int64_t timeout_ms) = 0;

  /// Room for an image upload: a new temporary file in the image folder, or `exhausted`/`conflict`.
  virtual core::Result<std::string> image_upload_path(const std::string& name, std::uint64_t bytes) = 0;
  /// Checks the uploaded file with qemu-img (raw or qcow2, no backing file, no external data file), turns it into raw,
  /// hashes it and submits the import. Removes the temporary file whatever happens.
  virtual boost::asio::awaitable<core::Result<Submitted>> import_image(core::Caller caller, std::string name,
                                                                       std::string temporary, std::string reason,
                                                                       std::string idempotency_key) = 0;

  /// The alerts that are kept; as good as `view`.
  virtual const core::AlertBook& alerts() const = 0;
  /// An alert to every list of recipients, with its audit record; its id, the same for the same idempotency key.
  /// Errors: conflict (no recipients), exhausted.
  virtual boost::asio::awaitable<core::Result<std::string>> test_alert(core::Request request) = 0;
  /// A person has taken notice: it goes to nobody further. Errors: not_found, conflict.
  virtual boost::asio::awaitable<core::Result<>> acknowledge(core::Caller caller, std::string id,
                                                             std::string reason) = 0;

  /// How the VM that was made at `incarnation` fared in the last `days` days (1 and more), read from etcd.
  virtual boost::asio::awaitable<core::Result<core::History>> history(std::string vm, core::Revision incarnation,
                                                                      std::size_t days) = 0;

  struct Health {
    bool ok{};
    bool etcd{};
    bool libvirt{};
    bool drbd{};
    std::string sentence;                 ///< what is wrong and what it means
    std::vector<std::string> warnings{};  ///< what a person should see to, though the host does its work
  };
  virtual Health health() const = 0;
  /// Whether this hostd keeps its times, for /metrics.
  struct Pace {
    double io_late_s{};    ///< the worst of the last minute or two: how late the io thread came to a timer
    double lease_gap_s{};  ///< the same: between two renewals of the host lease, as they are read back from etcd
    std::uint64_t late_renewals{};  ///< since hostd started: more than two periods after the one before
  };
  virtual Pace pace() const { return {}; }
  /// The caller, a host, asks this one not to take its VMs over for the takeover time from now. Errors: refused, and
  /// why.
  virtual core::Result<> promise(const std::string& host, const core::HostLease& lease) = 0;
  virtual std::string host_id() const = 0;
};

}  // namespace bascule::api
