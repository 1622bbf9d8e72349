// Making a VM's volumes: two zeroed legs, connected, first sync skipped, the record, the image.
#include <fmt/format.h>

#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using runtime::Clock;

namespace {

constexpr std::chrono::seconds kConnectPatience{60};  // the other host may still be making its leg's peer side
constexpr std::chrono::milliseconds kLook{300};
constexpr std::chrono::minutes kFillDeadline{240};

/// Waits until DRBD says what `wanted` looks for. Errors: timeout with what it said last.
asio::awaitable<Result<Look>> wait_for(Context c, bool (Look::*wanted)() const) {
  const auto until = Clock::now() + kConnectPatience;
  while (true) {
    auto seen = co_await look(c.node, c.op.vm);
    if (!seen) co_return seen.error();
    if (((*seen).*wanted)()) co_return seen;
    if (c.cancelled()) co_return fail(Errc::cancelled, "cancelled while waiting for the other site");
    if (Clock::now() >= until) {
      co_return fail(Errc::refused, "the legs did not come together: " + seen->describe() +
                                        ". Look at the replication link (hostctl host list)");
    }
    co_await pause(kLook);
  }
}

}  // namespace

Answer make_leg(Context c) {
  if (c.vm()->right.revision != 0) co_return fail(Errc::conflict, "the VM has a run-right already");
  const auto layout = c.vm()->layout.value;
  for (const auto& volume : layout.volumes) {
    auto made = co_await c.node.pool.create(leg_name(c.op.vm, volume, c.self()), volume.size_mib);
    if (!made) co_return made.error();
  }
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  auto written = co_await c.node.drbd.write_config(*resource);
  if (!written) co_return written.error();
  for (const auto& volume : layout.volumes) {
    auto metadata = co_await c.node.drbd.create_metadata(*resource, volume.name);
    if (!metadata) co_return metadata.error();
  }
  // Made anew and never used, and there is no record: what this host kept of an earlier VM of this name, whose removal
  // no hostd here may have seen, is over.
  if (auto ok = c.node.notes.keep(core::forgotten(c.node.notes.notes(), c.op.vm)); !ok) co_return ok.error();
  if (auto ok = c.node.notes.drop_lost_disks(c.op.vm); !ok) co_return ok.error();
  auto up = co_await c.node.drbd.up_standalone(*resource);
  if (!up) co_return up.error();
  co_await publish_free_space(c.node);
  co_return done(fmt::format("{} zeroed leg(s)", layout.volumes.size()));
}

Answer undo_make_leg(Context c) { return remove_leg(std::move(c)); }

Answer connect(Context c) {
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  auto ok = co_await c.node.drbd.connect(*resource);
  if (!ok) co_return ok.error();
  co_return done();
}

Answer skip_first_sync(Context c) {
  auto state = co_await wait_for(c, &Look::connected);
  if (!state) co_return state.error();
  if (state->in_sync()) co_return done("already in sync");
  // safety: S3. No record exists yet, so no guest has ever written; both legs were zeroed when they were made and the
  // adapter checks that both are connected and just created.
  if (c.vm()->right.revision != 0)
    co_return fail(Errc::conflict, "the VM has a run-right; a sync is never skipped now");
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  for (const auto& volume : c.vm()->layout.value.volumes) {
    auto ok = co_await c.node.drbd.new_current_uuid_clear_bitmap(*resource, volume.name);
    if (!ok) co_return ok.error();
  }
  auto synced = co_await wait_for(c, &Look::in_sync);
  if (!synced) co_return synced.error();
  co_return done("both legs are zeroed and equal");
}

Answer grant(Context c) {
  core::Outcome out = done("run-right created for " + c.self());
  out.right = core::first_right(c.vm()->layout.value, c.self());
  out.right_revision = 0;  // only `create` makes a record
  co_return out;
}

Answer join_peer(Context c) {
  // safety: R3. The revision first, then DRBD afresh, then the write that compares that revision. [model: R3_add_back]
  const auto read = c.vm()->right;
  core::Right right = read.value;
  const core::Layout layout = c.vm()->layout.value;
  auto state = co_await wait_for(c, &Look::in_sync);
  if (!state) co_return state.error();
  for (const auto& volume : layout.volumes) {
    for (const auto& leg : volume.legs) {
      auto next = core::add_leg(right, layout, c.self(), volume.name, leg);
      if (!next) co_return next.error();
      right = std::move(*next);
    }
  }
  if (auto noted = note_adding(c.node, c.op.vm, read); !noted) co_return noted.error();
  core::Outcome out = done("both legs in the record");
  out.right = std::move(right);
  out.right_revision = read.revision;
  co_return out;
}

Answer fill(Context c) {
  auto primary = co_await claim_and_promote(c.node, c.op.vm, c.op.reason, Start::other);
  if (!primary) co_return primary.error();
  std::size_t filled = 0;
  const auto* vm = c.vm();
  const auto volumes = vm->spec.value.volumes;
  const auto layout = vm->layout.value;
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    if (volumes[i].image.empty()) continue;
    co_await c.progress({.text = "writing image " + volumes[i].image + " to both sites"});
    runtime::Command command;
    command.deadline = kFillDeadline;
    command.argv = {"/usr/bin/qemu-img",
                    "convert",
                    "-n",
                    "-f",
                    "raw",
                    "-O",
                    "raw",
                    "-t",
                    "none",
                    "-T",
                    "none",
                    c.node.images.path_of(volumes[i].image),
                    storage::device_path(layout.volumes[i].minor)};
    auto wrote = co_await runtime::run(std::move(command));
    if (!wrote) co_return wrote.error();
    if (!wrote->ok()) {
      co_return fail(Errc::io, "image " + volumes[i].image + " could not be written: " + wrote->err.substr(0, 300));
    }
    ++filled;
  }
  auto down = co_await c.node.drbd.demote(storage::resource_name(c.op.vm));
  if (!down) co_return down.error();
  co_return done(fmt::format("{} volume(s) filled", filled));
}

Answer hand_over(Context c) {
  const auto* vm = c.vm();
  const std::string to = c.op.target_host.empty() ? vm->spec.value.nominal_host : c.op.target_host;
  if (vm->right.value.host == to) co_return done("the right is " + to + "'s already");
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state != core::DomainState::absent) co_return fail(Errc::conflict, "a guest runs here; the right stays");
  // safety: H. This host holds the right and was just seen to run no guest. [model: H_hand_over]
  auto next = core::hand_over(c.vm()->right.value, c.vm()->layout.value, c.self(), to);
  if (!next) co_return next.error();
  core::Outcome out = done("run-right handed to " + to);
  out.right = std::move(*next);
  out.right_revision = c.vm()->right.revision;
  co_return out;
}

}  // namespace bascule::steps
