// The transactions of a cell. Each is built from the newest view, compares every record it was decided on, and is
// settled by rule U before anything follows from it.
#include <fmt/format.h>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/cell/tell.hpp"
#include "hostd/runtime/cell/txn.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using core::Revision;

namespace {
/// The object of an operation, for the audit.
std::string object_of(const core::Operation& op) {
  if (!op.vm.empty()) return "vm/" + op.vm;
  if (op.kind == core::OpKind::ha_disarm) return "cell";
  return op.kind == core::OpKind::watchdog_prove ? "host/" + op.target_host : "image/" + op.object;
}
}  // namespace

void CellStore::add_audit(kv::Txn& txn, std::vector<core::AuditRecord> records, core::WallMs now) const {
  core::AuditHead head = view_.audit.value;
  if (view_.audit.revision == 0) head.hash = std::string(64, '0');
  expect(txn, keys::audit_head(root_), view_.audit.revision);
  for (auto& record : records) {
    record.sequence = ++head.sequence;
    record.when_ms = now;
    record.previous = head.hash;
    // Of what will be read: writing replaces bytes that are not UTF-8, and a tool's message may hold some.
    if (auto read = codec::decode<core::AuditRecord>(codec::encode(record))) record = std::move(*read);
    record.hash = codec::audit_hash(record);
    head.hash = record.hash;
    runtime::put(txn, keys::audit(root_, record.sequence), codec::encode(record));
  }
  runtime::put(txn, keys::audit_head(root_), codec::encode(head));
}

asio::awaitable<Result<Revision>> CellStore::commit(std::function<Result<Draft>()> build) {
  const auto deadline = Clock::now() + commit_within_;
  core::Error last = fail(Errc::stale, "the record changed under this write");
  for (int attempt = 0; attempt < kCommitTries; ++attempt) {
    if (!refusal_.empty()) co_return fail(Errc::refused, refusal_);
    auto draft = build();
    if (!draft) co_return draft.error();
    GuardedWrite write;
    write.txn = std::move(draft->txn);
    write.key = draft->key;
    write.ours = [value = draft->value](const kv::KeyValue* found) {
      return found != nullptr && found->value == value;
    };
    Found found;
    const GuardTiming timing{deadline, std::chrono::seconds(3)};
    auto done = co_await commit_guarded(kv_, std::move(write), timing, &found);
    if (done) {
      // The next decision must see what was just written.
      // safety: S1. What is written and not seen is of unknown outcome to whoever decides by the view: an add-back goes
      // on counting, and a host that is being taken over gets no promise. [model: DELAY]
      if (auto seen = co_await caught_up(done->revision, deadline); !seen) {
        co_return fail(Errc::outcome_unknown, "it is written at revision " + std::to_string(done->revision) +
                                                  ", and this host has not heard of it from etcd yet");
      }
      co_return done->revision;
    }
    last = done.error();
    if (last.code != Errc::stale) co_return last;
    Revision newest = 0;
    for (const auto& f : found) {
      if (f) newest = std::max(newest, f->mod_revision);
    }
    if (auto seen = co_await caught_up(newest, deadline); !seen) co_return seen.error();
    if (Clock::now() >= deadline) break;
    // A deleted record leaves no revision to wait for; a short pause lets the watch deliver it.
    co_await pause(std::chrono::milliseconds(20));
  }
  co_return last;
}

core::AuditRecord CellStore::end_record(const core::Operation& op) {
  core::AuditRecord record;
  record.who = op.author;
  record.why = op.reason;
  record.what = std::string(core::to_string(op.kind)) + " ended";
  record.object = object_of(op);
  record.project = op.project;
  record.operation = op.id;
  record.result = std::string(core::to_string(op.state)) + (op.error.empty() ? "" : ": " + op.error);
  return record;
}

