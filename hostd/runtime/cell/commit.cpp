// The transactions of a cell. Each is built from the newest view, compares every record it was decided on, and is
// settled by rule U before anything follows from it.
#include <fmt/format.h>
#include <openssl/sha.h>
#include <spdlog/spdlog.h>

#include <random>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using core::Revision;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds kPutDeadline{3};  // DESIGN section 4, renew_timeout

std::string sha256(const std::string& text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::string out;
  for (const unsigned char byte : digest) out += fmt::format("{:02x}", byte);
  return out;
}

/// A new id that sorts by time and is never used twice: milliseconds and 64 random bits.
std::string new_operation_id(core::WallMs now) {
  std::random_device device;
  const std::uint64_t random = (std::uint64_t{device()} << 32U) | device();
  return fmt::format("op-{:011x}-{:016x}", now, random);
}

core::Who who_of(const core::Caller& caller) {
  std::string role;
  switch (caller.role) {
    case core::Role::operator_: role = "operator"; break;
    case core::Role::client: role = "client"; break;
    case core::Role::auditor: role = "auditor"; break;
    case core::Role::host: role = "host"; break;
  }
  return {caller.name, role, caller.project};
}

/// Keys are per caller: two callers may choose the same.
std::string idempotency_digest(const core::Who& who, const std::string& key) {
  return sha256(who.role + '/' + who.project + '/' + who.name + '/' + key);
}

/// What a request asks for, as text: two requests with one idempotency key must be the same.
std::string request_text(const core::Request& request) {
  struct Text {
    std::string operator()(const core::PutVm& v) const { return "put " + codec::encode(v.spec); }
    std::string operator()(const core::StartVm& v) const { return "start " + v.vm; }
    std::string operator()(const core::ShutdownVm& v) const { return "shutdown " + v.vm; }
    std::string operator()(const core::PowerOffVm& v) const { return "power-off " + v.vm; }
    std::string operator()(const core::ResetVm& v) const { return "reset " + v.vm; }
    std::string operator()(const core::MigrateVm& v) const {
      return "migrate " + v.vm + ' ' + v.target + ' ' + v.policy;
    }
    std::string operator()(const core::ResizeVm& v) const {
      return fmt::format("resize {} {} {}", v.vm, v.cpus, v.memory_mib);
    }
    std::string operator()(const core::RemoveVm& v) const { return "remove " + v.vm; }
    std::string operator()(const core::GrowVolume& v) const {
      return fmt::format("grow {} {} {}", v.vm, v.volume, v.size_mib);
    }
    std::string operator()(const core::VerifyVolume& v) const { return "verify " + v.vm + ' ' + v.volume; }
    std::string operator()(const core::ImportImage& v) const { return "import " + codec::encode(v.image); }
    std::string operator()(const core::RemoveImage& v) const { return "remove-image " + v.image; }
  };
  return std::visit(Text{}, request.verb) + '\n' + request.reason;
}

void put(kv::Txn& txn, std::string key, std::string value) {
  txn.success.emplace_back(kv::Put{std::move(key), std::move(value)});
}
void del(kv::Txn& txn, std::string key) { txn.success.emplace_back(kv::Delete{std::move(key)}); }
void expect(kv::Txn& txn, std::string key, Revision revision) {
  txn.compares.push_back(kv::Compare::mod_revision(std::move(key), revision));
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
    record.hash = codec::audit_hash(record);
    head.hash = record.hash;
    runtime::put(txn, keys::audit(root_, record.sequence), codec::encode(record));
  }
  runtime::put(txn, keys::audit_head(root_), codec::encode(head));
}

