// The way out where the only leg a VM has left has lost its disk (R5): a person says that it is used all the same.
#include <fmt/format.h>

#include <algorithm>

#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

/// The leg is noted, and nobody could be started from another one instead.
Result<> only_leg(const Node& node, const core::VmView& vm, const core::VolumeLayout& volume,
                  const storage::VolumeState& seen, bool connected) {
  const auto listed = vm.right.value.insync.find(volume.name);
  const bool alone =
      listed != vm.right.value.insync.end() && listed->second.size() == 1 && listed->second.front().host == node.self();
  if (!alone) {
    return fail(Errc::conflict, "the record does not list the leg of volume " + volume.name + " on " + node.self() +
                                    " alone: it is resynced from the other one; nothing was changed");
  }
  if (connected && seen.peer_disk == storage::Disk::up_to_date) {
    return fail(Errc::conflict, "the other leg of volume " + volume.name +
                                    " is connected and UpToDate: the record changes over to it by itself; nothing "
                                    "was changed");
  }
  return {};
}

}  // namespace

asio::awaitable<Result<>> use_failed_disks(Node& node, std::string vm) {
  // safety: R6. Not on a record of the past. [model: R6_distrust]
  if (auto ok = trusted(node, vm); !ok) co_return ok;
  auto seen = co_await look(node, vm);
  if (!seen) co_return seen.error();
  const auto* view = node.cell.view().vm(vm);
  if (view == nullptr) co_return fail(Errc::not_found, "VM " + vm + " is gone");
  const auto layout = view->layout.value;
  bool any = false;
  for (std::size_t i = 0; i < layout.volumes.size(); ++i) {
    if (!core::leg_noted(node.notes.notes(), vm, layout, i, node.self())) continue;
    any = true;
    const auto state = seen->state.volumes.find(static_cast<std::uint16_t>(i));
    if (state == seen->state.volumes.end()) co_return fail(Errc::unavailable, "the legs are not up yet");
    auto ok = only_leg(node, *view, layout.volumes[i], state->second, seen->connected());
    if (!ok) co_return ok;
  }
  if (!any) co_return Result<>{};
  auto resource = co_await resolved_resource(node, vm);
  if (!resource) co_return resource.error();
  // safety: R5, S2. An operator has signed for it (Planner), the record lists these legs alone, so no other host could
  // be started instead; and where the guest still stands here, DRBD itself refuses a disk that lacks what another leg
  // has confirmed since (it compares the data generation that the device last showed).
  auto up = co_await node.drbd.up_standalone(*resource);
  if (!up) co_return up.error();
  // After: a hostd that is killed between leaves the leg noted, and the step is run again.
  auto named = node.notes.keep(core::legs_named(node.notes.notes(), vm, layout, node.self()));
  if (!named) co_return named;
  for (const auto& volume : layout.volumes) {
    const auto* leg = core::leg_of(volume, node.self());
    if (leg == nullptr) continue;
    auto kept = node.notes.keep(core::leg_failed(node.notes.notes(), vm, leg->id, false));
    if (!kept) co_return kept;
  }
  co_return node.notes.drop_lost_disks(vm);
}

}  // namespace bascule::steps
