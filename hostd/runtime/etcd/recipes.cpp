#include "hostd/runtime/etcd/recipes.hpp"

#include <algorithm>
#include <utility>

#include "hostd/runtime/clock.hpp"

namespace bascule::runtime {
namespace {

namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{20};
constexpr milliseconds kLongestPause{300};
constexpr int kMaxAttempts = 256;  // with the pauses above, over a minute: deadlines are seconds

Clock::time_point now() { return Clock::now(); }

asio::awaitable<void> pause_until(milliseconds length, Deadline deadline) {
  co_await pause(std::min(now() + length, deadline) - now());
}

bool writes_key(const kv::Txn& txn, const std::string& key) {
  return std::ranges::any_of(txn.success, [&key](const kv::Op& op) {
    const auto* put = std::get_if<kv::Put>(&op);
    const auto* del = std::get_if<kv::Delete>(&op);
    return (put != nullptr && put->key == key) || (del != nullptr && del->key == key);
  });
}

Result<std::size_t> guard_index(const GuardedWrite& write) {
  const auto& compares = write.txn.compares;
  const bool by_revision = std::ranges::all_of(
      compares, [](const kv::Compare& compare) { return compare.target == kv::Compare::Target::mod_revision; });
  const auto guard = std::ranges::find(compares, write.key, &kv::Compare::key);
  if (!by_revision || guard == compares.end() || compares.size() > kMaxGuards || !write.txn.failure.empty() ||
      !writes_key(write.txn, write.key) || !write.ours) {
    return fail(Errc::invalid, "The write on " + write.key +
                                   " is not guarded by a compare of that key's mod revision that it moves; " +
                                   "nothing was sent.");
  }
  return static_cast<std::size_t>(guard - compares.begin());
}

Result<Found> found_by(const kv::TxnReply& reply, std::size_t guards) {
  Found found;
  for (const kv::OpReply& response : reply.responses) {
    const auto* range = std::get_if<kv::RangeReply>(&response);
    if (range == nullptr || range->kvs.size() > 1) break;
    if (range->kvs.empty()) {
      found.emplace_back();
    } else {
      found.emplace_back(range->kvs.front());
    }
  }
  if (found.size() == guards) return found;
  return fail(Errc::internal, "The store's answer does not fit the guarded write; its compare did not hold.");
}

/// Is there a compare that failed and can never hold again? A mod revision other than 0 never comes
/// back.
bool failed_for_good(const std::vector<kv::Compare>& compares, const Found& found) {
  for (std::size_t i = 0; i < compares.size(); ++i) {
    const kv::Revision there = found[i] ? found[i]->mod_revision : 0;
    if (compares[i].number != 0 && there != compares[i].number) return true;
  }
  return false;
}

/// The answer to a guarded write whose compares did not hold.
Result<Commit> judge(const GuardedWrite& write, std::size_t guard, const Found& found, bool copies_about) {
  const std::optional<kv::KeyValue>& there = found[guard];
  const kv::Revision revision = there ? there->mod_revision : 0;
  if (revision != write.txn.compares[guard].number && write.ours(there ? &*there : nullptr)) {
    return Commit{revision, 1, true};
  }
  // safety: "stale" lets the caller decide anew. That is allowed only when no delayed copy can
  // still commit. [model: U_revision, DELAY]
  if (!copies_about || failed_for_good(write.txn.compares, found)) {
    return fail(Errc::stale,
                "The write on " + write.key + " was not made: another write came first. Read again and decide anew.");
  }
  return fail(Errc::outcome_unknown, "The write on " + write.key +
                                         " did not hold now, but an earlier copy of it may still be on its way. " +
                                         "Nothing may be decided until it is settled; it is tried again.");
}

}  // namespace

asio::awaitable<Result<Commit>> commit_guarded(KvStore& store, GuardedWrite write, GuardTiming timing,
                                               Found* found_out) {
  const auto guard = guard_index(write);
  if (!guard) co_return guard.error();
  for (const kv::Compare& compare : write.txn.compares) write.txn.failure.emplace_back(kv::get(compare.key));
  bool copies_about = write.sent_before;
  core::Error last = fail(Errc::unavailable, "There was no time to send the write on " + write.key + ".");
  milliseconds wait = kFirstPause;
  for (int attempt = 1; attempt <= kMaxAttempts && now() < timing.deadline; ++attempt) {
    kv::Txn copy = write.txn;
    const Deadline until = std::min(timing.deadline, now() + timing.attempt);
    const Result<kv::TxnReply> reply = co_await store.txn(std::move(copy), until);
    if (reply && reply->succeeded) co_return Commit{reply->revision, attempt, false};
    if (reply) {
      Result<Found> found = found_by(*reply, write.txn.compares.size());
      if (!found) co_return copies_about ? fail(Errc::outcome_unknown, found.error().what) : found.error();
      if (found_out != nullptr) *found_out = *found;
      Result<Commit> verdict = judge(write, *guard, *found, copies_about);
      if (verdict) verdict->attempts = attempt;
      if (verdict || verdict.error().code != Errc::outcome_unknown) co_return verdict;
      last = verdict.error();
    } else {
      last = reply.error();
      if (last.code == Errc::outcome_unknown) copies_about = true;
      const bool again = last.code == Errc::outcome_unknown || last.code == Errc::unavailable;
      if (!again && !copies_about) co_return last;
    }
    co_await pause_until(wait, timing.deadline);
    wait = std::min(wait * 2, kLongestPause);
  }
  if (copies_about) last.code = Errc::outcome_unknown;
  co_return last;
}

asio::awaitable<Result<kv::TxnReply>> read_decision(KvStore& store, std::string probe_key, std::vector<kv::Op> ranges,
                                                    GuardTiming timing) {
  kv::Txn txn;
  txn.success = std::move(ranges);
  if (!kv::read_only(txn))
    co_return fail(Errc::invalid, "A read for a decision may hold only ranges; nothing was sent.");
  txn.success.emplace_back(kv::Put{std::move(probe_key), {}});
  core::Error last = fail(Errc::unavailable, "There was no time to send the read.");
  milliseconds wait = kFirstPause;
  for (int attempt = 1; attempt <= kMaxAttempts && now() < timing.deadline; ++attempt) {
    kv::Txn copy = txn;
    const Deadline until = std::min(timing.deadline, now() + timing.attempt);
    Result<kv::TxnReply> reply = co_await store.txn(std::move(copy), until);
    if (reply) {
      if (!reply->responses.empty()) reply->responses.pop_back();  // the probe's own
      co_return reply;
    }
    last = reply.error();
    // The probe key means nothing, so a write of it with unknown outcome needs no settling.
    if (last.code != Errc::outcome_unknown && last.code != Errc::unavailable) co_return last;
    co_await pause_until(wait, timing.deadline);
    wait = std::min(wait * 2, kLongestPause);
  }
  last.code = Errc::unavailable;
  co_return last;
}

namespace {

/// One pass over all pages. Error stale: its revision was compacted on the way.
asio::awaitable<Result<Listing>> list_once(KvStore& store, const std::string& prefix, Deadline deadline,
                                           std::int64_t page_size) {
  Listing all;
  kv::Range page = kv::all_under(prefix, page_size);
  while (true) {
    kv::Txn txn;
    txn.success.emplace_back(page);
    Result<kv::TxnReply> reply = co_await store.txn(std::move(txn), deadline);
    if (!reply && reply.error().code == Errc::exhausted && page.limit > 1) {
      page.limit = std::max<std::int64_t>(1, page.limit / 4);  // an answer too large: smaller pages
      continue;
    }
    if (!reply) co_return reply.error();
    auto* range = reply->responses.size() == 1 ? std::get_if<kv::RangeReply>(&reply->responses.front()) : nullptr;
    if (range == nullptr || (range->more && range->kvs.empty())) {
      co_return fail(Errc::internal, "The store's answer to a listing of " + prefix + " is not a page; list again.");
    }
    if (page.revision == 0) page.revision = all.revision = reply->revision;
    std::ranges::move(range->kvs, std::back_inserter(all.kvs));
    if (!range->more) co_return all;
    if (all.kvs.size() >= kv::kMaxListKeys) {
      co_return fail(Errc::exhausted, "There are more than " + std::to_string(kv::kMaxListKeys) + " keys under " +
                                          prefix + ", the limit of a listing; remove old ones.");
    }
    page.key = all.kvs.back().key + '\0';
  }
}

}  // namespace

asio::awaitable<Result<Listing>> range_all(KvStore& store, std::string prefix, Deadline deadline,
                                           std::int64_t page_size) {
  core::Error last = fail(Errc::unavailable, "The listing of " + prefix + " was not begun.");
  for (int pass = 0; pass <= kMaxListRestarts && now() < deadline; ++pass) {
    Result<Listing> listing = co_await list_once(store, prefix, deadline, page_size);
    if (listing || listing.error().code != Errc::stale) co_return listing;
    last = listing.error();
  }
  last.code = Errc::unavailable;
  co_return last;
}

}  // namespace bascule::runtime