asio::awaitable<Result<Revision>> CellStore::commit(std::function<Result<Draft>()> build) {
  const auto deadline = Clock::now() + kCommitDeadline;
  core::Error last = fail(Errc::stale, "the record changed under this write");
  for (int attempt = 0; attempt < kCommitTries; ++attempt) {
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
      if (auto seen = co_await caught_up(done->revision, deadline); !seen) co_return seen.error();
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
    asio::steady_timer pause(co_await asio::this_coro::executor, std::chrono::milliseconds(20));
    co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  co_return last;
}

Result<CellStore::Draft> CellStore::draft_submit(const core::Plan& plan, const core::Request& request,
                                                 const std::string& id, const std::string& digest, core::WallMs now) {
  core::Operation op = plan.operation;
  op.id = id;
  op.author = who_of(request.caller);
  op.reason = request.reason;
  op.created_ms = now;
  op.writer = writer();
  if (!request.idempotency_key.empty()) op.idempotency = idempotency_digest(op.author, request.idempotency_key);
  const bool at_once = op.steps.empty();
  if (at_once) {
    op.state = core::OpState::done;
    op.finished_ms = now;
  }
  Draft d;
  d.key = keys::op(root_, id);
  d.value = codec::encode(op);
  expect(d.txn, d.key, 0);
  runtime::put(d.txn, d.key, d.value);
  if (!op.vm.empty()) {
    expect(d.txn, keys::vm_spec(root_, op.vm), plan.compare_spec);
    expect(d.txn, keys::vm_op(root_, op.vm), 0);
    if (!at_once) runtime::put(d.txn, keys::vm_op(root_, op.vm), id);
    if (plan.spec) runtime::put(d.txn, keys::vm_spec(root_, op.vm), codec::encode(*plan.spec));
    if (plan.layout) runtime::put(d.txn, keys::vm_layout(root_, op.vm), codec::encode(*plan.layout));
  }
  if (plan.image) {
    expect(d.txn, keys::image(root_, plan.image->name), 0);
    runtime::put(d.txn, keys::image(root_, plan.image->name), codec::encode(*plan.image));
  }
  core::AuditRecord record;
  record.who = op.author;
  record.why = op.reason;
  record.what = std::string(core::to_string(op.kind)) + " requested";
  record.object = plan.object;
  record.project = op.project;
  record.operation = id;
  std::vector<core::AuditRecord> records{record};
  if (at_once) {
    record.what = std::string(core::to_string(op.kind)) + " ended";
    record.result = "done";
    records.push_back(record);
  }
  add_audit(d.txn, std::move(records), now);
  if (!op.idempotency.empty()) {
    const auto key = keys::idempotency(root_, op.idempotency);
    expect(d.txn, key, 0);
    runtime::put(d.txn, key, digest + ' ' + id);
  }
  return d;
}

asio::awaitable<Result<std::optional<CellStore::Remembered>>> CellStore::remembered(std::string digest_key) {
  kv::Txn read;
  read.success.emplace_back(kv::get(keys::idempotency(root_, digest_key)));
  auto reply = co_await kv_.txn(std::move(read), Clock::now() + kPutDeadline);
  if (!reply) co_return reply.error();
  const auto* range = std::get_if<kv::RangeReply>(&reply->responses.front());
  if (range == nullptr || range->kvs.empty()) co_return std::optional<Remembered>{};
  const std::string& text = range->kvs.front().value;
  const auto space = text.find(' ');
  if (space == std::string::npos) co_return fail(Errc::internal, "idempotency record cannot be read");
  co_return std::optional<Remembered>{{text.substr(0, space), text.substr(space + 1), range->kvs.front().mod_revision}};
}

asio::awaitable<Result<CellStore::Accepted>> CellStore::submit(core::Request request, core::WallMs now) {
  Accepted accepted;
  const std::string digest = sha256(request_text(request));
  const auto who = who_of(request.caller);
  if (!request.idempotency_key.empty() && !request.dry_run) {
    auto before = co_await remembered(idempotency_digest(who, request.idempotency_key));
    if (!before) co_return before.error();
    if (*before) {
      if ((*before)->request_digest != digest) {
        co_return fail(Errc::conflict, "this idempotency key was used for another request; nothing was changed");
      }
      if (auto seen = co_await caught_up((*before)->revision, Clock::now() + kPutDeadline); !seen)
        co_return seen.error();
      accepted.operation = (*before)->operation;
      accepted.replayed = true;
      co_return accepted;
    }
  }
  const std::string id = new_operation_id(now);
  bool unchanged = false;
  auto done = co_await commit([&]() -> Result<Draft> {
    auto plan = core::plan(view_, request, self_);
    if (!plan) return plan.error();
    accepted.plan = *plan;
    unchanged = plan->unchanged || request.dry_run;
    if (unchanged) return fail(Errc::cancelled, "nothing to write");
    return draft_submit(*plan, request, id, digest, now);
  });
  if (unchanged) {
    accepted.revision = accepted.plan.compare_spec;
    co_return accepted;
  }
  if (!done) co_return done.error();
  accepted.operation = id;
  if (const auto* vm = view_.vm(accepted.plan.operation.vm)) accepted.revision = vm->spec.revision;
  co_return accepted;
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
    runtime::put(d.txn, keys::vm_right(root_, next.vm), codec::encode(right));
  }
  if (!core::finished(next.state)) return d;
  const auto effects = core::finish_effects(next);
  const core::VmView* vm = view_.vm(next.vm);
  if (effects.release_vm) del(d.txn, keys::vm_op(root_, next.vm));
  if (effects.put_spec) runtime::put(d.txn, keys::vm_spec(root_, next.vm), codec::encode(*effects.put_spec));
  if (effects.delete_vm) {
    del(d.txn, keys::vm_spec(root_, next.vm));
    del(d.txn, keys::vm_layout(root_, next.vm));
    del(d.txn, keys::vm_right(root_, next.vm));
    if (vm != nullptr) {
      for (const auto& [host, status] : vm->status) del(d.txn, keys::vm_status(root_, next.vm, host));
    }
  }
  if (effects.delete_image) del(d.txn, keys::image(root_, *effects.delete_image));
  if (view_.progress.contains(next.id)) del(d.txn, keys::progress(root_, next.id));
  core::AuditRecord record;
  record.who = next.author;
  record.why = next.reason;
  record.what = std::string(core::to_string(next.kind)) + " ended";
  record.object = next.vm.empty() ? "image/" + next.object : "vm/" + next.vm;
  record.project = next.project;
  record.operation = next.id;
  record.result = std::string(core::to_string(next.state)) + (next.error.empty() ? "" : ": " + next.error);
  add_audit(d.txn, {record}, now);
  return d;
}

