#include "tests/testkit/fake_vm_host.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "hostd/core/names.hpp"

namespace bascule::testkit {
namespace {
using boost::asio::awaitable;
using core::DomainReason;
using core::DomainState;
using core::Errc;
using core::fail;
using core::Result;
constexpr std::chrono::milliseconds job_step{1};

awaitable<void> wait_on(std::shared_ptr<boost::asio::steady_timer> timer) {
  boost::system::error_code ignored;
  co_await timer->async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
}
}  // namespace

bool FakeHypervisors::runs_twice(const std::string& name) const {
  int running = 0;
  for (const auto& [host, all] : guests) {
    const auto it = all.find(name);
    if (it != all.end() && it->second.info.state == DomainState::running) ++running;
  }
  return running > 1;
}

FakeVmHost::FakeVmHost(FakeHypervisors& world, std::string cell, std::string host)
    : world_(world),
      cell_(std::move(cell)),
      host_(std::move(host)),
      thaw_(std::make_shared<boost::asio::steady_timer>(world.executor, std::chrono::steady_clock::time_point::max())) {
  world_.hosts[host_] = this;
}
FakeVmHost::~FakeVmHost() { world_.hosts.erase(host_); }

FakeVmHost::Guest* FakeVmHost::find(const std::string& name) {
  const auto it = mine().find(name);
  return it == mine().end() ? nullptr : &it->second;
}

std::vector<core::DomainInfo> FakeVmHost::all() {
  std::vector<core::DomainInfo> out;
  for (const auto& [name, guest] : mine()) out.push_back(guest.info);
  return out;
}

void FakeVmHost::emit(core::DomainEvent event) {
  if (!connected_ && event.kind != core::DomainEvent::Kind::disconnected) return;
  boost::asio::post(world_.executor, [sinks = sinks_, event = std::move(event)] {
    for (const auto& sink : sinks) sink(event);
  });
}

void FakeVmHost::change(Guest& guest, DomainState state, DomainReason reason) {
  guest.info.state = state;
  guest.info.reason = reason;
  if (state == DomainState::running) ++guest.ran;
  core::DomainEvent event;
  event.info = guest.info;
  emit(std::move(event));
}

void FakeVmHost::gone(const std::string& name, DomainReason reason) {
  const auto it = mine().find(name);
  if (it == mine().end()) return;
  change(it->second, DomainState::absent, reason);
  mine().erase(it);
}

void FakeVmHost::connect() {
  connected_ = true;
  frozen_ = false;
  core::DomainEvent event;
  event.kind = core::DomainEvent::Kind::connected;
  event.all = all();
  emit(std::move(event));
}

void FakeVmHost::lose() {
  connected_ = false;
  frozen_ = false;
  thaw_->cancel();
  // A daemon that starts again gives up the migrations it finds.
  for (auto& [name, job] : jobs_) job.aborted = true;
  core::DomainEvent event;
  event.kind = core::DomainEvent::Kind::disconnected;
  emit(std::move(event));
}

void FakeVmHost::guest_powers_off(const std::string& name) { gone(name, DomainReason::guest_shutdown); }

void FakeVmHost::host_dies() {
  connected_ = false;
  thaw_->cancel();
  jobs_.clear();
  mine().clear();
}

awaitable<Result<>> FakeVmHost::enter(std::string call, bool change) {
  if (!connected_) co_return fail(Errc::unavailable, call + ": libvirt is not reached now; nothing was sent");
  calls.push_back(call);
  if (frozen_) {
    co_await wait_on(thaw_);
    const auto code = change ? Errc::outcome_unknown : Errc::unavailable;
    co_return fail(code, call + ": the connection to libvirt was lost in mid-call");
  }
  co_return Result<>{};
}

awaitable<Result<FakeVmHost::Guest*>> FakeVmHost::enter_on(std::string call, std::string name, bool change) {
  const auto ok = co_await enter(call + " " + name, change);
  if (!ok) co_return ok.error();
  auto* guest = find(name);
  if (guest == nullptr) co_return fail(Errc::not_found, "'" + name + "': no such domain on this host");
  co_return guest;
}

FakeVmHost::Answer<> FakeVmHost::start(core::DomainSpec spec, core::StartProof proof) {
  if (auto ok = core::check(proof, spec.name, host_); !ok) co_return ok;
  if (spec.uuid != core::domain_uuid(cell_, spec.name)) co_return fail(Errc::internal, "foreign uuid");
  auto checked = spec;
  for (auto& disk : checked.disks) disk.device = "/dev/drbd" + std::to_string(disk.index);
  if (auto ok = core::check(checked); !ok) co_return ok;
  const auto entered = co_await enter("start " + spec.name, true);
  if (!entered) co_return entered;
  if (find(spec.name) != nullptr) co_return fail(Errc::conflict, "'" + spec.name + "' exists and was left as it is");
  for (const auto& disk : spec.disks) {
    if (world_.missing_disks.contains(disk.device)) {
      co_return fail(Errc::refused, "'" + spec.name + "' could not be started: " + disk.device + ": no such file");
    }
  }
  auto& guest = mine()[spec.name];
  guest.info.name = spec.name;
  guest.info.uuid = spec.uuid;
  guest.spec = std::move(spec);
  change(guest, DomainState::running, DomainReason::started);
  if (guest.spec.panic_device && world_.panics.contains(guest.info.name)) {
    boost::asio::post(world_.executor, [this, name = guest.info.name] { gone(name, DomainReason::failed); });
  }
  co_return Result<>{};
}

FakeVmHost::Answer<std::vector<core::DomainInfo>> FakeVmHost::list() {
  const auto ok = co_await enter("list", false);
  if (!ok) co_return ok.error();
  co_return all();
}

FakeVmHost::Answer<core::DomainInfo> FakeVmHost::observe(std::string name) {
  const auto ok = co_await enter("observe " + name, false);
  if (!ok) co_return ok.error();
  if (const auto* guest = find(name)) co_return guest->info;
  core::DomainInfo absent{name, core::domain_uuid(cell_, name), DomainState::absent, DomainReason::other};
  co_return absent;
}

FakeVmHost::Answer<> FakeVmHost::request_shutdown(std::string name) {
  const auto guest = co_await enter_on("shutdown", name, true);
  if (!guest) co_return guest.error();
  if (!world_.deaf.contains(name)) gone(name, DomainReason::guest_shutdown);
  co_return Result<>{};
}

FakeVmHost::Answer<> FakeVmHost::force_off(std::string name) {
  const auto ok = co_await enter("force_off " + name, true);
  if (!ok) co_return ok;
  if (find(name) != nullptr && world_.unkillable.contains(name)) {
    co_return fail(Errc::refused, "'" + name + "' could not be forced off: its process waits for disk I/O");
  }
  gone(name, DomainReason::destroyed);
  co_return Result<>{};
}

FakeVmHost::Answer<> FakeVmHost::reset(std::string name) {
  const auto guest = co_await enter_on("reset", name, true);
  if (!guest) co_return guest.error();
  co_return Result<>{};
}

FakeVmHost::Answer<> FakeVmHost::resume(std::string name, core::ResumeProof proof) {
  if (auto ok = core::check(proof, name, host_); !ok) co_return ok;
  const auto guest = co_await enter_on("resume", name, true);
  if (!guest) co_return guest.error();
  if ((*guest)->info.state == DomainState::running) co_return Result<>{};
  if (incoming_.contains(name)) {
    co_return fail(Errc::conflict, "'" + name + "' was not resumed: a migration of it is under way");
  }
  change(**guest, DomainState::running, DomainReason::user);
  co_return Result<>{};
}

Result<> FakeVmHost::arrive(const std::string& name, const std::string& host) {
  const auto target = world_.hosts.find(host);
  if (target == world_.hosts.end() || world_.unreachable.contains(host)) {
    return fail(Errc::refused, "'" + name + "' could not be migrated to " + host +
                                   ": unable to connect to server; it still runs on this host");
  }
  auto& there = *target->second;
  if (there.find(name) != nullptr) {
    return fail(Errc::refused, "'" + name + "' exists on " + host + "; it still runs on this host");
  }
  auto& copy = there.mine()[name] = *find(name);
  there.incoming_.insert(name);
  there.change(copy, DomainState::paused, DomainReason::migrating);
  return {};
}

FakeVmHost::Answer<> FakeVmHost::migrate(std::string name, std::string host, core::MigrationParams params) {
  if (auto ok = core::check_name("host", host); !ok) co_return ok;
  if (auto ok = core::check(params); !ok) co_return ok;
  const auto entered = co_await enter_on("migrate", name, true);
  if (!entered) co_return entered.error();
  if (jobs_.contains(name)) co_return fail(Errc::conflict, "a migration of '" + name + "' is under way");
  const auto breaks = std::exchange(world_.next_migration, FakeHypervisors::Break::none);
  if (auto ok = arrive(name, host); !ok) co_return ok;
  jobs_[name] = Job{false, params.downtime_ms, params.bandwidth_mib};
  auto timer = std::make_shared<boost::asio::steady_timer>(world_.executor);
  const auto end = std::chrono::steady_clock::now() + world_.migration_time;
  const auto going_on = [&] {
    const auto job = jobs_.find(name);
    const bool held = world_.never_converge.contains(name) || std::chrono::steady_clock::now() < end;
    return job != jobs_.end() && !job->second.aborted && held;
  };
  while (going_on()) {
    timer->expires_after(job_step);
    co_await wait_on(timer);
  }
  const bool source_died = !jobs_.contains(name);
  const bool aborted = source_died || jobs_[name].aborted;
  const auto downtime = source_died ? 0 : jobs_[name].max_downtime_ms;
  jobs_.erase(name);
  if (world_.hosts.contains(host)) world_.hosts[host]->incoming_.erase(name);
  auto* there = world_.hosts.contains(host) ? world_.hosts[host] : nullptr;
  auto* copy = there == nullptr ? nullptr : there->find(name);
  core::DomainEvent ended;
  ended.kind = core::DomainEvent::Kind::job_completed;
  ended.info.name = name;
  ended.stats.job = aborted ? core::MigrationStats::Job::cancelled : core::MigrationStats::Job::completed;
  if (aborted || copy == nullptr || breaks == FakeHypervisors::Break::before_arrival) {
    if (copy != nullptr) there->gone(name, DomainReason::failed);
    emit(ended);
    if (!connected_ || breaks != FakeHypervisors::Break::none) {
      co_return fail(Errc::outcome_unknown, "the connection to libvirt was lost while '" + name + "' migrated");
    }
    co_return fail(aborted ? Errc::cancelled : Errc::refused,
                   "the migration of '" + name + "' was given up; it still runs on this host");
  }
  copy->last_migration = ended.stats;
  copy->last_migration.downtime_ms = std::min<std::uint64_t>(downtime, 1);
  emit(ended);
  there->change(*copy, DomainState::paused, DomainReason::user);
  gone(name, DomainReason::migrated);
  if (breaks == FakeHypervisors::Break::after_arrival) {
    co_return fail(Errc::outcome_unknown, "the connection to libvirt was lost while '" + name + "' migrated");
  }
  co_return Result<>{};
}

FakeVmHost::Answer<> FakeVmHost::abort_migration(std::string name) {
  const auto guest = co_await enter_on("abort", name, true);
  if (!guest) co_return guest.error();
  const auto job = jobs_.find(name);
  if (job == jobs_.end()) co_return fail(Errc::conflict, "no migration of '" + name + "' is under way");
  job->second.aborted = true;
  co_return Result<>{};
}

FakeVmHost::Answer<core::MigrationStats> FakeVmHost::migration_progress(std::string name) {
  const auto guest = co_await enter_on("progress", name, false);
  if (!guest) co_return guest.error();
  core::MigrationStats out;
  if (jobs_.contains(name)) {
    out.job = core::MigrationStats::Job::running;
    out.memory_total = (*guest)->spec.memory_mib * 1024 * 1024;
    out.memory_remaining = out.memory_total / 2;
    out.downtime_ms = jobs_[name].max_downtime_ms;
  }
  co_return out;
}

FakeVmHost::Answer<core::MigrationStats> FakeVmHost::completed_migration(std::string name) {
  const auto guest = co_await enter_on("completed", name, false);
  if (!guest) co_return guest.error();
  co_return (*guest)->last_migration;
}

FakeVmHost::Answer<> FakeVmHost::set_max_downtime(std::string name, std::uint64_t ms) {
  if (ms == 0 || ms > core::MigrationParams::max_downtime_ms) co_return fail(Errc::invalid, "downtime_ms");
  const auto guest = co_await enter_on("max_downtime", name, true);
  if (!guest) co_return guest.error();
  if (jobs_.contains(name)) jobs_[name].max_downtime_ms = ms;
  co_return Result<>{};
}

FakeVmHost::Answer<> FakeVmHost::set_bandwidth(std::string name, std::uint64_t mib) {
  if (mib > core::MigrationParams::max_bandwidth_mib) co_return fail(Errc::invalid, "bandwidth_mib: too large");
  const auto guest = co_await enter_on("bandwidth", name, true);
  if (!guest) co_return guest.error();
  if (jobs_.contains(name)) jobs_[name].bandwidth_mib = mib;
  co_return Result<>{};
}

FakeVmHost::Answer<> FakeVmHost::block_resize(std::string name, std::uint32_t disk_index, std::uint64_t bytes) {
  if (disk_index >= core::Limits::volumes_per_vm) co_return fail(Errc::invalid, "disk_index: too large");
  if (bytes == 0 || bytes > core::Limits::volume_mib * 1024 * 1024) co_return fail(Errc::invalid, "bytes");
  const auto guest = co_await enter_on("block_resize", name, true);
  if (!guest) co_return guest.error();
  const auto& disks = (*guest)->spec.disks;
  if (std::ranges::find(disks, disk_index, &core::DomainDisk::index) == disks.end()) {
    co_return fail(Errc::refused, "'" + name + "' has no such disk");
  }
  auto& size = disk_bytes_[name + "/" + std::to_string(disk_index)];
  if (bytes < size) co_return fail(Errc::invalid, "a disk never shrinks");
  size = bytes;
  co_return Result<>{};
}

FakeVmHost::Answer<core::HostCapacity> FakeVmHost::capacity() {
  const auto ok = co_await enter("capacity", false);
  if (!ok) co_return ok.error();
  core::HostCapacity out{1024, 512, 4, "9.0.0", "7.2.0"};
  co_return out;
}

}  // namespace bascule::testkit
