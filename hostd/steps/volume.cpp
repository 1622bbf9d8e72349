// Growing, verifying and removing volumes; removing images.
#include <fmt/format.h>

#include <algorithm>

#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr std::chrono::seconds kLook{1};
constexpr std::uint64_t kMib = 1024 * 1024;

const core::VolumeLayout* volume_of(const Context& c) {
  const auto& volumes = c.vm()->layout.value.volumes;
  const auto it = std::ranges::find(volumes, c.op.object, &core::VolumeLayout::name);
  return it == volumes.end() ? nullptr : &*it;
}
}  // namespace

Answer grow_leg(Context c) {
  const auto* volume = volume_of(c);
  if (volume == nullptr) co_return fail(Errc::not_found, "the volume is gone");
  auto name = leg_name(c.op.vm, *volume, c.self());
  auto grown = co_await c.node.pool.grow(std::move(name), c.op.size_mib);
  if (!grown) co_return grown.error();
  co_await publish_free_space(c.node);
  co_return done(fmt::format("backing device holds {} MiB", c.op.size_mib));
}

Answer resize_drbd(Context c) {
  const std::string name = storage::resource_name(c.op.vm);
  auto seen = co_await look(c.node, c.op.vm);
  if (!seen) co_return seen.error();
  if (!seen->in_sync()) {
    co_return fail(Errc::conflict, "the volume is not in sync (" + seen->describe() + "); it keeps its size");
  }
  const bool lend = seen->state.role != storage::Role::primary;  // DRBD resizes only where somebody is Primary
  if (lend) {
    auto up = co_await claim_and_promote(c.node, c.op.vm, c.op.reason, Start::other);
    if (!up) co_return up.error();
  }
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  auto resized = co_await c.node.drbd.resize(*resource, c.op.object, c.op.size_mib);
  if (lend) {
    auto down = co_await c.node.drbd.demote(name);
    if (!down) co_return down.error();
  }
  if (!resized) co_return resized.error();
  co_return done("the new part is being synced, the old one stays protected");
}

Answer resize_guest_disk(Context c) {
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state == core::DomainState::absent) co_return done("the VM is off; it sees the size at its next start");
  const auto& volumes = c.vm()->layout.value.volumes;
  for (std::uint32_t i = 0; i < volumes.size(); ++i) {
    if (volumes[i].name != c.op.object) continue;
    auto told = co_await c.node.vms.block_resize(c.op.vm, i, c.op.size_mib * kMib);
    if (!told) co_return told.error();
  }
  co_return done("the guest sees the new size");
}

Answer record_size(Context c) {
  auto ok = co_await c.node.cell.commit_size(c.op.vm, c.op.object, c.op.size_mib);
  if (!ok) co_return ok.error();
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  auto written = co_await c.node.drbd.write_config(*resource);
  if (!written) co_return written.error();
  co_return done();
}

Answer verify(Context c) {
  const auto* volume = volume_of(c);
  if (volume == nullptr) co_return fail(Errc::not_found, "the volume is gone");
  auto resource = co_await resolved_resource(c.node, c.op.vm);
  if (!resource) co_return resource.error();
  auto started = co_await c.node.drbd.verify(*resource, c.op.object);
  if (!started) co_return started.error();
  while (true) {
    co_await pause(kLook);
    auto now = co_await look(c.node, c.op.vm);
    if (!now) co_return now.error();
    const auto* wanted = storage::find_volume(now->resource, c.op.object);
    const auto seen = wanted == nullptr ? now->state.volumes.end() : now->state.volumes.find(wanted->index);
    if (seen == now->state.volumes.end() || !now->connected()) {
      co_return fail(Errc::refused, "the link dropped while the legs were compared; nothing was changed");
    }
    if (storage::verifying(seen->second)) {
      if (c.cancelled()) co_return fail(Errc::cancelled, "cancelled; DRBD goes on comparing, and nobody waits for it");
      const auto local = c.node.local.find(c.op.vm);
      const bool gone = local != c.node.local.end() && local->second.domain == core::DomainState::absent;
      if (gone && c.vm()->spec.value.power == core::Power::on) {
        co_return fail(Errc::cancelled, "the guest has ended, and its start comes first; DRBD goes on comparing");
      }
      continue;
    }
    core::Outcome out = done("both legs are equal");
    out.result["verdict"] = "equal";
    if (seen->second.out_of_sync_kib == 0) co_return out;
    out = {};
    out.result["verdict"] = "different";
    out.error =
        fmt::format("{} KiB differ between the legs. The VM keeps running on {}; the other leg is "
                    "taken out of the in-sync list. Look at its disk, then on {}: `drbdadm disconnect {}`; hostd "
                    "connects again, and what differs is copied from {}",
                    seen->second.out_of_sync_kib, c.self(), c.self(), storage::resource_name(c.op.vm), c.self());
    co_return out;
  }
}

Answer drop_right(Context c) {
  const auto* vm = c.vm();
  core::Outcome out = done();
  if (vm->right.revision == 0) co_return out;
  // Nobody is in sync any more: no host will promote this VM again, whatever happens to the rest of the removal.
  core::Right right = vm->right.value;
  right.insync.clear();
  out.right = std::move(right);
  out.right_revision = vm->right.revision;
  co_return out;
}

Answer remove_leg(Context c) {
  const std::string name = storage::resource_name(c.op.vm);
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state != core::DomainState::absent) co_return fail(Errc::conflict, "a guest runs on " + c.self());
  auto demoted = co_await c.node.drbd.demote(name);
  if (!demoted) co_return demoted.error();
  auto down = co_await c.node.drbd.down(name);
  if (!down) co_return down.error();
  auto removed = co_await c.node.drbd.remove_config(name);
  if (!removed) co_return removed.error();
  const auto layout = c.vm()->layout.value;
  for (const auto& volume : layout.volumes) {
    auto gone = co_await c.node.pool.remove(leg_name(c.op.vm, volume, c.self()));
    if (!gone) co_return gone.error();
  }
  c.node.local.erase(c.op.vm);
  co_await publish_free_space(c.node);
  co_return done("legs removed from " + c.self());
}

Answer remove_image(Context c) {
  auto ok = c.node.images.remove(c.op.object);
  if (!ok) co_return ok.error();
  co_return done();
}

}  // namespace bascule::steps