asio::awaitable<Result<>> CellStore::end_step(std::string id, core::Work work, core::Outcome outcome,
                                              core::WallMs now) {
  auto done = co_await commit([&]() -> Result<Draft> {
    const auto it = view_.operations.find(id);
    if (it == view_.operations.end()) return fail(Errc::not_found, "operation " + id + " is gone");
    // Another write (a cancel) may have come in between: the end of the step is applied to what is there now.
    if (core::next_work(it->second.value, self_) != work) {
      return fail(Errc::conflict, "operation " + id + " has moved on");
    }
    const auto next = work.kind == core::Work::Kind::run ? core::after_run(it->second.value, work.step, outcome, now)
                                                         : core::after_undo(it->second.value, work.step, outcome, now);
    return draft_op(next, it->second.revision, &outcome, now);
  });
  if (!done) co_return done.error();
  co_return Result<>{};
}

asio::awaitable<Result<>> CellStore::cancel(std::string id, core::Who who, std::string reason, core::WallMs now) {
  auto done = co_await commit([&]() -> Result<Draft> {
    const auto it = view_.operations.find(id);
    if (it == view_.operations.end()) return fail(Errc::not_found, "there is no operation '" + id + "'");
    auto next = core::with_cancel(it->second.value);
    if (!next) return next.error();
    auto draft = draft_op(*next, it->second.revision, nullptr, now);
    if (!draft) return draft;
    core::AuditRecord record;
    record.who = who;
    record.why = reason;
    record.what = std::string(core::to_string(next->kind)) + " cancel requested";
    record.object = next->vm.empty() ? "image/" + next->object : "vm/" + next->vm;
    record.project = next->project;
    record.operation = id;
    add_audit(draft->txn, {record}, now);
    return draft;
  });
  if (!done) co_return done.error();
  co_return Result<>{};
}

asio::awaitable<Result<Revision>> CellStore::commit_right(std::string vm, core::Right right, Revision revision,
                                                          std::string why, core::WallMs now) {
  co_return co_await commit([&]() -> Result<Draft> {
    const auto* seen = view_.vm(vm);
    if (seen == nullptr || seen->right.revision != revision) {
      return fail(Errc::stale, "the run-right of " + vm + " has changed; decide again");
    }
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