/// The next state of an operation, with everything that must change in the same transaction.
Result<CellStore::Draft> CellStore::draft_op(const core::Operation& next_in, Revision revision,
                                             const core::Outcome* outcome, core::WallMs now) {
  core::Operation next = next_in;
  next.writer = writer();
  Draft d;
  d.key = keys::op(root_, next.id);
  d.value = codec::encode(next);
  expect(d.txn, d.key, revision);
  runtime::put(d.txn, d.key, d.value);
  if (outcome != nullptr && outcome->right) {
    core::Right right = *outcome->right;
    right.writer = writer();
    expect(d.txn, keys::vm_right(root_, next.vm), outcome->right_revision);
    if (!outcome->lease_of.empty()) {
      // safety: S1. Had the old holder renewed since, this compare would fail and the right would stay with it.
      // [model: R2_lease]
      expect(d.txn, keys::host_lease(root_, outcome->lease_of), outcome->lease_revision);
    }
    runtime::put(d.txn, keys::vm_right(root_, next.vm), codec::encode(right));
  }
  if (!core::finished(next.state)) return d;  // the audit record of the request stands; that of the end follows
  const auto effects = core::finish_effects(next);
  const core::VmView* vm = view_.vm(next.vm);
  if (effects.release_vm) del(d.txn, keys::vm_op(root_, next.vm));
  if (effects.put_spec) runtime::put(d.txn, keys::vm_spec(root_, next.vm), codec::encode(*effects.put_spec));
  if (effects.delete_vm) {
    del(d.txn, keys::vm_spec(root_, next.vm));
    del(d.txn, keys::vm_layout(root_, next.vm));
    del(d.txn, keys::vm_right(root_, next.vm));
    if (vm != nullptr && vm->restored.revision != 0) del(d.txn, keys::vm_restored(root_, next.vm));
    if (vm != nullptr) {
      for (const auto& [host, status] : vm->status) del(d.txn, keys::vm_status(root_, next.vm, host));
      for (const auto& [what, care] : vm->last) del(d.txn, keys::vm_last(root_, next.vm, what));
    }
  } else if (effects.care) {
    runtime::put(d.txn, keys::vm_last(root_, next.vm, core::care_of(next)), codec::encode(*effects.care));
  }
  if (effects.adopted) del(d.txn, keys::vm_restored(root_, next.vm));
  if (effects.disarm) switch_armed(d.txn, next, false, now);
  if (effects.delete_image) del(d.txn, keys::image(root_, *effects.delete_image));
  if (view_.progress.contains(next.id)) del(d.txn, keys::progress(root_, next.id));
  add_audit(d.txn, {end_record(next)}, now);
  return d;
}

asio::awaitable<Result<>> CellStore::end_step(std::string id, core::Work work, core::Outcome outcome,
                                              core::WallMs now) {
  core::Operation written;
  core::Right before;
  auto done = co_await commit([&]() -> Result<Draft> {
    const auto it = view_.operations.find(id);
    if (it == view_.operations.end()) return fail(Errc::not_found, "operation " + id + " is gone");
    // Another write (a cancel) may have come in between: the end of the step is applied to what is there now.
    if (core::next_work(it->second.value, self_) != work) {
      return fail(Errc::conflict, "operation " + id + " has moved on");
    }
    const auto next = work.kind == core::Work::Kind::run ? core::after_run(it->second.value, work.step, outcome, now)
                                                         : core::after_undo(it->second.value, work.step, outcome, now);
    written = next;
    if (const auto* vm = view_.vm(next.vm)) before = vm->right.value;
    return draft_op(next, it->second.revision, &outcome, now);
  });
  const bool takes = outcome.right && !outcome.lease_of.empty();
  if (!done) {
    // A write that had no end may be there: the next look at the record tells.
    const auto code = done.error().code;
    const bool lost = code == Errc::stale || code == Errc::conflict || code == Errc::refused;
    if (takes && lost) {
      say(msg::takeover_lost, {.vm = written.vm, .host = outcome.lease_of, .operation = id},
          "{}: the run-right was not taken from {}: {}", written.vm, outcome.lease_of, done.error().what);
    }
    co_return done.error();
  }
  if (takes) {
    say(msg::takeover_won, {.vm = written.vm, .host = self_, .operation = id, .epoch = outcome.right->epoch},
        "{}: the run-right is taken from {} (epoch {})", written.vm, outcome.lease_of, outcome.right->epoch);
  }
  if (outcome.right) tell_right(written.vm, before, *outcome.right, "operation " + id);
  if (core::finished(written.state)) tell_ended(written);
  co_return Result<>{};
}

