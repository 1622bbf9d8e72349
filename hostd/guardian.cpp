#include "hostd/guardian.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "hostd/core/right.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/steps/step.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Mono;
using core::Result;
using runtime::Clock;

namespace {
constexpr Mono kTick{100};            // how late a decision of core::guard may be looked for, while in trouble
constexpr Mono kDisarmAfter{30'000};  // a host that is started, stopped and moved to in turn is not armed each time
constexpr Mono kRetry{50};            // between two attempts to renew

bool guest_may_run(const core::LocalVm& local, bool wanted_here) {
  using core::DomainState;
  // libvirt not heard: what it ran, it still runs.
  if (local.domain == DomainState::unknown) return wanted_here;
  return local.domain != DomainState::absent;
}
}  // namespace

Guardian::Guardian(Node& node, runtime::WatchdogPort& watchdog, runtime::PeerPort& peers, std::string instance,
                   std::string boot)
    : node_(node), watchdog_(watchdog), peers_(peers), started_(now()) {
  lease_.instance = std::move(instance);
  lease_.boot = std::move(boot);
}

Mono Guardian::now() const { return std::chrono::duration_cast<Mono>(Clock::now().time_since_epoch()); }

bool Guardian::renewed() const { return renewed_ && now() - *renewed_ <= node_.config.timing.renew_timeout; }

std::vector<core::GuardedVm> Guardian::guarded() const {
  std::vector<core::GuardedVm> out;
  const auto& view = node_.cell.view();
  if (view.revision == 0) {
    for (const auto& [name, state] : node_.domains) out.push_back({name, {}});
    return out;
  }
  for (const auto& [name, local] : node_.local) {
    const auto* vm = view.vm(name);
    if (vm == nullptr || vm->layout.revision == 0) continue;
    const auto& right = vm->right.value;
    const bool wanted = right.host == node_.self() && vm->spec.value.power == core::Power::on;
    if (!guest_may_run(local, wanted)) continue;
    core::GuardedVm guarded{name, {}};
    const std::string peer = core::other_host(vm->layout.value, node_.self());
    const bool in_sync = core::insync_everywhere(right, vm->layout.value, peer);
    // safety: S1. A write that adds it back may still be on its way, from this hostd or from the one before it.
    if (in_sync || node_.adding.contains(name) || !node_.settled(*vm)) guarded.others.insert(peer);
    out.push_back(std::move(guarded));
  }
  return out;
}

core::GuardInput Guardian::input() const {
  core::GuardInput in;
  in.now = now();
  in.started = started_;
  in.armed = watchdog_.armed();
  in.renewed = renewed_;
  in.promised = promised_;
  in.last_pet = last_pet_;
  in.guarded = guarded();
  in.records_read = node_.cell.view().revision != 0;
  in.guests_known = node_.domains_known;
  return in;
}

Result<> Guardian::arm() {
  if (proving_)
    return fail(Errc::conflict, "the watchdog of " + node_.self() + " is being proved: the machine goes down");
  // A device that the hostd before left running may have another time-out than this one needs.
  if (watchdog_.armed() && checked_) return {};
  const auto seconds = static_cast<std::uint32_t>(node_.config.timing.watchdog.count() / 1000);
  auto info = watchdog_.arm(seconds, node_.config.watchdog.accept_softdog);
  if (!info)
    return fail(info.error().code, info.error().what + ". No guest starts on " + node_.self() + " before it is armed");
  checked_ = true;
  // A device that was handed over was last petted by an earlier hostd: how long ago is not known here.
  if (!info->handed_over) last_pet_ = now();
  spdlog::info("watchdog armed: {} at {} s{}", info->identity, info->timeout_s,
               info->handed_over ? ", handed over by the hostd before" : "");
  return {};
}

bool Guardian::intent_is_void() {
  const auto* own = node_.cell.view().host(node_.self());
  const core::Revision seen = own == nullptr ? 0 : own->fence.revision;
  if (seen != intent_) {
    intent_ = seen;
    intent_seen_ = now();
  }
  // safety: S1. Without a renewal for so long every guest here that another host could take over was stopped.
  return seen != 0 && now() - intent_seen_ > node_.config.timing.takeover;
}

void Guardian::look() {
  if (watchdog_.armed() && !checked_) {
    if (auto ok = arm(); !ok) spdlog::critical("watchdog: {}", ok.error().what);
  }
  auto in = input();
  // safety: S1. Its committed lease tells the others that this host does not stop guests by itself, so none of them
  // takes over for its absence alone; core::guard then pets as for a host without guests.
  if (free_) in.guarded.clear();
  const auto out = core::guard(in, node_.config.timing);
  if (out.sentence != last_trouble_.substr(0, out.sentence.size())) {
    if (!out.sentence.empty() && last_trouble_.empty()) spdlog::warn("{}", out.sentence);
  }
  last_trouble_ = out.sentence;
  if (out.pet && watchdog_.armed() && !proving_) {
    const Mono before = now();
    if (before <= out.pet_until) {
      auto done = watchdog_.pet();
      if (!done) spdlog::error("watchdog: {}", done.error().what);
      if (now() > out.pet_until) {
        // safety: S1. This host stood still between the proof and the pet; others may count its time as over.
        spdlog::critical("the watchdog was petted too late: the host resets now");
        auto gone = watchdog_.expire_now();
        static_cast<void>(gone);
      } else if (done) {
        last_pet_ = before;
      }
    }
  }
  for (const auto& host : out.ask) {
    if (!asking_.insert(host).second) continue;
    auto task = ask(host);
    runtime::run_in_background(node_.cell.changed().executor(), "asking " + host + " for a promise", std::move(task));
  }
  for (const auto& vm : out.stop) {
    if (!stopping_.insert(vm).second) continue;
    auto task = stop(vm, out.sentence);
    runtime::run_in_background(node_.cell.changed().executor(), "stopping " + vm, std::move(task));
  }
  if (!in.guarded.empty() || !in.records_read || free_ || proving_ || !watchdog_.armed()) {
    unguarded_since_.reset();
  } else if (!unguarded_since_) {
    unguarded_since_ = in.now;
  } else if (in.now - *unguarded_since_ > kDisarmAfter && !unstoppable_) {
    auto off = watchdog_.disarm();
    unstoppable_ = !off;
    if (off) checked_ = false;
    spdlog::info("no guest is here: {}",
                 off ? "the watchdog is off" : "the watchdog goes on (" + off.error().what + ")");
  }
}

asio::awaitable<void> Guardian::ask(std::string host) {
  const auto* info = node_.cell.view().host(host);
  if (info != nullptr && info->info.revision != 0) {
    const std::string address = info->info.value.api_address;
    const Mono sent = now();
    core::HostLease lease = lease_;
    auto given = co_await peers_.ask_promise(host, address, lease, Clock::now() + node_.config.timing.renew_timeout);
    if (given) promised_[host] = std::max(promised_[host], sent);
    if (!given) spdlog::warn("no promise from {}: {}", host, given.error().what);
  }
  look();
  co_await steps::pause(kTick);
  asking_.erase(host);
}

asio::awaitable<void> Guardian::stop(std::string vm, std::string why) {
  spdlog::critical("{}: {}", vm, why);
  // safety: S1. The other host may soon take this VM over; if QEMU cannot be ended here, the watchdog ends the machine.
  auto off = co_await node_.vms.force_off(vm);
  if (!off) spdlog::critical("{}: could not be stopped: {}", vm, off.error().what);
  co_await steps::pause(kTick);
  stopping_.erase(vm);
}

asio::awaitable<void> Guardian::renew() {
  const auto& t = node_.config.timing;
  while (true) {
    ++lease_.number;
    const Mono sent = now();
    lease_.guarding = !disarmed();
    if (lease_.guarding) free_ = false;  // before anybody can read that it guards
    core::HostLease lease = lease_;
    auto done = co_await node_.cell.renew_lease(std::move(lease), intent_is_void(), Clock::now() + t.renew_timeout / 2);
    if (!done) {
      const bool late = now() - renewed_.value_or(started_) > t.renew_timeout;
      if (late && done.error().what != last_refusal_) spdlog::warn("lease not renewed: {}", done.error().what);
      if (late) last_refusal_ = done.error().what;
      co_await steps::pause(kRetry);
      continue;
    }
    // A gap of our own: what others did meanwhile was not seen in time. Not for the loss of etcd's leader, in which
    // nobody could renew: whoever gave a promise then has restarted its timer by that.
    if (last_success_ && sent - *last_success_ > core::own_gap(t)) node_.cell.restart_absences();
    last_success_ = now();
    last_refusal_.clear();
    free_ = !lease_.guarding;
    renewed_ = std::max(renewed_.value_or(sent), sent);
    look();
    co_await steps::pause(std::max(Mono(0), sent + t.renew - now()));
  }
}

asio::awaitable<void> Guardian::run() {
  const auto executor = co_await asio::this_coro::executor;
  runtime::run_in_background(executor, "the host's lease", renew());
  while (true) {
    const bool calm = renewed_ && now() - *renewed_ <= node_.config.timing.renew + node_.config.timing.request;
    co_await steps::pause(calm ? node_.config.timing.renew : kTick);
    look();
    node_.cell.mark_hosts(node_.config.timing.suspect, core::steady_after(node_.config.timing));
  }
}

Result<> Guardian::promise(const std::string& host, const core::HostLease& lease) {
  const auto& view = node_.cell.view();
  const auto* known = view.host(host);
  if (known == nullptr) return fail(Errc::not_found, "host " + host + " is not known here");
  if (known->fence.revision != 0) return fail(Errc::refused, "host " + host + " is being switched off");
  for (const auto& id : node_.cell.active_operations()) {
    const auto op = view.operations.find(id);
    if (op == view.operations.end()) continue;
    // safety: S1. A takeover that is planned, at work or of unknown outcome: no time is promised any more.
    if (op->second.value.kind == core::OpKind::vm_failover && op->second.value.source_host == host) {
      return fail(Errc::refused, "a takeover of a VM of " + host + " is at work on " + node_.self());
    }
  }
  if (node_.taking_over.contains(host)) return fail(Errc::refused, "a takeover from " + host + " is being asked for");
  spdlog::info("promised {} the takeover time from now (lease {})", host, lease.number);
  node_.cell.heard(host);
  return {};
}

void Guardian::release() {
  if (!watchdog_.armed()) return;
  if (!guarded().empty()) {
    spdlog::warn("guests run here: the watchdog stays armed and resets this host unless hostd is back within {} ms",
                 node_.config.timing.watchdog.count());
    return;
  }
  if (auto off = watchdog_.disarm(); off) return;
  auto later = watchdog_.postpone();
  spdlog::warn("the watchdog cannot be switched off; {}",
               later ? "it has been given its longest time" : later.error().what);
}

}  // namespace bascule
