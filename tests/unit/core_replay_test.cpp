// Every kind of operation, replayed: a failure, a cancel or a failed undo at every step. The only state carried from
// one write to the next is the journal itself, as for a hostd that restarts after each of them.
#include <functional>

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"
#include "hostd/core/engine.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

using test::ask;

constexpr int kManyWrites = 100;
const std::vector<std::string> kHosts{"a1", "a2", "b1", "b2"};

struct Faults {
  std::optional<std::size_t> run_fails, undo_fails;
  std::optional<std::size_t> cancel_before;  ///< asked when this step is about to run
};

struct Replay {
  Operation op;
  std::vector<std::size_t> ran, undid;
  bool cancel_taken{};
};

/// What the hosts do, called for each piece of work; empty = it succeeds, else the error.
using Act = std::function<std::string(const Operation&, const Work&)>;

Replay replay(Operation op, const Faults& faults, const Act& act = {}) {
  Replay r;
  for (int write = 0; write < kManyWrites && !finished(op.state); ++write) {
    Work work;
    std::string host;
    for (const auto& h : kHosts) {
      const Work w = next_work(op, h);
      if (w.kind == Work::Kind::none) continue;
      EXPECT_EQ(work.kind, Work::Kind::none) << "two hosts at work at once";
      work = w;
      host = h;
    }
    if (work.kind == Work::Kind::none) {
      ADD_FAILURE() << "nobody has anything to do, and it is not finished";
      break;
    }
    EXPECT_EQ(op.steps[work.step].host, host);
    const bool run = work.kind == Work::Kind::run;
    if (run && faults.cancel_before == work.step && !op.cancel_requested) {
      const auto asked = with_cancel(op);
      EXPECT_EQ(asked.has_value(), !past_no_return(op));
      r.cancel_taken = asked.has_value();
      if (asked) op = *asked;
    }
    Outcome outcome;
    outcome.ok = (run ? faults.run_fails : faults.undo_fails) != work.step;
    if (!outcome.ok) outcome.error = "injected";
    if (outcome.ok && act) {
      outcome.error = act(op, work);
      outcome.ok = outcome.error.empty();
    }
    (run ? r.ran : r.undid).push_back(work.step);
    op = run ? after_run(op, work.step, outcome, 5) : after_undo(op, work.step, outcome, 5);
  }
  r.op = op;
  return r;
}

std::vector<std::size_t> up_to(std::size_t n) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i <= n; ++i) out.push_back(i);
  return out;
}
std::vector<std::size_t> reversed(std::vector<std::size_t> v) {
  std::ranges::reverse(v);
  return v;
}

/// One operation of every kind that has steps, as plan() makes it.
std::vector<std::pair<std::string, Operation>> operations() {
  CellView running = test::cell();
  running.images["guest"] = {{"guest", 1, "", "b1"}, 1, 1};
  CellView stopped = running;
  stopped.vms["vm1"] = test::stopped_vm();
  VmSpec fresh = test::spec("new");
  fresh.volumes[0].image = "guest";
  VmSpec off = test::spec();
  off.power = Power::off;
  const auto made = [](const CellView& view, Verb verb) { return plan(view, ask(std::move(verb)), "a1")->operation; };
  return {
      {"create", made(running, PutVm{fresh})},
      {"update to on", made(stopped, PutVm{test::spec()})},
      {"update to off", made(running, PutVm{off})},
      {"start", made(stopped, StartVm{"vm1"})},
      {"shutdown", made(running, ShutdownVm{"vm1"})},
      {"power off", made(running, PowerOffVm{"vm1"})},
      {"reset", made(running, ResetVm{"vm1"})},
      {"migrate", made(running, MigrateVm{"vm1", "", ""})},
      {"remove", made(stopped, RemoveVm{"vm1"})},
      {"grow", made(running, GrowVolume{"vm1", "root", 128})},
      {"verify", made(running, VerifyVolume{"vm1", "root"})},
      {"remove image", made(running, RemoveImage{"guest"})},
  };
}

