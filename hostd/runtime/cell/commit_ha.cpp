// The transactions of failover: the host lease, power-off intents, what a failover ends, maintenance, arming.
#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/cell/txn.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using core::Revision;

asio::awaitable<Result<>> CellStore::renew_lease(core::HostLease lease, bool void_intent, Deadline deadline) {
  kv::Txn txn;
  const auto* own = view_.host(self_);
  const auto fence = keys::host_fence(root_, self_);
  if (own != nullptr && own->fence.revision != 0 && (void_intent || own->fence.value.boot != lease.boot)) {
    // Written before this boot: whoever wanted this host off has had its wish.
    expect(txn, fence, own->fence.revision);
    del(txn, fence);
  } else {
    expect(txn, fence, 0);
  }
  runtime::put(txn, keys::host_lease(root_, self_), codec::encode(lease));
  auto reply = co_await kv_.txn(std::move(txn), deadline);
  if (!reply) co_return reply.error();
  if (!reply->succeeded) co_return fail(Errc::conflict, "another host has asked to switch this one off");
  renewed_at_ = reply->revision;
  co_return Result<>{};
}

asio::awaitable<Result<Revision>> CellStore::intend_fence(std::string host, std::string why, core::WallMs now) {
  co_return co_await commit([&]() -> Result<Draft> {
    const auto* target = view_.host(host);
    if (target == nullptr || target->lease.revision == 0) return fail(Errc::not_found, "no lease of host " + host);
    if (target->fence.revision != 0) return fail(Errc::conflict, "host " + host + " is being switched off already");
    if (!target->silent) return fail(Errc::conflict, "host " + host + " has renewed its lease");
    const auto* own = view_.host(self_);
    if (own != nullptr && own->fence.revision != 0) return fail(Errc::conflict, "this host is being switched off");
    core::FenceIntent intent;
    intent.by = self_;
    intent.boot = target->lease.value.boot;
    intent.why = why;
    intent.writer = writer();
    Draft d;
    d.key = keys::host_fence(root_, host);
    d.value = codec::encode(intent);
    expect(d.txn, d.key, 0);
    expect(d.txn, keys::host_lease(root_, host), target->lease.revision);
    // No duel: a host that is to be switched off itself switches nobody off.
    expect(d.txn, keys::host_fence(root_, self_), 0);
    runtime::put(d.txn, d.key, d.value);
    core::AuditRecord record;
    record.who = {self_, "host", {}};
    record.why = why;
    record.what = "power-off requested";
    record.object = "host/" + host;
    add_audit(d.txn, {record}, now);
    return d;
  });
}

asio::awaitable<Result<>> CellStore::end_fence(std::string host, Revision intent, bool confirmed, std::string words,
                                               core::WallMs now) {
  auto done = co_await commit([&]() -> Result<Draft> {
    const auto* target = view_.host(host);
    if (target == nullptr || target->fence.revision != intent) return fail(Errc::stale, "the intent has changed");
    core::FenceIntent next = target->fence.value;
    next.confirmed = true;
    next.writer = writer();
    Draft d;
    d.key = keys::host_fence(root_, host);
    expect(d.txn, d.key, intent);
    core::AuditRecord record;
    record.who = {self_, "host", {}};
    record.why = words;
    record.what = confirmed ? "power-off confirmed" : "power-off failed";
    record.object = "host/" + host;
    if (confirmed) {
      d.value = codec::encode(next);
      runtime::put(d.txn, d.key, d.value);
    } else {
      del(d.txn, d.key);
    }
    add_audit(d.txn, {record}, now);
    return d;
  });
  if (!done) co_return done.error();
  co_return Result<>{};
}

/// A failover takes the VM out of the hands of an operation whose host is lost. That one ends as undone; what it left
/// behind (a mark, an open window) is put right by the VM's new holder.
core::Operation CellStore::supersede(kv::Txn& txn, const core::Versioned<core::Operation>& old,
                                     const core::Operation& by) {
  core::Operation ended = old.value;
  ended.state = core::OpState::undone;
  ended.finished_ms = by.created_ms;
  ended.error = "ended by failover " + by.id + ": " + by.reason;
  ended.writer = writer();
  const auto* vm = view_.vm(by.vm);
  expect(txn, keys::op(root_, ended.id), old.revision);
  expect(txn, keys::vm_op(root_, by.vm), vm == nullptr ? 0 : vm->operation.revision);
  runtime::put(txn, keys::op(root_, ended.id), codec::encode(ended));
  if (view_.progress.contains(ended.id)) del(txn, keys::progress(root_, ended.id));
  return ended;
}

void CellStore::switch_maintenance(kv::Txn& txn, const core::Operation& op, bool on, core::WallMs now) const {
  const auto key = keys::host_maintenance(root_, op.target_host);
  const auto* host = view_.host(op.target_host);
  expect(txn, key, host == nullptr ? 0 : host->maintenance.revision);
  if (on)
    runtime::put(txn, key, codec::encode(core::Maintenance{op.author.name, op.reason, now}));
  else
    del(txn, key);
}

void CellStore::switch_armed(kv::Txn& txn, const core::Operation& op, bool armed, core::WallMs now) const {
  expect(txn, keys::disarmed(root_), view_.disarmed.revision);
  if (armed)
    del(txn, keys::disarmed(root_));
  else
    runtime::put(txn, keys::disarmed(root_), codec::encode(core::Disarmed{op.author.name, op.reason, now}));
}

}  // namespace bascule::runtime
