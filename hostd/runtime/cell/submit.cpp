// A request becomes an operation: planned on the newest view, committed with its audit record and the VM's lock.
#include <fmt/format.h>

#include "hostd/codec/codec.hpp"
#include "hostd/codec/digest.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/cell/tell.hpp"
#include "hostd/runtime/cell/txn.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using core::Revision;

namespace {

constexpr std::chrono::seconds kPutDeadline{3};

/// A new id that sorts by time and is never used twice: milliseconds, and the digest of what no other writer has.
std::string new_operation_id(core::WallMs now, const core::Writer& writer) {
  const auto digest = codec::sha256(fmt::format("{} {} {}", writer.host, writer.instance, writer.number));
  return fmt::format("op-{:011x}-{}", now, digest.substr(0, 16));
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
  return codec::sha256(who.role + '/' + who.project + '/' + who.name + '/' + key);
}

/// What a request asks for, as text: two requests with one idempotency key must be the same.
std::string request_text(const core::Request& request) {
  struct Text {
    std::string operator()(const core::PutVm& v) const { return "put " + codec::encode(v.spec); }
    std::string operator()(const core::StartVm& v) const {
      return "start " + v.vm + (v.with_failed_disk ? " with a failed disk" : "");
    }
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
    std::string operator()(const core::FailoverVm& v) const {
      return fmt::format("failover {} {} {}", v.vm, v.host_is_off, v.sacrifice);
    }
    std::string operator()(const core::RestartVm& v) const { return fmt::format("restart {} {}", v.vm, v.elsewhere); }
    std::string operator()(const core::FailbackVm& v) const { return "failback " + v.vm + ' ' + v.policy; }
    std::string operator()(const core::CopyVm& v) const { return "copy " + v.vm; }
    std::string operator()(const core::RepairVm& v) const { return "repair " + v.vm; }
    std::string operator()(const core::AdoptVm& v) const { return "adopt " + v.vm + ' ' + v.host; }
    std::string operator()(const core::ProveWatchdog& v) const { return "prove " + v.host; }
    std::string operator()(const core::SetMaintenance& v) const {
      return fmt::format("maintenance {} {}", v.host, v.on);
    }
    std::string operator()(const core::SetArmed& v) const { return fmt::format("arm {}", v.armed); }
  };
  return std::visit(Text{}, request.verb) + '\n' + request.reason;
}

}  // namespace

Result<CellStore::Draft> CellStore::draft_submit(const core::Plan& plan, const core::Request& request,
                                                 const std::string& id, const std::string& digest, core::WallMs now,
                                                 std::optional<core::Operation>& ended) {
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
  std::vector<core::AuditRecord> records;
  if (!op.vm.empty()) {
    expect(d.txn, keys::vm_spec(root_, op.vm), plan.compare_spec);
    if (plan.superseded)
      records.push_back(end_record(ended.emplace(supersede(d.txn, *plan.superseded, op))));
    else
      expect(d.txn, keys::vm_op(root_, op.vm), 0);
    if (!at_once) runtime::put(d.txn, keys::vm_op(root_, op.vm), id);
    if (plan.spec) runtime::put(d.txn, keys::vm_spec(root_, op.vm), codec::encode(*plan.spec));
    if (plan.layout) runtime::put(d.txn, keys::vm_layout(root_, op.vm), codec::encode(*plan.layout));
  }
  if (plan.maintenance) switch_maintenance(d.txn, op, *plan.maintenance, now);
  if (plan.armed) switch_armed(d.txn, op, *plan.armed, now);
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
  records.push_back(record);
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
  const std::string digest = codec::sha256(request_text(request));
  const auto who = who_of(request.caller);
  if (!request.idempotency_key.empty() && !request.dry_run) {
    auto before = co_await remembered(idempotency_digest(who, request.idempotency_key));
    if (!before) co_return before.error();
    if (*before) {
      if ((*before)->request_digest != digest) {
        co_return fail(Errc::conflict, "this idempotency key was used for another request; nothing was changed");
      }
      if (auto seen = co_await caught_up((*before)->revision, Clock::now() + kPutDeadline); !seen) {
        co_return fail(Errc::outcome_unknown,
                       "operation " + (*before)->operation +
                           " was made by this request, and this host has not heard of it from etcd yet");
      }
      accepted.operation = (*before)->operation;
      accepted.replayed = true;
      co_return accepted;
    }
  }
  const std::string id = new_operation_id(now, writer());
  bool unchanged = false;
  std::optional<core::Operation> ended;  // by this one
  auto done = co_await commit([&]() -> Result<Draft> {
    auto plan = core::plan(view_, request, self_);
    if (!plan) return plan.error();
    accepted.plan = *plan;
    unchanged = plan->unchanged || request.dry_run;
    if (unchanged) return fail(Errc::cancelled, "nothing to write");
    return draft_submit(*plan, request, id, digest, now, ended);
  });
  if (unchanged) {
    accepted.revision = accepted.plan.compare_spec;
    co_return accepted;
  }
  if (!done) co_return done.error();
  accepted.operation = id;
  if (ended) tell_ended(*ended);
  core::Operation begun = accepted.plan.operation;
  begun.id = id;
  begun.author = who;
  begun.reason = request.reason;
  tell_begun(begun);
  if (begun.steps.empty()) {
    begun.state = core::OpState::done;
    tell_ended(begun);
  }
  if (const auto* vm = view_.vm(accepted.plan.operation.vm)) accepted.revision = vm->spec.revision;
  co_return accepted;
}

}  // namespace bascule::runtime