/// The step after whose end nothing is undone; the number of steps when there is none.
std::size_t no_return(Operation op) {
  for (std::size_t i = 0; i < op.steps.size(); ++i) {
    op.steps[i].state = StepState::done;
    if (past_no_return(op)) return i;
  }
  return op.steps.size();
}

TEST(EveryOperation, WithoutFaultsRunsItsStepsInOrderAndIsDone) {
  for (const auto& [name, op] : operations()) {
    SCOPED_TRACE(name);
    ASSERT_FALSE(op.steps.empty());
    const Replay r = replay(op, {});
    EXPECT_EQ(r.op.state, OpState::done);
    EXPECT_EQ(r.ran, up_to(op.steps.size() - 1));
    EXPECT_TRUE(r.undid.empty());
    EXPECT_EQ(r.op.error, "");
    EXPECT_EQ(r.op.finished_ms, 5);
  }
}

TEST(EveryOperation, ThatFailsIsUndoneInReverseOrStopsForAPersonPastTheNoReturn) {
  for (const auto& [name, op] : operations()) {
    const std::size_t last_way_back = no_return(op);
    for (std::size_t at = 0; at < op.steps.size(); ++at) {
      SCOPED_TRACE(name + ", step " + std::to_string(at) + " fails");
      const Replay r = replay(op, {.run_fails = at, .undo_fails = {}, .cancel_before = {}});
      EXPECT_EQ(r.ran, up_to(at)) << "nothing runs after the failure";
      EXPECT_EQ(r.op.error, "injected");
      if (at > last_way_back) {
        EXPECT_EQ(r.op.state, OpState::needs_operator);
        EXPECT_TRUE(r.undid.empty()) << "what is past the point of no return is not undone";
        EXPECT_FALSE(r.op.todo.empty()) << "a person is told what to do";
      } else {
        EXPECT_EQ(r.op.state, OpState::undone);
        EXPECT_EQ(r.undid, reversed(up_to(at))) << "the failed step too: it may have acted in part";
      }
    }
  }
}

TEST(EveryOperation, ThatIsCancelledEndsAfterTheStepAtWork) {
  for (const auto& [name, op] : operations()) {
    const std::size_t last_way_back = no_return(op);
    for (std::size_t at = 0; at < op.steps.size(); ++at) {
      SCOPED_TRACE(name + ", cancel at step " + std::to_string(at));
      const Replay r = replay(op, {.run_fails = {}, .undo_fails = {}, .cancel_before = at});
      if (at >= last_way_back) {
        EXPECT_EQ(r.cancel_taken, at == last_way_back) << "refused once past";
        EXPECT_EQ(r.op.state, OpState::done);
        EXPECT_EQ(r.ran, up_to(op.steps.size() - 1));
      } else {
        EXPECT_EQ(r.op.state, OpState::undone);
        EXPECT_EQ(r.op.error, "cancelled on request");
        EXPECT_EQ(r.ran, up_to(at));
        EXPECT_EQ(r.undid, reversed(up_to(at)));
      }
    }
  }
}

TEST(EveryOperation, WhoseUndoFailsStopsThereForAPerson) {
  for (const auto& [name, op] : operations()) {
    const std::size_t last_way_back = no_return(op);
    for (std::size_t at = 0; at < op.steps.size() && at <= last_way_back; ++at) {
      for (std::size_t undo = 0; undo <= at; ++undo) {
        SCOPED_TRACE(name + ", step " + std::to_string(at) + " fails, undo of " + std::to_string(undo) + " fails");
        const Replay r = replay(op, {.run_fails = at, .undo_fails = undo, .cancel_before = {}});
        EXPECT_EQ(r.op.state, OpState::needs_operator);
        EXPECT_EQ(r.undid.back(), undo) << "nothing further is touched";
        EXPECT_EQ(r.undid.size(), at - undo + 1);
        EXPECT_FALSE(r.op.todo.empty());
        EXPECT_TRUE(r.op.error.starts_with("injected; undoing step '")) << r.op.error;
      }
    }
  }
}

