#include "hostd/guardian.hpp"

#include <algorithm>

#include "hostd/core/right.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/say.hpp"
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

}  // namespace

Guardian::Guardian(Node& node, runtime::WatchdogPort& watchdog, runtime::PeerPort& peers, std::string instance,
                   std::string boot)
    : node_(node), watchdog_(watchdog), peers_(peers), started_(now()) {
  lease_.instance = std::move(instance);
  lease_.boot = std::move(boot);
}

Mono Guardian::now() const { return std::chrono::duration_cast<Mono>(Clock::now().time_since_epoch()); }

bool Guardian::renewed() const { return renewed_ && now() - *renewed_ <= node_.config.timing.renew_timeout; }

bool Guardian::guest_may_be(const std::string& name, const core::VmView& vm) const {
  using core::DomainState;
  // safety: S1. A guest that libvirt was asked to start counts before its event comes, or before this host has looked
  // at the VM for the first time. [model: F_beginning]
  if (node_.beginning->contains(name) || node_.domains.contains(name)) return true;
  const auto local = node_.local.find(name);
  if (local == node_.local.end()) return false;
  // libvirt not heard: what it ran, it still runs.
  if (local->second.domain == DomainState::unknown) {
    return vm.right.value.host == node_.self() && vm.spec.value.power == core::Power::on;
  }
  return local->second.domain != DomainState::absent;
}

