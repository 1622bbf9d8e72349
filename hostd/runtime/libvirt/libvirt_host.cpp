#include "hostd/runtime/libvirt/libvirt_host.hpp"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "hostd/core/names.hpp"
#include "hostd/runtime/libvirt/host_impl.hpp"

namespace bascule::runtime {
using core::Errc;
using core::fail;
using namespace boost::asio::experimental::awaitable_operators;

LibvirtHost::LibvirtHost(boost::asio::any_io_executor executor, LibvirtOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options))) {}

LibvirtHost::~LibvirtHost() { impl_->stop(); }

boost::asio::awaitable<void> LibvirtHost::run() { return impl_->run(); }
void LibvirtHost::stop() { impl_->stop(); }
void LibvirtHost::on_event(Sink sink) { impl_->sinks.push_back(std::move(sink)); }
bool LibvirtHost::connected() const { return impl_->is_connected; }

std::string LibvirtHost::Impl::peer_uri(const std::string& host) const {
  constexpr std::string_view mark = "{host}";
  std::string uri = options.peer_uri;
  if (const auto at = uri.find(mark); at != std::string::npos) uri.replace(at, mark.size(), host);
  return uri;
}

LibvirtHost::Answer<> LibvirtHost::start(core::DomainSpec spec, core::StartProof proof) {
  const auto impl = impl_;
  if (auto ok = core::check(proof, spec.name, impl->options.host); !ok) co_return ok;
  if (spec.uuid != core::domain_uuid(impl->options.cell, spec.name)) {
    co_return fail(Errc::internal, "'" + spec.name + "' was not started: its uuid is not the one of this cell");
  }
  auto xml = libvirt::domain_xml(spec, impl->options.xml);
  if (!xml) co_return xml.error();
  std::string what = "starting '" + spec.name + "'";
  Impl::Body<void> body = [spec = std::move(spec), text = std::move(*xml)](const Connection& c) {
    return libvirt::call_start(c, spec, text);
  };
  co_return co_await impl->on_lane<void>(impl->calls, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<std::vector<core::DomainInfo>> LibvirtHost::list() {
  const auto impl = impl_;
  Impl::Body<std::vector<core::DomainInfo>> body = libvirt::call_list;
  std::string what = "listing the domains";
  co_return co_await impl->on_lane<std::vector<core::DomainInfo>>(impl->calls, Call::read, std::move(what),
                                                                  std::move(body));
}

LibvirtHost::Answer<core::DomainInfo> LibvirtHost::observe(std::string name) {
  const auto impl = impl_;
  std::string what = "observing '" + name + "'";
  Impl::Body<core::DomainInfo> body = [vm = impl->target(name)](const Connection& c) {
    return libvirt::call_observe(c, vm);
  };
  co_return co_await impl->on_lane<core::DomainInfo>(impl->calls, Call::read, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::request_shutdown(std::string name) {
  const auto impl = impl_;
  std::string what = "asking '" + name + "' to shut down";
  Impl::Body<void> body = [vm = impl->target(name)](const Connection& c) { return libvirt::call_shutdown(c, vm); };
  co_return co_await impl->on_lane<void>(impl->calls, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::force_off(std::string name) {
  const auto impl = impl_;
  std::string what = "forcing '" + name + "' off";
  Impl::Body<void> body = [vm = impl->target(name)](const Connection& c) { return libvirt::call_force_off(c, vm); };
  co_return co_await impl->on_lane<void>(impl->stops, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::reset(std::string name) {
  const auto impl = impl_;
  std::string what = "resetting '" + name + "'";
  Impl::Body<void> body = [vm = impl->target(name)](const Connection& c) { return libvirt::call_reset(c, vm); };
  co_return co_await impl->on_lane<void>(impl->calls, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::resume(std::string name, core::ResumeProof proof) {
  const auto impl = impl_;
  if (auto ok = core::check(proof, name, impl->options.host); !ok) co_return ok;
  std::string what = "resuming '" + name + "'";
  Impl::Body<void> body = [vm = impl->target(name)](const Connection& c) { return libvirt::call_resume(c, vm); };
  co_return co_await impl->on_lane<void>(impl->calls, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::migrate(std::string name, std::string host, core::MigrationParams params) {
  const auto impl = impl_;
  if (auto ok = core::check_name("host", host); !ok) co_return ok;
  if (auto ok = core::check(params); !ok) co_return ok;
  std::string what = "migrating '" + name + "' to " + host;
  if (!impl->calls.connection)
    co_return fail(Errc::unavailable, what + ": libvirt is not reached now; nothing was sent");
  if (!impl->migrating.insert(name).second) co_return fail(Errc::conflict, what + ": a migration of it is under way");
  Impl::Job<void> job = [uri = impl->options.uri, to = impl->peer_uri(host), vm = impl->target(name), host,
                         params]() -> core::Result<> {
    const auto connection = Connection::open(uri, nullptr);
    if (!connection) return connection.error();
    return libvirt::call_migrate(**connection, vm, to, host, params);
  };
  auto process = libvirt::DomainProcess::open(impl->executor, impl->options.pid_folder, impl->target(name));
  auto call = impl->in_pool<void>(impl->migrations.pool, Call::change, migrate_limit, std::move(what), std::move(job));
  core::Result<> done;
  if (process) {
    auto left = impl->until_left(core::domain_uuid(impl->options.cell, name), *process);
    auto first = co_await (std::move(call) || std::move(left));
    if (first.index() == 0) done = std::get<0>(std::move(first));
  } else {
    done = co_await std::move(call);
  }
  impl->migrating.erase(name);
  co_return done;
}

/// Returns only when the guest was stopped here to be handed over and then, as the kernel says, its process ended:
/// libvirt kills it when the target has the guest whole. (Should QEMU die in between by itself, the target has none to
/// resume and says so.) The call into libvirt returns later and is not waited for.
boost::asio::awaitable<void> LibvirtHost::Impl::until_left(std::string uuid, libvirt::DomainProcess& process) {
  const auto self = shared_from_this();
  const bool ended = co_await process.ended();
  const auto it = told.find(uuid);
  if (ended && it != told.end() && it->second.reason == core::DomainReason::migrating) co_return;
  // It cannot be told from here: whoever races this against the call waits for the call.
  boost::asio::steady_timer timer(executor);
  timer.expires_at(std::chrono::steady_clock::time_point::max());
  boost::system::error_code cancelled;
  co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, cancelled));
}

LibvirtHost::Answer<> LibvirtHost::abort_migration(std::string name) {
  const auto impl = impl_;
  std::string what = "giving up the migration of '" + name + "'";
  Impl::Body<void> body = [vm = impl->target(name)](const Connection& c) {
    return libvirt::call_abort_migration(c, vm);
  };
  co_return co_await impl->on_lane<void>(impl->stops, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<core::MigrationStats> LibvirtHost::migration_progress(std::string name) {
  const auto impl = impl_;
  std::string what = "reading the migration of '" + name + "'";
  Impl::Body<core::MigrationStats> body = [vm = impl->target(name)](const Connection& c) {
    return libvirt::call_stats(c, vm, false);
  };
  co_return co_await impl->on_lane<core::MigrationStats>(impl->calls, Call::read, std::move(what), std::move(body));
}

LibvirtHost::Answer<core::MigrationStats> LibvirtHost::completed_migration(std::string name) {
  const auto impl = impl_;
  std::string what = "reading the last migration of '" + name + "'";
  Impl::Body<core::MigrationStats> body = [vm = impl->target(name)](const Connection& c) {
    return libvirt::call_stats(c, vm, true);
  };
  co_return co_await impl->on_lane<core::MigrationStats>(impl->calls, Call::read, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::set_max_downtime(std::string name, std::uint64_t ms) {
  const auto impl = impl_;
  if (ms == 0 || ms > core::MigrationParams::max_downtime_ms) {
    co_return fail(Errc::invalid, "downtime_ms: 1 to " + std::to_string(core::MigrationParams::max_downtime_ms));
  }
  std::string what = "setting the downtime limit of '" + name + "'";
  Impl::Body<void> body = [vm = impl->target(name), ms](const Connection& c) {
    return libvirt::call_max_downtime(c, vm, ms);
  };
  co_return co_await impl->on_lane<void>(impl->calls, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::set_bandwidth(std::string name, std::uint64_t mib) {
  const auto impl = impl_;
  if (mib > core::MigrationParams::max_bandwidth_mib) co_return fail(Errc::invalid, "bandwidth_mib: too large");
  std::string what = "setting the migration bandwidth of '" + name + "'";
  Impl::Body<void> body = [vm = impl->target(name), mib](const Connection& c) {
    return libvirt::call_bandwidth(c, vm, mib);
  };
  co_return co_await impl->on_lane<void>(impl->calls, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<> LibvirtHost::block_resize(std::string name, std::uint32_t disk_index, std::uint64_t bytes) {
  const auto impl = impl_;
  if (disk_index >= core::Limits::volumes_per_vm) co_return fail(Errc::invalid, "disk_index: too large");
  if (bytes == 0 || bytes > core::Limits::volume_mib * 1024 * 1024)
    co_return fail(Errc::invalid, "bytes: out of range");
  std::string what = "growing a disk of '" + name + "'";
  Impl::Body<void> body = [vm = impl->target(name), disk_index, bytes](const Connection& c) {
    return libvirt::call_block_resize(c, vm, disk_index, bytes);
  };
  co_return co_await impl->on_lane<void>(impl->calls, Call::change, std::move(what), std::move(body));
}

LibvirtHost::Answer<core::HostCapacity> LibvirtHost::capacity() {
  const auto impl = impl_;
  Impl::Body<core::HostCapacity> body = libvirt::call_capacity;
  std::string what = "reading this host's capacity";
  co_return co_await impl->on_lane<core::HostCapacity>(impl->calls, Call::read, std::move(what), std::move(body));
}

}  // namespace bascule::runtime
