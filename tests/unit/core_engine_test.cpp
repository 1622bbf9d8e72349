// How one write advances an operation: every state and step state against every input, one line per cell.
#include "hostd/core/engine.hpp"

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using test::text;
constexpr WallMs kNow = 1000;

// A step list as text: kind letter is irrelevant here, so "d p" = done, pending; all on host a1 unless "@b1" follows.
Operation op_with(OpKind kind, OpState state, const std::vector<std::pair<StepKind, StepState>>& steps) {
  Operation op;
  op.id = "op-1";
  op.kind = kind;
  op.vm = "vm1";
  op.state = state;
  for (const auto& [step, at] : steps) op.steps.push_back({.kind = step, .host = "a1", .state = at});
  return op;
}
using S = StepState;
using K = StepKind;

std::string shape(const Operation& op) {
  std::string out(to_string(op.state));
  for (const auto& s : op.steps) out += ' ' + std::string(to_string(s.state));
  return out;
}
Outcome good() {
  Outcome o;
  o.ok = true;
  o.note = "noted";
  o.took_ms = 7;
  return o;
}
Outcome bad(const std::string& todo = {}) {
  Outcome o;
  o.error = "it broke";
  o.todo = todo;
  o.took_ms = 8;
  return o;
}

TEST(NextWork, IsTheFirstPendingStepOrTheLastToUndoAndItsHostsAlone) {
  const Work none{};
  const Work run0{Work::Kind::run, 0}, run1{Work::Kind::run, 1};
  const Work undo0{Work::Kind::undo, 0}, undo1{Work::Kind::undo, 1};
  const struct {
    OpState state;
    std::vector<StepState> steps;
    Work wanted;
  } table[] = {
      {OpState::running, {}, none},
      {OpState::running, {S::pending, S::pending}, run0},
      {OpState::running, {S::done, S::pending}, run1},
      {OpState::running, {S::done, S::done}, none},
      {OpState::undoing, {S::done, S::done}, undo1},
      {OpState::undoing, {S::done, S::failed}, undo1},
      {OpState::undoing, {S::done, S::pending}, undo0},
      {OpState::undoing, {S::done, S::undone}, undo0},
      {OpState::undoing, {S::failed, S::pending}, undo0},
      {OpState::undoing, {S::undone, S::undone}, none},
      {OpState::undoing, {S::undone, S::pending}, none},
      {OpState::done, {S::done, S::pending}, none},
      {OpState::undone, {S::done, S::pending}, none},
      {OpState::needs_operator, {S::done, S::pending}, none},
  };
  for (const auto& row : table) {
    Operation op = op_with(OpKind::vm_start, row.state, {});
    for (const auto s : row.steps) op.steps.push_back({.kind = K::promote, .host = "a1", .state = s});
    EXPECT_EQ(next_work(op, "a1"), row.wanted) << shape(op);
    EXPECT_EQ(next_work(op, "b1"), none) << shape(op) << ": another host's step";
  }
}

TEST(AfterRun, StateByInput) {
  using P = std::vector<std::pair<StepKind, StepState>>;
  const P first{{K::admit_start, S::pending}, {K::promote, S::pending}};
  const P last{{K::admit_start, S::done}, {K::promote, S::pending}};
  const P after_shutdown{{K::shutdown, S::done}, {K::demote, S::pending}};
  const P at_shutdown{{K::shutdown, S::pending}, {K::demote, S::pending}};
  const struct {
    const char* name;
    OpKind kind;
    P steps;
    std::size_t step;
    bool cancel;
    Outcome outcome;
    const char* wanted;
    const char* error;
    const char* todo;
  } table[] = {
      {"first ok", OpKind::vm_start, first, 0, false, good(), "running done pending", "", ""},
      {"last ok", OpKind::vm_start, last, 1, false, good(), "done done done", "", ""},
      {"first fails", OpKind::vm_start, first, 0, false, bad(), "undoing failed pending", "it broke", ""},
      {"last fails", OpKind::vm_start, last, 1, false, bad(), "undoing done failed", "it broke", ""},
      {"cancel, first ok", OpKind::vm_start, first, 0, true, good(), "undoing done pending", "cancelled on request",
       ""},
      {"cancel, last ok", OpKind::vm_start, last, 1, true, good(), "undoing done done", "cancelled on request", ""},
      {"cancel, fails", OpKind::vm_start, first, 0, true, bad(), "undoing failed pending", "it broke", ""},
      {"at no return, ok", OpKind::vm_shutdown, at_shutdown, 0, false, good(), "running done pending", "", ""},
      {"at no return, fails", OpKind::vm_shutdown, at_shutdown, 0, false, bad(), "undoing failed pending", "it broke",
       ""},
      {"at no return, cancel, ok", OpKind::vm_shutdown, at_shutdown, 0, true, good(), "running done pending", "", ""},
      {"past, ok", OpKind::vm_shutdown, after_shutdown, 1, false, good(), "done done done", "", ""},
      {"past, fails", OpKind::vm_shutdown, after_shutdown, 1, false, bad(), "needs-operator done pending", "it broke",
       "look at step 'demote' on host a1, mend what it names, then settle the VM by hand"},
      {"past, fails with a todo", OpKind::vm_shutdown, after_shutdown, 1, false, bad("call us"),
       "needs-operator done pending", "it broke", "call us"},
      {"past, cancel, ok", OpKind::vm_shutdown, after_shutdown, 1, true, good(), "done done done", "", ""},
      {"stop by definition, past, fails", OpKind::vm_update, after_shutdown, 1, false, bad("x"),
       "needs-operator done pending", "it broke", "x"},
  };
  for (const auto& row : table) {
    Operation op = op_with(row.kind, OpState::running, row.steps);
    op.cancel_requested = row.cancel;
    const Operation next = after_run(op, row.step, row.outcome, kNow);
    EXPECT_EQ(shape(next), row.wanted) << row.name;
    EXPECT_EQ(next.error, row.error) << row.name;
    EXPECT_EQ(next.todo, row.todo) << row.name;
    EXPECT_EQ(next.finished_ms, finished(next.state) ? kNow : 0) << row.name;
    EXPECT_EQ(next.steps[row.step].note, row.outcome.ok ? "noted" : "it broke") << row.name;
    EXPECT_EQ(next.steps[row.step].took_ms, row.outcome.took_ms) << row.name;
  }
}

