// What a host tells the cell about itself and its VMs, and reading the audit chain. Information: a lost write is
// repeated by the next change, nothing is decided on it.
#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::chrono::seconds kPutDeadline{3};  // DESIGN section 4, renew_timeout

void put(kv::Txn& txn, std::string key, std::string value) {
  txn.success.emplace_back(kv::Put{std::move(key), std::move(value)});
}
void expect(kv::Txn& txn, std::string key, core::Revision revision) {
  txn.compares.push_back(kv::Compare::mod_revision(std::move(key), revision));
}

}  // namespace

asio::awaitable<Result<kv::TxnReply>> CellStore::write(kv::Txn txn, Deadline deadline) {
  if (!refusal_.empty()) co_return fail(Errc::refused, refusal_);
  co_return co_await kv_.txn(std::move(txn), deadline);
}

asio::awaitable<Result<>> CellStore::put_status(std::string vm, core::VmStatus status) {
  // Only beside a layout: a late report must not bring back the keys of a VM that was removed.
  kv::Txn txn;
  txn.compares.push_back(kv::Compare{keys::vm_layout(root_, vm),
                                     kv::Compare::Target::mod_revision,
                                     view_.vm(vm) == nullptr ? 0 : view_.vm(vm)->layout.revision,
                                     {}});
  if (txn.compares.front().number == 0) co_return Result<>{};
  ::bascule::runtime::put(txn, keys::vm_status(root_, vm, self_), codec::encode(status));
  auto reply = co_await write(std::move(txn), Clock::now() + kPutDeadline);
  if (!reply) co_return reply.error();
  if (!reply->succeeded) co_return fail(Errc::stale, "the layout changed");
  co_return Result<>{};
}
asio::awaitable<Result<>> CellStore::put_info(core::HostInfo info, std::optional<core::Revision> seen) {
  kv::Txn txn;
  const std::string key = keys::host_info(root_, self_);
  if (seen) expect(txn, key, *seen);
  ::bascule::runtime::put(txn, key, codec::encode(info));
  auto reply = co_await write(std::move(txn), Clock::now() + kPutDeadline);
  if (!reply) co_return reply.error();
  if (!reply->succeeded) co_return fail(Errc::stale, "the host's record has changed");
  co_return Result<>{};
}
asio::awaitable<Result<>> CellStore::put_progress(std::string op, core::Progress progress) {
  kv::Txn txn;
  const auto it = view_.operations.find(op);
  if (it == view_.operations.end() || core::finished(it->second.value.state)) co_return Result<>{};
  expect(txn, keys::op(root_, op), it->second.revision);
  ::bascule::runtime::put(txn, keys::progress(root_, op), codec::encode(progress));
  auto reply = co_await write(std::move(txn), Clock::now() + kPutDeadline);
  if (!reply) co_return reply.error();
  co_return Result<>{};
}

asio::awaitable<Result<std::vector<core::AuditRecord>>> CellStore::audit(std::int64_t from, std::size_t limit) {
  kv::Txn read;
  kv::Range range;
  range.key = keys::audit(root_, std::max<std::int64_t>(from, 1));
  range.end = kv::prefix_end(keys::audit_prefix(root_));
  range.limit = static_cast<std::int64_t>(std::min<std::size_t>(limit, 500));
  read.success.emplace_back(std::move(range));
  auto reply = co_await kv_.txn(std::move(read), Clock::now() + kPutDeadline);
  if (!reply) co_return reply.error();
  std::vector<core::AuditRecord> out;
  for (const auto& item : std::get<kv::RangeReply>(reply->responses.front()).kvs) {
    auto record = codec::decode<core::AuditRecord>(item.value);
    if (!record) co_return fail(Errc::internal, "audit record " + item.key + " cannot be read: " + record.error().what);
    out.push_back(std::move(*record));
  }
  co_return out;
}

}  // namespace bascule::runtime
