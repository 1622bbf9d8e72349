// Start and stop of a VM on this host.
#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "hostd/core/plan_rules.hpp"
#include "hostd/runtime/announce/announce.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/steps/step.hpp"

namespace bascule::steps {
namespace asio = boost::asio;
using core::DomainState;
using core::Errc;
using core::fail;
using core::Result;
using runtime::Clock;

namespace {
constexpr std::chrono::seconds kShutdownPatience{180};  // a database may take minutes to close; then a person decides
constexpr std::chrono::seconds kPressAgain{20};         // some guests miss the first press while they boot
constexpr std::chrono::milliseconds kLook{500};
/// The pauses after each announcement; QEMU repeats at about these (net/announce.c).
constexpr std::array kAnnounce{std::chrono::milliseconds(50), std::chrono::milliseconds(150),
                               std::chrono::milliseconds(250), std::chrono::milliseconds(0)};

constexpr auto kRanBefore = "ran_before";  // in the operation's result: the host whose guest made the start needless

/// While it lives the guest counts as one that runs here (Guardian::guarded).
class Beginning {
 public:
  Beginning(const Node& node, std::string vm) : all_(node.beginning), vm_(std::move(vm)) { all_->insert(vm_); }
  Beginning(const Beginning&) = delete;
  Beginning& operator=(const Beginning&) = delete;
  ~Beginning() { all_->erase(vm_); }

