#include "hostd/arbiter.hpp"

#include <spdlog/spdlog.h>

#include "hostd/core/loss.hpp"
#include "hostd/runtime/say.hpp"
#include "hostd/steps/step.hpp"

namespace bascule {
namespace asio = boost::asio;
using runtime::Clock;
using runtime::FenceAnswer;

namespace {
constexpr std::chrono::milliseconds kAgain{200};
}

asio::awaitable<FenceAnswer> decide_fence(Node& node, std::string resource) {
  using Kind = core::LossVerdict::Kind;
  const std::string vm(storage::vm_of(resource));
  say(msg::fence_asked, {.vm = vm, .host = node.self()}, "{}: the kernel asks whether it may go on without the peer",
      vm);
  const auto asked = Clock::now();
  std::string said;
  while (true) {
    // Nobody to be told: a helper that was killed. Its question is put anew (Worker::watch_frozen), and the other leg
    // stays in the record for as long as nothing is confirmed without it.
    if (node.helpers(resource) == 0) co_return FenceAnswer::not_won;
    // The question comes after the freeze, and every look below after the question (R1).
    auto local = co_await steps::fresh_local(node, vm);
    const auto* view = node.cell.view().vm(vm);
    if (!local || view == nullptr || node.opening.contains(vm)) {
      co_await steps::pause(kAgain);
      continue;
    }
    const auto verdict = core::decide_loss(*view, *local, node.self());
    // A no to a promotion starts nothing, whatever the record says by now; waiting for etcd would keep the link down.
    const bool plain_no = verdict.kind == Kind::lost && local->role == "Secondary";
    if (!node.cell.view().synced && !plain_no) {
      co_await steps::pause(kAgain);
      continue;
    }
    if (verdict.sentence != said) spdlog::info("{}: {}", vm, verdict.sentence);
    said = verdict.sentence;
    if (verdict.kind == Kind::over || verdict.kind == Kind::lost) {
      say(msg::fence_refused, {.vm = vm, .host = node.self()}, "{}: the kernel is told to stay as it is", vm);
      co_return FenceAnswer::not_won;
    }
    if (auto ok = may_promote(node, vm); !ok) {
      say(msg::record_distrusted, {.vm = vm, .host = node.self()}, "{}: {}", vm, ok.error().what);
      co_return FenceAnswer::not_won;
    }
    // A short cut costs nothing, and a dying site does not take the right with it. A promotion waits for nobody.
    const bool hold = local->role == "Primary" && Clock::now() - asked < node.config.timing.hold;
    if (verdict.kind == Kind::wait || hold) {
      co_await steps::pause(kAgain);
      continue;
    }
    node.winning.insert(vm);
    if (verdict.closes_window) {
      auto shut = co_await node.drbd.set_two_primaries(resource, false);
      if (!shut) {
        say(msg::decision_not_taken, {.vm = vm}, "{}: the window is not closed yet: {}", vm, shut.error().what);
        co_await steps::pause(kAgain);
        continue;
      }
      node.local[vm].two_primaries = false;
    }
    auto done = co_await node.cell.commit_right(vm, verdict.right, verdict.revision, verdict.sentence, wall_ms());
    if (done || done.error().code == core::Errc::stale) node.winning.erase(vm);
    if (done) {
      const About about{.vm = vm, .host = node.self(), .epoch = verdict.right.epoch};
      say(msg::fence_answered, about, "{}: the kernel is told that it may go on without the peer", vm);
      // safety: R1. Committed after the kernel asked, so after it froze, comparing the record; the exit code is bound
      // by the kernel to this loss of the link, and ignored if the peer has come back. [model: R1_commit, R1_answer]
      co_return FenceAnswer::excluded;
    }
    say(msg::decision_not_taken, {.vm = vm}, "{}: the record was not changed: {}", vm, done.error().what);
    co_await steps::pause(kAgain);
  }
}

}  // namespace bascule
