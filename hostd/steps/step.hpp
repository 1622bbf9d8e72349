// One function for each step of an operation, and one for its undo. A step looks first and acts only where needed, so
// that running it again after a crash is safe. Errors: `unavailable`, `timeout` and `outcome_unknown` are tried again
// by the worker; every other error is a definite no and makes the operation undo.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>

#include "hostd/core/engine.hpp"
#include "hostd/core/right.hpp"
#include "hostd/node.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/process.hpp"

namespace bascule::steps {

/// What a step is told. The operation is the record as it was when the step began.
struct Context {
  Node& node;
  core::Operation op;
  std::size_t index{};

  const core::VmView* vm() const { return node.cell.view().vm(op.vm); }
  const std::string& self() const { return node.self(); }
  /// Somebody asked to cancel the operation since.
  bool cancelled() const;
  /// Shown to whoever follows; lost without harm.
  boost::asio::awaitable<void> progress(core::Progress progress) const;
};

using Answer = boost::asio::awaitable<core::Result<core::Outcome>>;

Answer run(Context context);
Answer undo(Context context);

// ---- used by several steps ----
core::Outcome done(std::string note = {});
using runtime::pause;

/// What DRBD says of the VM's resource now, asked afresh.
struct Look {
  storage::Resource resource;
  storage::ResourceState state;
  bool connected() const { return state.connection == storage::Connection::connected; }
  bool in_sync() const { return storage::in_sync(state, resource); }
  std::string describe() const;  ///< for a message: connection and disks
};
boost::asio::awaitable<core::Result<Look>> look(Node& node, std::string vm);

/// What DRBD says of it now, asked afresh, with what is known of its guest.
boost::asio::awaitable<core::Result<core::LocalVm>> fresh_local(Node& node, std::string vm);

/// Who wants a guest started: a person (automatic starts count from zero again), hostd after the guest ended by itself,
/// or neither, as after a takeover.
enum class Start : std::uint8_t { asked, automatic, other };
/// R2 for the holder: commits epoch+1 and promotes the VM's resource here. Idempotent. Without a connection the kernel
/// asks hostd, through the fence-peer helper, whether the peer is excluded (hostd/arbiter.hpp) before it promotes.
boost::asio::awaitable<core::Result<>> claim_and_promote(Node& node, std::string vm, std::string why, Start start,
                                                         storage::Force force = storage::Force::no);

/// Attaches the legs here that are noted as failed and takes the notes back. Only where the record lists no other leg.
Answer use_failed_disks(Context c);
Answer undo_use_failed_disks(Context c);

// hostd/steps/create.cpp
Answer make_leg(Context c);
Answer undo_make_leg(Context c);
Answer connect(Context c);
Answer skip_first_sync(Context c);
Answer grant(Context c);
Answer join_peer(Context c);
Answer fill(Context c);
Answer hand_over(Context c);
// hostd/steps/power.cpp
Answer admit_start(Context c);
Answer promote(Context c);
Answer demote(Context c);
Answer demote_source(Context c);
Answer start_domain(Context c);
Answer shutdown(Context c);
Answer destroy(Context c);
Answer reset(Context c);
// hostd/steps/failover.cpp
Answer take_right(Context c);
// hostd/steps/watchdog.cpp
Answer prove_watchdog(Context c);
// hostd/steps/care.cpp
Answer seed_leg(Context c);
Answer snapshot_leg(Context c);
Answer await_sync(Context c);
Answer cut_link(Context c);
Answer compare_legs(Context c);
Answer await_approval(Context c);
Answer discard_leg(Context c);
/// No snapshot of an earlier repair or adoption is kept here: this one's would not be made. Error conflict.
boost::asio::awaitable<core::Result<>> nothing_kept(Context c);
// hostd/steps/adopt.cpp
Answer survey_legs(Context c);
Answer confirm_legs(Context c);
Answer adopt_right(Context c);
// hostd/steps/migrate.cpp
Answer admit_migration(Context c);
Answer mark_migration(Context c);
Answer unmark_migration(Context c);
Answer prepare_target(Context c);
Answer open_window(Context c);
Answer undo_open_window(Context c);
Answer promote_target(Context c);
Answer undo_promote_target(Context c);
Answer live_migrate(Context c);
Answer undo_live_migrate(Context c);
Answer resume_target(Context c);
Answer close_window(Context c);
Answer confirm(Context c);
// hostd/steps/volume.cpp
Answer grow_leg(Context c);
Answer resize_drbd(Context c);
Answer resize_guest_disk(Context c);
Answer record_size(Context c);
Answer verify(Context c);
Answer drop_right(Context c);
Answer remove_leg(Context c);
Answer remove_image(Context c);

}  // namespace bascule::steps
