// DRBD on this host, as hostd sees it. Each method is documented by what it guarantees.
//
// All are idempotent: repeated after a crash they succeed, or say why not. Errors common to all:
// invalid (the resource does not pass `check`), outcome_unknown (a command was killed at its
// deadline or its caller cancelled: ask `query` again later, rule U), refused (DRBD said no, with
// its words), unavailable (no module, no tools), conflict (the state forbids it; nothing was done).
// Thread rule: the executor of the adapter, one thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"
#include "storage/resource.hpp"
#include "storage/resource_state.hpp"

namespace bascule::storage {

template <class T = void>
using Task = boost::asio::awaitable<core::Result<T>>;

/// Why this host may promote: the run-right it holds, as committed. Filled from a transaction's
/// answer, never by hand.
struct PromotionProof {
  std::string vm;
  std::string host;  ///< the host the record lets promote: its holder, or the target of a marked migration
  std::int64_t epoch{};
  core::Revision revision{};  ///< mod revision of the committed record
  Force force{Force::no};
};

class DrbdPort {
 public:
  DrbdPort() = default;
  DrbdPort(const DrbdPort&) = delete;
  DrbdPort& operator=(const DrbdPort&) = delete;
  virtual ~DrbdPort() = default;

  // `name` is a resource's name (resource_name), `volume` a volume's.

  /// /etc/drbd.d/<name>.res and the global part, replaced whole. Needed by the kernel's fence-peer
  /// call.
  virtual Task<> write_config(Resource resource) = 0;
  virtual Task<> remove_config(std::string name) = 0;

  /// DRBD metadata on this host's backing device of a *fresh* leg. Does nothing when fresh metadata
  /// is already there. conflict: the device carries metadata of a used leg; it is not touched.
  virtual Task<> create_metadata(Resource resource, std::string volume) = 0;

  /// Resource, minors, disks (but those marked `without_disk`); no connection (rule R5). Writes the configuration
  /// first. Leaves an existing connection alone. conflict: another device is attached under one of the minors.
  virtual Task<> up_standalone(Resource resource) = 0;

  /// A leg that is not attached is marked Inconsistent in its metadata, for a whole resync: whatever comes, it is only
  /// ever overwritten by the peer's. The mark is on the disk when this has succeeded. conflict: the leg is attached.
  virtual Task<> mark_stale(Resource resource, std::string volume) = 0;

  /// Begins to connect, with two primaries forbidden; does not wait for the peer. Done when not
  /// StandAlone any more. With own_data, on a Secondary: if the legs have parted, this one is resynced from the other,
  /// whatever it holds.
  virtual Task<> connect(Resource resource, Discard discard) = 0;
  Task<> connect(Resource resource) { return connect(std::move(resource), Discard::nothing); }
  /// Ends in StandAlone. Not forced, on a Primary: the peer, if reachable, becomes Outdated; on a
  /// Secondary of a Primary: this host does. Forced: nobody is asked or marked.
  virtual Task<> disconnect(std::string name, bool force) = 0;

  /// First sync skipped on one volume: both legs read as zeroes. Only where, asked afresh, the
  /// volume is connected, both disks Inconsistent, both sides Secondary and the generation is
  /// JUST_CREATED; the kernel guarantees that the peer's is then too. Ends in sync. Does nothing on
  /// a volume in sync.
  virtual Task<> new_current_uuid_clear_bitmap(Resource resource, std::string volume) = 0;

  /// Plain `primary` unless the proof says what to force. conflict unless every own disk, asked afresh, is Consistent
  /// or UpToDate and none is a resync target; `outdated` also takes Outdated, `fresh` Inconsistent with a generation
  /// that is just created. All volumes or none. While the peer is Primary and two primaries are not (yet) allowed:
  /// refused.
  virtual Task<> promote(std::string name, PromotionProof proof) = 0;
  /// Retries while somebody holds a device open, for a bounded time. A resource that is down is
  /// demoted.
  virtual Task<> demote(std::string name) = 0;

  /// Opening: conflict unless connected and in sync on every volume. Closing: refused while both
  /// are Primary; nothing to do without a connection. While connected the peer's setting follows, a
  /// moment later.
  virtual Task<> set_two_primaries(std::string name, bool allow) = 0;
  /// What the kernel runs with now; false without a connection.
  virtual Task<bool> two_primaries(std::string name) = 0;

  /// DRBD's generation identifiers of an attached leg, as DRBD writes them: for people to compare.
  virtual Task<std::string> generation(Resource resource, std::string volume) = 0;

  /// Starts an online verify of one volume; its end shows as replication going back to Established,
  /// what it found as out_of_sync_kib. conflict unless connected and not resyncing.
  virtual Task<> verify(Resource resource, std::string volume) = 0;

  /// Grows one volume to `size_mib`; both backing devices have been grown before. conflict unless
  /// in sync and one side is Primary. The new space is then resynchronised: the peer's disk is
  /// Inconsistent until that ends. Writes the configuration; the peer's host does that for itself
  /// (write_config).
  virtual Task<> resize(Resource resource, std::string volume, std::uint64_t size_mib) = 0;

  /// Takes the disk away; I/O goes on over the peer or, forced, fails.
  virtual Task<> detach(Resource resource, std::string volume, bool force) = 0;

  /// A Primary frozen by fencing whose peer is away: the kernel is made to run its fence-peer helper anew. Nothing
  /// else: I/O stays frozen until the helper answers. Ends connecting. Does nothing when it is not frozen so, or
  /// connected.
  virtual Task<> ask_again(Resource resource) = 0;

  /// Stops a resource's I/O until `resume_io`. Nothing to do without the resource.
  virtual Task<> suspend_io(std::string name) = 0;
  /// Lets I/O go on that `suspend_io` stopped. conflict while it is frozen for another reason: fencing is lifted only
  /// by the kernel's own question, a lost disk only by `fail_io`.
  virtual Task<> resume_io(std::string name) = 0;
  /// The end of a copy that may not write any more, so that its process can die: every disk is taken away by force, and
  /// when that is confirmed frozen I/O is let go on, which now fails. conflict while connected to a peer that would
  /// carry it out.
  virtual Task<> fail_io(Resource resource) = 0;

  /// Resource gone from the kernel; its configuration stays. refused while held open.
  virtual Task<> down(std::string name) = 0;

  /// Asked afresh; present = false when the resource is down.
  virtual Task<ResourceState> query(std::string name) = 0;

  /// Called on the executor for every resource whose state changed (also to "down"), first for all
  /// there are. The stream restarts by itself; what was missed meanwhile is then reported as
  /// changes. `trouble` gets a sentence each time the stream is lost. Call once.
  using Changed = std::function<void(const ResourceState&)>;
  using Trouble = std::function<void(const core::Error&)>;
  virtual void listen(Changed changed, Trouble trouble) = 0;
  virtual void stop() = 0;
  /// The stream is being read and its picture is complete.
  virtual bool following() const = 0;
};

}  // namespace bascule::storage