asio::awaitable<Result<>> CellStore::steer(std::string id, core::Steer how, core::Who who, std::string reason,
                                           core::WallMs now) {
  core::Operation written;
  auto done = co_await commit([&]() -> Result<Draft> {
    const auto it = view_.operations.find(id);
    if (it == view_.operations.end()) return fail(Errc::not_found, "there is no operation '" + id + "'");
    auto next =
        how == core::Steer::cancel ? core::with_cancel(it->second.value) : core::with_approval(it->second.value, who);
    if (!next) return next.error();
    written = *next;
    auto draft = draft_op(*next, it->second.revision, nullptr, now);
    if (!draft) return draft;
    core::AuditRecord record;
    record.who = who;
    record.why = reason;
    record.what =
        std::string(core::to_string(next->kind)) + (how == core::Steer::cancel ? " cancel requested" : " approved");
    record.object = object_of(*next);
    record.project = next->project;
    record.operation = id;
    add_audit(draft->txn, {record}, now);
    return draft;
  });
  if (!done) co_return done.error();
  if (core::finished(written.state)) tell_ended(written);
  co_return Result<>{};
}

asio::awaitable<Result<Revision>> CellStore::commit_right(std::string vm, core::Right right, Revision revision,
                                                          std::string why, core::WallMs now) {
  core::Right before;
  auto done = co_await commit([&]() -> Result<Draft> {
    const auto* seen = view_.vm(vm);
    if (seen == nullptr || seen->right.revision != revision) {
      return fail(Errc::stale, "the run-right of " + vm + " has changed; decide again");
    }
    before = seen->right.value;
    Draft d;
    right.writer = writer();
    d.key = keys::vm_right(root_, vm);
    d.value = codec::encode(right);
    expect(d.txn, d.key, revision);
    // The definition is compared too: a stop or removal that committed first wins.
    expect(d.txn, keys::vm_spec(root_, vm), seen->spec.revision);
    runtime::put(d.txn, d.key, d.value);
    core::AuditRecord record;
    record.who = {self_, "host", {}};
    record.why = why;
    record.what = "right changed";
    record.object = "vm/" + vm;
    record.project = seen->spec.value.project;
    record.result = fmt::format("host {} epoch {}", right.host, right.epoch);
    add_audit(d.txn, {record}, now);
    return d;
  });
  if (done) tell_right(vm, before, right, why);
  co_return done;
}

asio::awaitable<Result<>> CellStore::commit_size(std::string vm, std::string volume, std::uint64_t size_mib) {
  auto done = co_await commit([&]() -> Result<Draft> {
    const auto* seen = view_.vm(vm);
    if (seen == nullptr) return fail(Errc::not_found, "the VM is gone");
    core::Layout layout = seen->layout.value;
    core::VmSpec spec = seen->spec.value;
    for (auto& v : layout.volumes) {
      if (v.name == volume) v.size_mib = size_mib;
    }
    for (auto& v : spec.volumes) {
      if (v.name == volume) v.size_mib = size_mib;
    }
    Draft d;
    d.key = keys::vm_layout(root_, vm);
    d.value = codec::encode(layout);
    expect(d.txn, d.key, seen->layout.revision);
    expect(d.txn, keys::vm_spec(root_, vm), seen->spec.revision);
    runtime::put(d.txn, d.key, d.value);
    runtime::put(d.txn, keys::vm_spec(root_, vm), codec::encode(spec));
    return d;
  });
  if (!done) co_return done.error();
  co_return Result<>{};
}

}  // namespace bascule::runtime
