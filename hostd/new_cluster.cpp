#include "hostd/new_cluster.hpp"

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <optional>

#include "hostd/core/guard.hpp"
#include "hostd/note_store.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/libvirt/event_loop.hpp"
#include "hostd/runtime/libvirt/libvirt_host.hpp"
#include "storage/drbd_adapter.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::chrono::seconds kLibvirtPatience{15};
constexpr std::chrono::milliseconds kLook{200};

/// No guest of this cell is here, and nobody holds a leg of it.
asio::awaitable<Result<>> at_rest(const Config& config, runtime::VmHost& vms, storage::DrbdPort& drbd,
                                  const core::Notes& notes) {
  const auto until = runtime::Clock::now() + kLibvirtPatience;
  while (!vms.connected() && runtime::Clock::now() < until) co_await runtime::pause(kLook);
  auto domains = co_await vms.list();
  if (!domains) {
    co_return fail(Errc::unavailable, "libvirt does not say which guests run here (" + domains.error().what + ")");
  }
  // safety: S1. Whoever holds the run-right in the new cluster counts on it that no guest of before runs here.
  // [model: W_joins]
  for (const auto& domain : *domains) {
    if (!core::may_be_guest(config.cell, domain.name, domain.uuid)) continue;
    co_return fail(Errc::conflict, "guest " + domain.name + " is on this host (" +
                                       std::string(core::to_string(domain.state)) +
                                       "): end it first, with `virsh shutdown` or `virsh destroy`");
  }
  for (const auto& [vm, note] : notes.vms) {
    auto seen = co_await drbd.query(storage::resource_name(vm));
    if (!seen)
      co_return fail(Errc::unavailable,
                     "DRBD does not say how the legs of VM " + vm + " are (" + seen.error().what + ")");
    if (!seen->present || seen->role == storage::Role::secondary) continue;
    co_return fail(Errc::conflict, "the legs of VM " + vm + " are in use on this host (" +
                                       std::string(storage::to_string(seen->role)) + "): `drbdadm secondary " +
                                       storage::resource_name(vm) +
                                       "`, or reboot the host if a guest holds them that cannot be ended");
  }
  co_return Result<>{};
}

Result<> look_around(const Config& config, const core::Notes& notes) {
  const runtime::libvirt::EventLoop loop;
  asio::io_context io{1};
  runtime::LibvirtOptions libvirt;
  libvirt.uri = config.libvirt_uri;
  libvirt.cell = config.cell;
  libvirt.host = config.host;
  runtime::LibvirtHost vms(io.get_executor(), std::move(libvirt));
  auto drbd = storage::DrbdAdapter::make(io.get_executor(), config.host, storage::DrbdOptions{});
  if (!drbd) return drbd.error();
  std::optional<Result<>> answer;
  const auto ask = [](const Config& c, runtime::LibvirtHost& v, storage::DrbdPort& d, const core::Notes& n,
                      std::optional<Result<>>& out, asio::io_context& context) -> asio::awaitable<void> {
    auto task = at_rest(c, v, d, n);
    out = co_await std::move(task);
    v.stop();
    context.stop();
  };
  runtime::run_in_background(io.get_executor(), "libvirt", vms.run());
  auto task = ask(config, vms, **drbd, notes, answer, io);
  runtime::run_in_background(io.get_executor(), "looking for guests", std::move(task));
  io.run();
  return answer.value_or(Result<>(fail(Errc::internal, "nobody was asked")));
}

/// What this host signed of the lost cluster's audit chain: the new one has another.
Result<> set_signed_head_aside(const Config& config, std::uint64_t cluster) {
  const std::string path = config.state_path + "/audit-head.json";
  std::error_code ec;
  if (!std::filesystem::exists(path, ec)) return {};
  std::filesystem::rename(path, fmt::format("{}/audit-head-{:x}.json", config.state_path, cluster), ec);
  if (ec) return fail(Errc::io, path + ": " + ec.message());
  return {};
}

}  // namespace

Result<std::string> join_new_cluster(const Config& config) {
  std::error_code ec;
  std::filesystem::create_directories(NoteFile::lost_folder(config.state_path), ec);
  if (ec) return fail(Errc::io, "cannot make " + config.state_path + ": " + ec.message());
  auto lock = lock_state(config.state_path);
  if (!lock) return lock.error();
  NoteStore notes(std::make_unique<NoteFile>(config.state_path));
  if (auto ok = notes.load(); !ok) return ok.error();
  const std::uint64_t before = notes.notes().cluster_id;
  if (before == 0) return std::string("this host's notes know no etcd cluster; there was nothing to forget");
  if (auto ok = look_around(config, notes.notes()); !ok) return ok.error();
  if (auto ok = set_signed_head_aside(config, before); !ok) return ok.error();
  if (auto ok = notes.keep(core::in_new_cluster(notes.notes())); !ok) return ok.error();
  return fmt::format("etcd cluster {:x} is forgotten; the notes of {} VMs stay", before, notes.notes().vms.size());
}

}  // namespace bascule