 private:
  std::shared_ptr<std::set<std::string>> all_;
  std::string vm_;
};

Result<> bridges_exist(const Node& node, const core::VmSpec& spec) {
  for (const auto& nic : spec.nics) {
    const auto bridge = node.config.networks.find(nic.network);
    std::error_code ec;
    if (bridge == node.config.networks.end() || !std::filesystem::exists("/sys/class/net/" + bridge->second, ec)) {
      return fail(Errc::refused, "network '" + nic.network + "' has no bridge on host " + node.self() +
                                     "; the VM was not started here. Mend [networks] or the bridge");
    }
  }
  return {};
}
/// The switches learn at once where the guest is now; it says nothing itself before its system has booted. A migration
/// is announced by QEMU.
asio::awaitable<void> announce(std::vector<core::DomainNic> nics) {
  for (const auto wait : kAnnounce) {
    for (const auto& nic : nics) {
      auto sent = runtime::announce(nic.bridge, nic.mac);
      if (!sent) {
        say(msg::address_not_announced, {}, "{} is not announced on {}: {}", nic.mac, nic.bridge, sent.error().what);
      }
    }
    co_await pause(wait);
  }
}
}  // namespace

Answer admit_start(Context c) {
  const auto* vm = c.vm();
  if (vm == nullptr) co_return fail(Errc::conflict, "the VM is gone");
  const bool waits = c.op.steps.size() == 1;  // a guest that is here and waits for its disk
  if (!waits) {
    if (auto ok = bridges_exist(c.node, vm->spec.value); !ok) co_return ok.error();
  }
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (waits && here->state == DomainState::absent) {
    co_return fail(Errc::conflict, "its guest has ended meanwhile; ask for the start again");
  }
  for (const auto& [host, status] : c.vm()->status) {
    // What a silent host last said stands for ever. The record names this one: the kernel refuses a second Primary.
    const auto* said = c.node.cell.view().host(host);
    if (host == c.self() || said == nullptr || said->silent || status.domain == DomainState::absent) continue;
    co_return fail(Errc::conflict, "host " + host + " still reports a copy of the VM (" +
                                       std::string(core::to_string(status.domain)) + "); none was started here");
  }
  auto right = core::claim(c.vm()->right.value, c.vm()->layout.value, c.self());
  if (!right) co_return right.error();
  if (c.op.result.contains("with_failed_disk")) co_return co_await use_failed_disks(std::move(c));
  co_return done("run-right, disks and networks are in order");
}

Answer promote(Context c) {
  // safety: S1. No guest may run on a host that would not stop it in time: the watchdog first.
  if (auto armed = c.node.arm(); !armed) co_return armed.error();
  // A start that was asked for while libvirt was silent may find its guest at work, over the link when a disk of its
  // own has failed: nothing is promoted for it, and its legs stay as they are when the operation is undone.
  if (c.op.kind == core::OpKind::vm_start && !c.op.result.contains("with_failed_disk")) {
    auto here = co_await c.node.vms.observe(c.op.vm);
    if (!here) co_return here.error();
    if (here->state == DomainState::running) {
      auto out = done("its guest runs here already; nothing was promoted");
      out.result[kRanBefore] = c.self();
      co_return out;
    }
  }
  const Start start = c.op.kind == core::OpKind::vm_restart    ? Start::automatic
                      : c.op.kind == core::OpKind::vm_failover ? Start::other
                                                               : Start::asked;
  // safety: R2. `outdated` only after a person named the host whose newer data is given up and the takeover put these
  // legs alone into the record. [model: R2_promote]
  const auto force = c.op.result.contains("sacrificed") ? storage::Force::outdated : storage::Force::no;
  auto ok = co_await claim_and_promote(c.node, c.op.vm, c.op.reason, start, force);
  if (!ok) co_return ok.error();
  co_return done(fmt::format("epoch {}", c.vm()->right.value.epoch));
}

Answer demote(Context c) {
  if (c.op.result.contains(kRanBefore)) co_return done("nothing was promoted");
  auto ok = co_await c.node.drbd.demote(storage::resource_name(c.op.vm));
  if (!ok) co_return ok.error();
  co_return done();
}

Answer start_domain(Context c) {
  const auto* vm = c.vm();
  auto spec = domain_of(c.node, c.op.vm);
  if (!spec) co_return spec.error();
  if (vm->right.value.host != c.self() || vm->right.value.migrating_to) {
    co_return fail(Errc::conflict, "the run-right is not this host's any more; the VM was not started");
  }
  auto here = co_await c.node.vms.observe(c.op.vm);
  if (!here) co_return here.error();
  if (here->state == DomainState::running) co_return done("already running");
  // safety: R2. Step `promote` left the legs of a guest that was here as they were: nothing proves that they may be
  // started from. [model: R2_start]
  if (c.op.result.contains(kRanBefore)) {
    co_return fail(Errc::conflict, "its guest has ended meanwhile; none was started. Ask for the start again");
  }
  c.node.domains.erase(c.op.vm);  // as libvirt said just now
  // safety: S1. From here on the watchdog is petted as with this guest, also while libvirt is still at it.
  // [model: F_beginning]
  const Beginning beginning(c.node, c.op.vm);
  // safety: S1. Between the claim and now this host may have fallen silent, and another may count that.
  // [model: F_renewed]
  if (!c.node.facts().renewed) co_return fail(Errc::unavailable, "this host's lease is not renewed now");
  const auto nics = spec->nics;
  // safety: S1, R2. The record read now names this host at the epoch that step `promote` committed, this operation
  // holds the VM, and the legs are Primary here alone: the peer's kernel refuses a second Primary outside a window.
  // [model: R2_start]
  core::StartProof proof{{c.op.vm, c.self(), c.vm()->right.value.epoch, c.vm()->right.revision}};
  auto started = co_await c.node.vms.start(std::move(*spec), proof);
  // Before libvirt tells of it; where it is not known whether there is one, until libvirt says that there is none.
  if (started || started.error().code == Errc::outcome_unknown) c.node.domains[c.op.vm] = DomainState::running;
  if (!started) co_return started.error();
  c.node.started_at[c.op.vm] = Clock::now();
  runtime::run_in_background(c.node.cell.changed().executor(), "announcing " + c.op.vm, announce(nics));
  co_return done(fmt::format("running on {} ({})", c.self(), core::to_string(c.node.accel)));
}

Answer shutdown(Context c) {
  const auto until = Clock::now() + kShutdownPatience;
  auto press = Clock::now();
  while (true) {
    auto here = co_await c.node.vms.observe(c.op.vm);
    if (!here) co_return here.error();
    if (here->state == DomainState::absent) co_return done("the guest shut itself down");
    if (c.cancelled()) co_return fail(Errc::cancelled, "cancelled; the guest may still follow the power button it saw");
    if (Clock::now() >= until) {
      co_return fail(Errc::refused, fmt::format("the guest did not follow the power button within {} s; it still runs, "
                                                "unharmed. Try again, or force it off",
                                                kShutdownPatience.count()));
    }
    if (Clock::now() >= press) {
      auto pressed = co_await c.node.vms.request_shutdown(c.op.vm);
      if (!pressed && pressed.error().code != Errc::not_found) co_return pressed.error();
      press = Clock::now() + kPressAgain;
      co_await c.progress({.text = "power button pressed, waiting for the guest"});
    }
    co_await pause(kLook);
  }
}

Answer destroy(Context c) {
  auto off = co_await c.node.vms.force_off(c.op.vm);
  if (!off) co_return off.error();
  co_return done("off");
}

Answer reset(Context c) {
  auto ok = co_await c.node.vms.reset(c.op.vm);
  if (!ok) co_return ok.error();
  co_return done("reset");
}

}  // namespace bascule::steps
