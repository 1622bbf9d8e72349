// Stopping a resource's I/O and letting it go on.
#include <fmt/format.h>

#include "storage/deadlines.hpp"
#include "storage/drbd_adapter.hpp"
#include "storage/tool.hpp"

namespace bascule::storage {

using core::Errc;
using core::fail;

Task<> DrbdAdapter::ask_again(Resource resource) {
  const std::string name = resource_name(resource.vm);
  const auto asks = [](const ResourceState& s) {
    return s.present && s.role == Role::primary && s.suspended_fencing && s.connection != Connection::connected;
  };
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (!asks(*state)) co_return core::Result<>{};
  if (state->connection == Connection::stand_alone) {  // the kernel asks at the end of an attempt to connect
    auto begun = co_await connect(resource, Discard::nothing);
    if (!begun) co_return begun;
  }
  // Forced: should the link be back in this instant, the peer is not marked as outdated, which no record says.
  auto cut = co_await disconnect(name, true);
  if (!cut) co_return cut;
  co_return co_await connect(std::move(resource), Discard::nothing);
}

Task<> DrbdAdapter::suspend_io(std::string name) {
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (!state->present || state->suspended_user) co_return core::Result<>{};
  const Running now = devices(name, *state);
  for (auto& argv : now.suspend_io()) {
    Argv command = argv;
    auto done = co_await act(std::move(command), "stopping the I/O of " + name);
    if (!done) co_return done;
  }
  co_return core::Result<>{};
}

Task<> DrbdAdapter::resume_io(std::string name) {
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (!state->present || !state->frozen()) co_return core::Result<>{};
  // The kernel's command lifts every reason at once, also the one it asked the fence-peer helper about.
  if (state->suspended_fencing || state->suspended_no_data || state->suspended_quorum) {
    co_return fail(Errc::conflict, fmt::format("the I/O of {} is stopped for another reason ({}); it stays so", name,
                                               state->suspended));
  }
  const Running now = devices(name, *state);
  for (auto& argv : now.resume_io()) {
    Argv command = argv;
    // safety: R4. Only hostd's own stop is lifted; asked just above, no peer is waited for and no disk is missing. The
    // caller has committed the record that the stop waited for. [model: R4_resume]
    auto done = co_await act(std::move(command), "letting the I/O of " + name + " go on");
    if (!done) co_return done;
  }
  co_return core::Result<>{};
}

Task<> DrbdAdapter::fail_io(Resource resource) {
  const std::string name = resource_name(resource.vm);
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (!state->present) co_return core::Result<>{};
  if (state->connection == Connection::connected) {
    co_return fail(Errc::conflict, name + " is connected: its writes would be carried out by the peer");
  }
  for (const auto& volume : resource.volumes) {
    const auto it = state->volumes.find(volume.index);
    if (it == state->volumes.end() || it->second.disk == Disk::diskless) continue;
    Argv command{std::string(kDrbdsetup), "detach", std::to_string(it->second.minor), "--force"};
    auto done = co_await act(std::move(command), fmt::format("taking the disk of {} away", name));
    if (!done) co_return done;
  }
  auto after = co_await query(name);
  if (!after) co_return after.error();
  for (const auto& [index, volume] : after->volumes) {
    if (volume.disk != Disk::diskless) {
      co_return fail(Errc::refused, fmt::format("volume {} of {} still has its disk ({}); its I/O stays stopped", index,
                                                name, to_string(volume.disk)));
    }
  }
  if (after->connection == Connection::connected) co_return fail(Errc::conflict, name + " has connected meanwhile");
  const Running now = devices(name, *after);
  for (auto& argv : now.resume_io()) {
    Argv command = argv;
    // safety: S2. Read just above: no disk on any volume and no peer, so what was frozen can only fail, not be
    // confirmed.
    auto done = co_await act(std::move(command), "ending the I/O of " + name);
    if (!done) co_return done;
  }
  co_return core::Result<>{};
}

}  // namespace bascule::storage
