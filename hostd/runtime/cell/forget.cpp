// Deletes finished operations and what goes with them. Losing is harmless here, so nothing is repeated or settled.
#include "hostd/core/prune.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Result;

namespace {

constexpr std::chrono::seconds kForgetDeadline{3};  // as every single write, DESIGN section 4, renew_timeout
static_assert(3 * core::kForgetBatch <= kv::kMaxOpsPerTxn);

}  // namespace

// A delayed copy of this write deletes what was decided then or, by its compares, nothing. A delayed copy of the write
// that made an operation cannot bring it back, though its key is absent again: it compares the audit head, which has
// moved since. An idempotency key lives exactly as long as its operation, so the operation's revision guards both.
asio::awaitable<Result<std::size_t>> CellStore::forget_old(core::WallMs now) {
  const auto ids = core::prune(view_, now);
  if (ids.empty()) co_return std::size_t{0};
  kv::Txn txn;
  for (const auto& id : ids) {
    const auto& op = view_.operations.at(id);
    txn.compares.push_back(kv::Compare::mod_revision(keys::op(root_, id), op.revision));
    txn.success.emplace_back(kv::Delete{keys::op(root_, id)});
    // A last report of progress may have come in as the operation ended.
    txn.success.emplace_back(kv::Delete{keys::progress(root_, id)});
    const auto& digest = op.value.idempotency;
    if (!digest.empty()) txn.success.emplace_back(kv::Delete{keys::idempotency(root_, digest)});
  }
  auto reply = co_await write(std::move(txn), Clock::now() + kForgetDeadline);
  if (!reply) co_return reply.error();
  if (!reply->succeeded) co_return core::fail(core::Errc::stale, "another host was faster");
  co_return ids.size();
}

}  // namespace bascule::runtime