std::vector<core::GuardedVm> Guardian::guarded() const {
  std::vector<core::GuardedVm> out;
  const auto& view = node_.cell.view();
  const auto& notes = node_.notes.notes();
  if (!records_read()) {
    for (const auto& [name, state] : node_.domains) {
      if (!node_.strangers.contains(name)) out.push_back(core::guarded_by_notes(notes, name));
    }
    return out;
  }
  std::set<std::string> names = *node_.beginning;
  for (const auto& [name, local] : node_.local) names.insert(name);
  for (const auto& [name, state] : node_.domains) names.insert(name);
  for (const auto& name : names) {
    const auto* vm = view.vm(name);
    if (vm == nullptr || core::other_host(vm->layout.value, node_.self()).empty()) continue;
    if (node_.strangers.contains(name) || !guest_may_be(name, *vm)) continue;
    out.push_back(
        core::guarded_by_record(*vm, notes, name, node_.self(), node_.settled(*vm), node_.being_added(name, *vm)));
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
  in.guests_known = records_read() || node_.domains_known;
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
  say(msg::watchdog_armed, {.host = node_.self()}, "watchdog armed: {} at {} s{}", info->identity, info->timeout_s,
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
    if (auto ok = arm(); !ok) say(msg::watchdog_not_armed, {.host = node_.self()}, "watchdog: {}", ok.error().what);
  }
  auto in = input();
  // safety: S1. Its committed lease tells the others that this host does not stop guests by itself, so none of them
  // takes over for its absence alone; core::guard then pets as for a host without guests.
  if (free_) in.guarded.clear();
  const auto out = core::guard(in, node_.config.timing);
  if (!out.sentence.empty() && last_trouble_.empty()) {
    say(msg::failsafe_entered, {.host = node_.self()}, "{}", out.sentence);
  }
  if (out.sentence.empty() && !last_trouble_.empty()) {
    say(msg::failsafe_left, {.host = node_.self()}, "no promise is needed any more");
  }
  last_trouble_ = out.sentence;
  if (out.pet && watchdog_.armed() && !proving_) {
    const Mono before = now();
    if (before <= out.pet_until) {
      auto done = watchdog_.pet();
      if (!done) say(msg::watchdog_not_petted, {.host = node_.self()}, "watchdog: {}", done.error().what);
      if (now() > out.pet_until) {
        // safety: S1. This host stood still between the proof and the pet; others may count its time as over.
        // [model: L_late_pet]
        say(msg::watchdog_too_late, {.host = node_.self()}, "the watchdog was petted too late: the host resets now");
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
  if (!in.guarded.empty() || !records_read() || free_ || proving_ || !watchdog_.armed()) {
    unguarded_since_.reset();
  } else if (!unguarded_since_) {
    unguarded_since_ = in.now;
  } else if (in.now - *unguarded_since_ > kDisarmAfter && !unstoppable_) {
    auto off = watchdog_.disarm();
    unstoppable_ = !off;
    if (off) checked_ = false;
    say(msg::watchdog_off, {.host = node_.self()}, "no guest is here: {}",
        off ? "the watchdog is off" : "the watchdog goes on (" + off.error().what + ")");
  }
}

asio::awaitable<void> Guardian::ask(std::string host) {
  const auto* info = node_.cell.view().host(host);
  const auto& noted = node_.notes.notes().addresses;
  std::string address = noted.contains(host) ? noted.at(host) : "";
  if (info != nullptr && info->info.revision != 0) address = info->info.value.api_address;
  if (!address.empty()) {
    const Mono sent = now();
    core::HostLease lease = lease_;
    auto given = co_await peers_.ask_promise(host, address, lease, Clock::now() + node_.config.timing.renew_timeout);
    // safety: S1. It was given at some time since it was asked for. [model: F_from_sending]
    if (given) promised_[host] = std::max(promised_[host], sent);
    if (!given) say(msg::promise_missing, {.host = host}, "no promise from {}: {}", host, given.error().what);
  }
  look();
  co_await steps::pause(kTick);
  asking_.erase(host);
}

asio::awaitable<void> Guardian::stop(std::string vm, std::string why) {
  say(msg::guest_ended_for_safety, {.vm = vm, .host = node_.self()}, "{}: {}", vm, why);
  // safety: S1. The other host may soon take this VM over; if QEMU cannot be ended here, the watchdog ends the machine.
  auto off = co_await node_.vms.force_off(vm);
  if (!off)
    say(msg::guest_not_ended, {.vm = vm, .host = node_.self()}, "{}: could not be stopped: {}", vm, off.error().what);
  if (off) node_.domains.erase(vm);
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
      if (late && done.error().what != last_refusal_) {
        say(msg::lease_not_renewed, {.host = node_.self()}, "lease not renewed: {}", done.error().what);
      }
      if (late) last_refusal_ = done.error().what;
      co_await steps::pause(kRetry);
      continue;
    }
    // safety: S1. A gap of our own: what others did meanwhile was not seen in time. Not for the loss of etcd's leader,
    // in which nobody could renew: whoever gave a promise then has restarted its timer by that.
    if (last_success_ && sent - *last_success_ > core::own_gap(t)) node_.cell.restart_absences();
    last_success_ = now();
    last_refusal_.clear();
    free_ = !lease_.guarding;
    // safety: S1. The others may have seen it at any time since it was first sent. [model: L_first_send]
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
    // [model: F_refuse]
    if (op->second.value.kind == core::OpKind::vm_failover && op->second.value.source_host == host) {
      return fail(Errc::refused, "a takeover of a VM of " + host + " is at work on " + node_.self());
    }
  }
  const auto open = node_.takeover_open.find(host);
  const bool may_arrive = open != node_.takeover_open.end() && view.audit.revision <= open->second;
  if (node_.taking_over.contains(host) || may_arrive)
    return fail(Errc::refused, "a takeover from " + host + " is being asked for");
  say(msg::promise_given, {.host = host}, "promised {} the takeover time from now (lease {})", host, lease.number);
  // safety: S1. What is promised is kept by this timer. [model: F_restart_timer]
  node_.cell.heard(host);
  return {};
}

void Guardian::release() {
  if (!watchdog_.armed()) return;
  if (!guarded().empty()) {
    say(msg::watchdog_left_armed, {.host = node_.self()},
        "guests run here: the watchdog stays armed and resets this host unless hostd is back within {} ms",
        node_.config.timing.watchdog.count());
    return;
  }
  if (auto off = watchdog_.disarm(); off) return;
  auto later = watchdog_.postpone();
  say(msg::watchdog_not_off, {.host = node_.self()}, "the watchdog cannot be switched off; {}",
      later ? "it has been given its longest time" : later.error().what);
}

}  // namespace bascule
