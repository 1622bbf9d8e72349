// Alerts in the cell: written by compare, one attempt; what a person does to them goes with its audit record.
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

namespace {

constexpr std::chrono::seconds kAlertDeadline{3};  // as every single write, DESIGN section 4, renew_timeout
static_assert(core::AlertLimits::bundle <= kv::kMaxOpsPerTxn && core::AlertLimits::forget_batch <= kv::kMaxOpsPerTxn);

core::AuditRecord audit_of(const core::Who& who, const std::string& reason, const std::string& what,
                           const std::string& id) {
  core::AuditRecord record;
  record.who = who;
  record.why = reason;
  record.what = what;
  record.object = "alert/" + id;
  return record;
}

}  // namespace

asio::awaitable<Result<>> CellStore::write_alerts(core::AlertWrite changes) {
  kv::Txn txn;
  for (const auto& change : changes) {
    const auto key = keys::alert(root_, change.id);
    expect(txn, key, change.revision);
    if (change.next)
      runtime::put(txn, key, codec::encode(*change.next));
    else
      del(txn, key);
  }
  auto reply = co_await write(std::move(txn), Clock::now() + kAlertDeadline);
  if (!reply) co_return reply.error();
  auto seen = co_await caught_up(reply->revision, Clock::now() + kAlertDeadline);
  if (!reply->succeeded) co_return fail(Errc::stale, "another host was faster");
  co_return seen;
}

asio::awaitable<Result<>> CellStore::test_alert(std::string id, core::Who who, std::string reason, core::WallMs now) {
  bool there = false;
  auto done = co_await commit([&]() -> Result<Draft> {
    if (auto busy = core::restore_at_work(view_)) return *busy;
    there = alerts_.contains(id);
    if (there) return fail(Errc::cancelled, "it was made before");
    if (alerts_.size() >= core::AlertLimits::most) return fail(Errc::exhausted, "too many alerts stand");
    Draft d;
    d.key = keys::alert(root_, id);
    d.value = codec::encode(core::test_alert(id, who.name, reason, self_, now));
    expect(d.txn, d.key, 0);
    runtime::put(d.txn, d.key, d.value);
    add_audit(d.txn, {audit_of(who, reason, "alert test requested", id)}, now);
    return d;
  });
  if (!done && !there) co_return done.error();
  co_return Result<>{};
}

asio::awaitable<Result<>> CellStore::acknowledge(std::string id, core::Who who, std::string reason, core::WallMs now) {
  auto done = co_await commit([&]() -> Result<Draft> {
    if (auto busy = core::restore_at_work(view_)) return *busy;
    const auto it = alerts_.find(id);
    if (it == alerts_.end()) return fail(Errc::not_found, "there is no alert '" + id + "'");
    auto next = core::acknowledged(it->second.value, who.name, reason, now);
    if (!next) return next.error();
    Draft d;
    d.key = keys::alert(root_, id);
    d.value = codec::encode(*next);
    expect(d.txn, d.key, it->second.revision);
    runtime::put(d.txn, d.key, d.value);
    add_audit(d.txn, {audit_of(who, reason, "alert acknowledged", id)}, now);
    return d;
  });
  if (!done) co_return done.error();
  co_return Result<>{};
}

}  // namespace bascule::runtime