TEST(AfterRun, AddsTheStepsResultsToTheOperations) {
  Operation op = op_with(OpKind::vm_start, OpState::running, {{K::promote, S::pending}});
  op.result = {{"a", "1"}, {"b", "2"}};
  Outcome o = good();
  o.result = {{"b", "3"}, {"c", "4"}};
  EXPECT_EQ(after_run(op, 0, o, kNow).result, (std::map<std::string, std::string>{{"a", "1"}, {"b", "3"}, {"c", "4"}}));
}

TEST(AfterUndo, StateByInput) {
  using P = std::vector<std::pair<StepKind, StepState>>;
  const P two{{K::promote, S::done}, {K::start_domain, S::failed}};
  const P one{{K::promote, S::done}, {K::start_domain, S::undone}};
  const struct {
    const char* name;
    P steps;
    std::size_t step;
    Outcome outcome;
    const char* wanted;
    const char* error;
    const char* todo;
  } table[] = {
      {"one of two", two, 1, good(), "undoing done undone", "first error", ""},
      {"the last", one, 0, good(), "undone undone undone", "first error", ""},
      {"fails", two, 1, bad(), "needs-operator done failed",
       "first error; undoing step 'start-domain' on a1 failed: it broke",
       "mend what the error names on host a1; nothing further was touched"},
      {"fails with a todo", one, 0, bad("call us"), "needs-operator done undone",
       "first error; undoing step 'promote' on a1 failed: it broke", "call us"},
  };
  for (const auto& row : table) {
    Operation op = op_with(OpKind::vm_start, OpState::undoing, row.steps);
    op.error = "first error";
    const Operation next = after_undo(op, row.step, row.outcome, kNow);
    EXPECT_EQ(shape(next), row.wanted) << row.name;
    EXPECT_EQ(next.error, row.error) << row.name;
    EXPECT_EQ(next.todo, row.todo) << row.name;
    EXPECT_EQ(next.finished_ms, finished(next.state) ? kNow : 0) << row.name;
  }
}

TEST(AfterUndo, KeepsTheNoteOfWhatFailedUnlessTheUndoSaysMore) {
  Operation op = op_with(OpKind::vm_start, OpState::undoing, {{K::promote, S::failed}});
  op.steps[0].note = "it broke";
  Outcome silent = good();
  silent.note.clear();
  EXPECT_EQ(after_undo(op, 0, silent, kNow).steps[0].note, "it broke");
  EXPECT_EQ(after_undo(op, 0, good(), kNow).steps[0].note, "noted");
}

TEST(AfterRunAndUndo, OutOfTurnAreBugs) {
  const auto running = op_with(OpKind::vm_start, OpState::running, {{K::promote, S::pending}});
  const auto over = op_with(OpKind::vm_start, OpState::done, {{K::promote, S::done}});
  const auto undoing = op_with(OpKind::vm_start, OpState::undoing, {{K::promote, S::done}});
  EXPECT_DEATH(after_run(running, 1, good(), kNow), "check failed");
  EXPECT_DEATH(after_run(over, 0, good(), kNow), "check failed");
  EXPECT_DEATH(after_run(undoing, 0, good(), kNow), "check failed");
  EXPECT_DEATH(after_undo(running, 0, good(), kNow), "check failed");
  EXPECT_DEATH(after_undo(undoing, 1, good(), kNow), "check failed");
}