TEST(Migration, HasItsNoReturnAtTheEndOfTheLiveMigration) {
  for (const auto& [name, op] : operations()) {
    if (op.kind != OpKind::vm_migrate) continue;
    EXPECT_EQ(op.steps[no_return(op)].kind, StepKind::live_migrate);
  }
}

// ---- the migration once more, with the record, the guests and the window it acts on ------------

struct World {
  Right right{test::right()};
  Layout layout{test::layout()};
  DomainState a{DomainState::running}, b{DomainState::absent};
  bool window{}, b_primary{}, a_primary{true};

  int running() const { return (a == DomainState::running ? 1 : 0) + (b == DomainState::running ? 1 : 0); }
  std::string commit(const Result<Right>& next) {
    if (!next) return next.error().what;
    right = *next;
    return "";
  }

  /// One function for each step that acts; the others only look.
  std::string run(StepKind kind) {
    if (kind == StepKind::mark_migration) return commit(mark(right, layout, "a1", "b1"));
    if (kind == StepKind::open_window) return right.migrating_to ? (window = true, "") : "not marked";
    if (kind == StepKind::promote_target) return window ? (b_primary = true, "") : "one primary at a time";
    if (kind == StepKind::live_migrate) {
      if (!window || !b_primary) return "QEMU cannot open the target's disk";
      a = DomainState::absent;
      b = DomainState::paused;  // arrived, and waits for the record
      return commit(core::hand_over(right, layout, "a1", "b1"));
    }
    if (kind == StepKind::resume_target) {
      if (right.host != "b1") return "the record does not name this host";
      b = DomainState::running;
    }
    if (kind == StepKind::demote_source) return a == DomainState::absent ? (a_primary = false, "") : "in use";
    if (kind == StepKind::close_window) return !a_primary ? (window = false, "") : "both are primary";
    return "";
  }
  std::string undo(StepKind kind) {
    if (kind == StepKind::mark_migration) return commit(unmark(right, "a1"));
    if (kind == StepKind::open_window) return !b_primary ? (window = false, "") : "both are primary";
    if (kind == StepKind::promote_target) b_primary = false;
    return "";
  }
};

TEST(Migration, LeavesOneRunnerAndAClosedWindowWhereverItFails) {
  Operation op;
  for (const auto& [name, candidate] : operations()) {
    if (candidate.kind == OpKind::vm_migrate) op = candidate;
  }
  for (int fault = 0; fault < 3; ++fault) {
    for (std::size_t at = 0; at < op.steps.size(); ++at) {
      SCOPED_TRACE("fault " + std::to_string(fault) + " at step " + std::to_string(at));
      World world;
      Faults faults;
      if (fault == 1) faults.run_fails = at;
      if (fault == 2) faults.cancel_before = at;
      const Replay r = replay(op, faults, [&](const Operation& now, const Work& work) {
        const StepKind kind = now.steps[work.step].kind;
        std::string error = work.kind == Work::Kind::run ? world.run(kind) : world.undo(kind);
        EXPECT_LE(world.running(), 1) << "S1";
        EXPECT_TRUE(!world.window || world.right.migrating_to || world.right.host == "b1") << "S4";
        return error;
      });
      if (r.op.state == OpState::needs_operator) {
        EXPECT_EQ(world.right.host, "b1") << "only after the hand-over";
        continue;
      }
      EXPECT_EQ(world.running(), 1);
      EXPECT_FALSE(world.window);
      EXPECT_FALSE(world.right.migrating_to);
      const bool moved = r.op.state == OpState::done;
      EXPECT_EQ(world.right.host, moved ? "b1" : "a1");
      EXPECT_EQ(world.right.epoch, moved ? 4 : 3);
      EXPECT_EQ(world.a_primary, !moved);
      EXPECT_EQ(world.b_primary, moved);
      EXPECT_EQ(world.a == DomainState::running, !moved);
    }
  }
}

}  // namespace
}  // namespace bascule::core
