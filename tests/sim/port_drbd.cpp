// hostd's view of DRBD: what storage/drbd_adapter.cpp does with drbdsetup, done with the simulated kernel.
#include <fmt/format.h>

#include "tests/sim/ports.hpp"

namespace bascule::sim {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using storage::Task;

namespace {
constexpr Us kCommandLeast = kMs, kCommandMost = 12 * kMs;
constexpr Us kHeldOpen = 100 * kMs;
constexpr int kHeldOpenAttempts = 10;
constexpr Us kPromoteDeadline = 60 * kSecond;  // storage/deadlines.hpp
}  // namespace

asio::awaitable<void> SimDrbd::command() {
  auto moment = process_.sleep(cell_.engine.rng().in(kCommandLeast, kCommandMost));
  co_await std::move(moment);
}

Result<> SimDrbd::answer(std::string refusal, const std::string& what) const {
  if (refusal.empty()) return {};
  return fail(Errc::refused, what + ": " + std::move(refusal));
}

void SimDrbd::deliver(const std::string& resource) {
  if (changed_) changed_(cell_.drbd.state(resource, machine_.name));
}

void SimDrbd::listen(Changed changed, Trouble) {
  changed_ = std::move(changed);
  for (const auto& [resource, both] : cell_.drbd.pairs()) {
    if (both.sides[0].host == machine_.name || both.sides[1].host == machine_.name) {
      process_.post([this, name = resource] { deliver(name); });
    }
  }
}

Task<> SimDrbd::write_config(storage::Resource resource) {
  if (auto ok = storage::check(resource, machine_.name); !ok) co_return ok.error();
  cell_.drbd.make(storage::resource_name(resource.vm), resource.hosts[0].host, resource.hosts[1].host);
  co_return Result<>{};
}

Task<> SimDrbd::remove_config(std::string) { co_return Result<>{}; }

Task<> SimDrbd::create_metadata(storage::Resource resource, std::string volume) {
  co_await command();
  const auto* wanted = storage::find_volume(resource, volume);
  if (wanted == nullptr) co_return fail(Errc::not_found, "no such volume");
  auto& leg = cell_.drbd.side(storage::resource_name(resource.vm), machine_.name).legs[wanted->index];
  const auto& backing = wanted->backing[*storage::side_of(resource, machine_.name)];
  if (leg.metadata && leg.backing == backing && leg.current != 4) co_return fail(Errc::conflict, "a used leg");
  leg = {};
  leg.metadata = true;
  leg.current = 4;
  leg.backing = backing;
  leg.minor = wanted->minor;
  leg.size_mib = wanted->size_mib;
  co_return Result<>{};
}

Task<> SimDrbd::up_standalone(storage::Resource resource) {
  co_await command();
  const std::string name = storage::resource_name(resource.vm);
  cell_.drbd.bring_up(name, machine_.name);
  for (const auto& volume : resource.volumes) {
    if (volume.without_disk) continue;
    auto done = answer(cell_.drbd.attach(name, machine_.name, volume.index), "attaching volume " + volume.name);
    if (!done) co_return done;
  }
  co_return Result<>{};
}

Task<> SimDrbd::mark_stale(storage::Resource resource, std::string volume) {
  co_await command();
  const auto index = storage::find_volume(resource, volume)->index;
  co_return answer(cell_.drbd.invalidate(storage::resource_name(resource.vm), machine_.name, index),
                   "marking volume " + volume + " for a whole resync");
}

Task<> SimDrbd::connect(storage::Resource resource, storage::Discard discard) {
  co_await command();
  const std::string name = storage::resource_name(resource.vm);
  if (!cell_.drbd.side(name, machine_.name).up) co_return fail(Errc::conflict, name + " is down on this host");
  cell_.drbd.connect(name, machine_.name, discard == storage::Discard::own_data);
  co_return Result<>{};
}

Task<> SimDrbd::disconnect(std::string name, bool force) {
  co_await command();
  if (cell_.drbd.pair(name) != nullptr) cell_.drbd.disconnect(name, machine_.name, force);
  co_return Result<>{};
}

Task<> SimDrbd::new_current_uuid_clear_bitmap(storage::Resource resource, std::string volume) {
  co_await command();
  const std::string name = storage::resource_name(resource.vm);
  const auto index = storage::find_volume(resource, volume)->index;
  if (storage::in_sync(cell_.drbd.state(name, machine_.name), index)) co_return Result<>{};
  co_return answer(cell_.drbd.skip_first_sync(name, machine_.name, index), "skipping the first sync");
}

Task<> SimDrbd::promote(std::string name, storage::PromotionProof proof) {
  if (proof.host != machine_.name || storage::resource_name(proof.vm) != name || proof.revision <= 0 ||
      proof.epoch <= 0) {
    co_return fail(Errc::conflict, "the run-right shown is not for this");
  }
  co_await command();
  if (auto ok = storage::check_promotable(cell_.drbd.state(name, machine_.name), proof.force); !ok) {
    co_return ok.error();
  }
  co_await command();
  std::string refusal = cell_.drbd.promote(name, machine_.name, proof.force, 0);
  if (refusal == "ask") {
    auto slot = std::make_shared<int>(-1);
    auto started = [this, name, slot](Process::Token token) {
      cell_.engine.after(kPromoteDeadline, [handle = process_.handle(), token] {
        if (const auto alive = handle.lock()) (*alive)->resume(token);
      });
      cell_.drbd.promoting(name, machine_.name, true);
      cell_.ask_helper(machine_.name, name,
                       [cell = &cell_, host = machine_.name, name, slot, handle = process_.handle(), token](int code) {
                         *slot = code;
                         cell->drbd.promoting(name, host, false);
                         if (const auto alive = handle.lock()) (*alive)->resume(token);
                       });
    };
    auto parked = process_.park(started);
    co_await std::move(parked);
    if (*slot < 0) co_return fail(Errc::outcome_unknown, "promoting " + name + ": no end in time");
    refusal = cell_.drbd.promote(name, machine_.name, proof.force, *slot);
  }
  co_return answer(std::move(refusal), "promoting " + name);
}

Task<> SimDrbd::demote(std::string name) {
  if (cell_.drbd.pair(name) == nullptr) co_return Result<>{};
  for (int attempt = 1;; ++attempt) {
    co_await command();
    auto refusal = cell_.drbd.demote(name, machine_.name);
    if (refusal.empty() || attempt == kHeldOpenAttempts) co_return answer(std::move(refusal), "demoting " + name);
    auto wait = process_.sleep(kHeldOpen);
    co_await std::move(wait);
  }
}

Task<> SimDrbd::set_two_primaries(std::string name, bool allow) {
  co_await command();
  const auto state = cell_.drbd.state(name, machine_.name);
  if (allow && !storage::in_sync(state)) co_return fail(Errc::conflict, name + " is not in sync");
  if (!allow && (!state.present || state.connection == storage::Connection::stand_alone)) co_return Result<>{};
  co_return answer(cell_.drbd.two_primaries(name, machine_.name, allow), "two primaries of " + name);
}

Task<bool> SimDrbd::two_primaries(std::string name) {
  co_await command();
  if (cell_.drbd.pair(name) == nullptr) co_return false;
  const auto& side = cell_.drbd.side(name, machine_.name);
  co_return side.wants_link&& side.two_primaries;
}

Task<std::string> SimDrbd::generation(storage::Resource resource, std::string volume) {
  const auto& side = cell_.drbd.side(storage::resource_name(resource.vm), machine_.name);
  const auto& leg = side.legs.at(storage::find_volume(resource, volume)->index);
  // As drbdsetup prints them; the lowest bit is the role's.
  std::string out = fmt::format("{:016X}:{:016X}", leg.current * 2, leg.bitmap * 2);
  for (std::size_t i = 1; i <= 2; ++i) {
    out += fmt::format(":{:016X}", i > leg.old.size() ? 0 : leg.old[leg.old.size() - i] * 2);
  }
  co_return out;
}

Task<> SimDrbd::verify(storage::Resource resource, std::string) {
  co_await command();
  if (!storage::in_sync(cell_.drbd.state(storage::resource_name(resource.vm), machine_.name), resource)) {
    co_return fail(Errc::conflict, "there is nothing to compare yet");
  }
  co_return Result<>{};
}

Task<> SimDrbd::resize(storage::Resource, std::string, std::uint64_t) {
  co_return fail(Errc::refused, "not simulated");
}

Task<> SimDrbd::detach(storage::Resource resource, std::string volume, bool) {
  co_await command();
  cell_.drbd.detach(storage::resource_name(resource.vm), machine_.name, storage::find_volume(resource, volume)->index);
  co_return Result<>{};
}

Task<> SimDrbd::ask_again(storage::Resource resource) {
  co_await command();
  const std::string name = storage::resource_name(resource.vm);
  const auto state = cell_.drbd.state(name, machine_.name);
  const bool asks = state.present && state.role == storage::Role::primary && state.suspended_fencing &&
                    state.connection != storage::Connection::connected;
  if (!asks) co_return Result<>{};
  if (state.connection == storage::Connection::stand_alone) {
    cell_.drbd.connect(name, machine_.name, false);
    co_await command();
  }
  cell_.drbd.disconnect(name, machine_.name, true);
  co_await command();
  cell_.drbd.connect(name, machine_.name, false);
  co_return Result<>{};
}

Task<> SimDrbd::suspend_io(std::string name) {
  co_await command();
  if (cell_.drbd.state(name, machine_.name).present) cell_.drbd.suspend(name, machine_.name, true);
  co_return Result<>{};
}

Task<> SimDrbd::resume_io(std::string name) {
  co_await command();
  const auto state = cell_.drbd.state(name, machine_.name);
  if (!state.present || !state.frozen()) co_return Result<>{};
  if (state.suspended_fencing || state.suspended_no_data) co_return fail(Errc::conflict, "frozen for another reason");
  cell_.drbd.suspend(name, machine_.name, false);
  co_return Result<>{};
}

Task<> SimDrbd::fail_io(storage::Resource resource) {
  co_await command();
  const std::string name = storage::resource_name(resource.vm);
  const auto state = cell_.drbd.state(name, machine_.name);
  if (!state.present) co_return Result<>{};
  if (state.connection == storage::Connection::connected) co_return fail(Errc::conflict, name + " is connected");
  for (const auto& volume : resource.volumes) cell_.drbd.detach(name, machine_.name, volume.index);
  co_await command();
  if (cell_.drbd.state(name, machine_.name).connection == storage::Connection::connected) {
    co_return fail(Errc::conflict, name + " has connected meanwhile");
  }
  cell_.drbd.fail_pending(name, machine_.name);
  co_return Result<>{};
}

Task<> SimDrbd::down(std::string name) {
  co_await command();
  co_return answer(cell_.drbd.down(name, machine_.name), "taking " + name + " down");
}

Task<storage::ResourceState> SimDrbd::query(std::string name) {
  co_await command();
  co_return cell_.drbd.state(name, machine_.name);
}

}  // namespace bascule::sim