TEST(Cancel, StateByInput) {
  const std::string past = "conflict: the operation is past the point where it can be undone; it goes on to its end";
  const struct {
    OpKind kind;
    OpState state;
    K step;
    S at;
    std::string wanted;
    bool flag;
  } table[] = {
      {OpKind::vm_start, OpState::running, K::promote, S::pending, "ok", true},
      {OpKind::vm_start, OpState::running, K::promote, S::done, "ok", true},
      {OpKind::vm_start, OpState::undoing, K::promote, S::done, "ok", false},
      {OpKind::vm_start, OpState::done, K::promote, S::done, "conflict: the operation has ended (done)", false},
      {OpKind::vm_start, OpState::undone, K::promote, S::undone, "conflict: the operation has ended (undone)", false},
      {OpKind::vm_start, OpState::needs_operator, K::promote, S::done,
       "conflict: the operation has ended (needs-operator)", false},
      {OpKind::vm_migrate, OpState::running, K::live_migrate, S::pending, "ok", true},
      {OpKind::vm_migrate, OpState::running, K::live_migrate, S::done, past, false},
      {OpKind::vm_remove, OpState::running, K::drop_right, S::pending, "ok", true},
      {OpKind::vm_remove, OpState::running, K::drop_right, S::done, past, false},
      {OpKind::vm_shutdown, OpState::running, K::shutdown, S::done, past, false},
      {OpKind::vm_update, OpState::running, K::shutdown, S::done, past, false},
      {OpKind::vm_power_off, OpState::running, K::destroy, S::done, past, false},
      {OpKind::vm_reset, OpState::running, K::reset, S::done, past, false},
      {OpKind::volume_grow, OpState::running, K::grow_leg, S::done, "ok", true},
      {OpKind::volume_grow, OpState::running, K::resize_drbd, S::done, past, false},
      {OpKind::image_remove, OpState::running, K::remove_image, S::done, past, false},
      {OpKind::volume_verify, OpState::running, K::verify, S::pending, "ok", true},
      {OpKind::vm_create, OpState::running, K::start_domain, S::done, "ok", true},
  };
  for (const auto& row : table) {
    const auto op = op_with(row.kind, row.state, {{row.step, row.at}, {K::confirm, S::pending}});
    const auto next = with_cancel(op);
    EXPECT_EQ(text(next), row.wanted) << to_string(row.kind) << ' ' << shape(op);
    if (next) EXPECT_EQ(next->cancel_requested, row.flag) << to_string(row.kind) << ' ' << shape(op);
    EXPECT_EQ(past_no_return(op), row.wanted == past || (finished(row.state) && past_no_return(op)));
  }
}

TEST(Cancel, AskedTwiceIsAskedOnce) {
  auto op = op_with(OpKind::vm_start, OpState::running, {{K::promote, S::pending}});
  op = *with_cancel(op);
  EXPECT_EQ(*with_cancel(op), op);
}

TEST(Finish, EffectsByKindAndEnd) {
  const VmSpec wanted = test::spec();
  VmSpec before = test::spec();
  before.power = Power::off;
  const struct {
    OpKind kind;
    OpState state;
    bool delete_vm;
    bool delete_image;
    bool put_wanted;
    bool put_before;
  } table[] = {
      {OpKind::vm_create, OpState::done, false, false, true, false},
      {OpKind::vm_create, OpState::undone, true, false, false, true},
      {OpKind::vm_create, OpState::needs_operator, false, false, false, false},
      {OpKind::vm_start, OpState::done, false, false, true, false},
      {OpKind::vm_start, OpState::undone, false, false, false, true},
      {OpKind::vm_remove, OpState::done, true, false, true, false},
      {OpKind::vm_remove, OpState::undone, false, false, false, true},
      {OpKind::vm_remove, OpState::needs_operator, false, false, false, false},
      {OpKind::image_remove, OpState::done, false, true, true, false},
      {OpKind::image_remove, OpState::undone, false, false, false, true},
      {OpKind::vm_migrate, OpState::needs_operator, false, false, false, false},
  };
  for (const auto& row : table) {
    Operation op = op_with(row.kind, row.state, {});
    op.object = "guest";
    op.spec = wanted;
    op.restore = before;
    const Finish f = finish_effects(op);
    const std::string name = std::string(to_string(row.kind)) + ' ' + std::string(to_string(row.state));
    EXPECT_TRUE(f.release_vm) << name << ": whatever the end, the VM is free for the next operation";
    EXPECT_EQ(f.delete_vm, row.delete_vm) << name;
    EXPECT_EQ(f.delete_image, row.delete_image ? std::optional<std::string>("guest") : std::nullopt) << name;
    EXPECT_EQ(f.put_spec, row.put_wanted   ? std::optional(wanted)
                          : row.put_before ? std::optional(before)
                                           : std::nullopt)
        << name;
    op.vm.clear();
    EXPECT_FALSE(finish_effects(op).release_vm) << name;
  }
}

}  // namespace
}  // namespace bascule::core
