#include "hostd/runtime/cell/history.hpp"

#include <charconv>
#include <chrono>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/txn.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::chrono::seconds kDeadline{3};  // DESIGN section 4, renew_timeout
constexpr std::size_t kDeletesAtOnce = 50;    // in one transaction
static_assert(kDeletesAtOnce <= kv::kMaxOpsPerTxn && core::HistoryLimits::days <= kv::kMaxRangeLimit);

/// "web", 57 of "web/0000000000000000057/2026-11-28"; 0: it is no such key.
std::pair<std::string, core::Revision> parts(std::string_view key) {
  const auto slash = key.find('/');
  if (slash == std::string_view::npos) return {};
  const auto number = key.substr(slash + 1, key.find('/', slash + 1) - slash - 1);
  core::Revision incarnation = 0;
  std::from_chars(number.data(), number.data() + number.size(), incarnation);
  return {std::string(key.substr(0, slash)), incarnation};
}

}  // namespace

HistoryStore::HistoryStore(KvStore& store, const std::string& cell)
    : kv_(store), root_(keys::root(cell)), history_(keys::history_root(cell)) {}

std::string HistoryStore::cursor(const std::string& vm) const { return keys::history_vm(history_, vm); }

asio::awaitable<Result<HistoryDays>> HistoryStore::days(std::string vm, core::Revision incarnation, std::string from,
                                                        std::string to) {
  kv::Txn read;
  kv::Range range;
  range.key = keys::history_day(history_, vm, incarnation, from);
  range.end = kv::prefix_end(keys::history_day(history_, vm, incarnation, to));
  range.limit = static_cast<std::int64_t>(core::HistoryLimits::days) + 1;
  read.success.emplace_back(std::move(range));
  auto reply = co_await kv_.txn(std::move(read), Clock::now() + kDeadline);
  if (!reply) co_return reply.error();
  HistoryDays out;
  for (const auto& item : std::get<kv::RangeReply>(reply->responses.front()).kvs) {
    auto day = codec::decode<core::HistoryDay>(item.value);
    // One that cannot be read is a day that nobody saw; the others still tell of theirs.
    if (!day) {
      say(msg::history_unreadable, {.vm = vm}, "history {} cannot be read: {}", item.key, day.error().what);
      day = core::HistoryDay{};
      day->day = item.key.substr(item.key.rfind('/') + 1);
      day->since_ms = day->until_ms = core::history_day_start(day->day).value_or(0);
    }
    out.push_back({std::move(*day), item.create_revision, item.mod_revision});
  }
  co_return out;
}

asio::awaitable<Result<std::string>> HistoryStore::began(std::string vm, core::Revision incarnation) {
  const std::string prefix = keys::history(history_, vm, incarnation);
  kv::Txn read;
  kv::Range range = kv::all_under(prefix, 1);
  range.keys_only = true;
  read.success.emplace_back(std::move(range));
  auto reply = co_await kv_.txn(std::move(read), Clock::now() + kDeadline);
  if (!reply) co_return reply.error();
  const auto& kvs = std::get<kv::RangeReply>(reply->responses.front()).kvs;
  co_return kvs.empty() ? std::string() : kvs.front().key.substr(prefix.size());
}

asio::awaitable<Result<>> HistoryStore::write(std::string vm, core::Revision incarnation, HistoryDays days) {
  kv::Txn txn;
  txn.compares.push_back(kv::Compare::create_revision(keys::vm_spec(root_, vm), incarnation));
  for (auto& day : days) {
    std::string key = keys::history_day(history_, vm, incarnation, day.value.day);
    expect(txn, key, day.revision);
    put(txn, std::move(key), codec::encode(day.value));
  }
  auto reply = co_await kv_.txn(std::move(txn), Clock::now() + kDeadline);
  if (!reply) co_return reply.error();
  if (!reply->succeeded) co_return fail(Errc::stale, "another host was faster, or the VM is gone");
  co_return Result<>{};
}

asio::awaitable<Result<std::size_t>> HistoryStore::trim(std::string vm, core::Revision incarnation, std::size_t keep) {
  kv::Txn read;
  kv::Range range = kv::all_under(keys::history(history_, vm, incarnation));
  range.keys_only = true;
  read.success.emplace_back(std::move(range));
  auto reply = co_await kv_.txn(std::move(read), Clock::now() + kDeadline);
  if (!reply) co_return reply.error();
  const auto& kvs = std::get<kv::RangeReply>(reply->responses.front()).kvs;
  if (kvs.size() <= keep) co_return std::size_t{0};
  kv::Txn txn;
  const std::size_t gone = std::min(kvs.size() - keep, kDeletesAtOnce);
  for (std::size_t i = 0; i < gone; ++i) {
    expect(txn, kvs[i].key, kvs[i].mod_revision);
    del(txn, kvs[i].key);
  }
  auto done = co_await kv_.txn(std::move(txn), Clock::now() + kDeadline);
  if (!done) co_return done.error();
  if (!done->succeeded) co_return fail(Errc::stale, "another host was faster");
  co_return gone;
}

asio::awaitable<Result<std::string>> HistoryStore::sweep(std::string cursor, const core::CellView& view) {
  kv::Txn read;
  kv::Range range;
  range.key = std::max(cursor, history_);
  range.end = kv::prefix_end(history_);
  range.limit = static_cast<std::int64_t>(kDeletesAtOnce);
  range.keys_only = true;
  read.success.emplace_back(std::move(range));
  auto reply = co_await kv_.txn(std::move(read), Clock::now() + kDeadline);
  if (!reply) co_return reply.error();
  const auto& kvs = std::get<kv::RangeReply>(reply->responses.front()).kvs;
  if (kvs.empty()) co_return std::string();
  const auto [vm, incarnation] = parts(std::string_view(kvs.front().key).substr(history_.size()));
  const std::string prefix = keys::history(history_, vm, incarnation);
  const auto* known = view.vm(vm);
  const core::Revision now = known == nullptr ? 0 : known->spec.created;
  // A key that is none of ours is passed by, and the VM that there is: it is the last of its name.
  if (incarnation == 0) co_return kvs.front().key + '\0';
  if (now == incarnation) co_return kv::prefix_end(keys::history_vm(history_, vm));
  // What the view may not have heard of yet is left alone.
  if (view.revision < incarnation) co_return kv::prefix_end(prefix);
  if (!view.synced) co_return fail(Errc::unavailable, "the view is not up to date");
  kv::Txn txn;
  // It is as the view says now too: a VM that is made, or made again, in between keeps what is written of it.
  txn.compares.push_back(kv::Compare::create_revision(keys::vm_spec(root_, vm), now));
  for (const auto& item : kvs) {
    if (item.key.starts_with(prefix)) del(txn, item.key);
  }
  auto done = co_await kv_.txn(std::move(txn), Clock::now() + kDeadline);
  if (!done) co_return done.error();
  if (!done->succeeded) co_return fail(Errc::stale, "VM " + vm + " changed meanwhile");
  co_return prefix;
}

}  // namespace bascule::runtime
