#include "tests/testkit/kv_state.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace bascule::testkit {
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;

namespace {

using Keys = KvState::Keys;

bool holds(const Keys& keys, const kv::Compare& compare) {
  const auto found = keys.find(compare.key);
  const kv::KeyValue nothing;
  const kv::KeyValue& there = found == keys.end() ? nothing : found->second;
  switch (compare.target) {
    case kv::Compare::Target::mod_revision: return there.mod_revision == compare.number;
    case kv::Compare::Target::create_revision: return there.create_revision == compare.number;
    case kv::Compare::Target::version: return there.version == compare.number;
    case kv::Compare::Target::value: return found != keys.end() && there.value == compare.value;
  }
  return false;
}

kv::RangeReply read(const Keys& keys, const kv::Range& range) {
  kv::RangeReply reply;
  const auto limit = static_cast<std::size_t>(range.limit == 0 ? kv::kMaxRangeLimit : range.limit);
  const bool to_the_end = range.end == std::string(1, '\0');
  for (auto it = keys.lower_bound(range.key); it != keys.end(); ++it) {
    if (range.end.empty() ? it->first != range.key : !to_the_end && it->first >= range.end) break;
    if (reply.kvs.size() == limit) {
      reply.more = true;
      break;
    }
    reply.kvs.push_back(it->second);
    if (range.keys_only) reply.kvs.back().value.clear();
  }
  return reply;
}

/// etcd refuses a transaction that touches a key twice in one branch.
bool writes_twice(const std::vector<kv::Op>& ops) {
  std::set<std::string> seen;
  return std::ranges::any_of(ops, [&seen](const kv::Op& op) {
    const auto* put = std::get_if<kv::Put>(&op);
    return put != nullptr && !seen.insert(put->key).second;
  });
}

}  // namespace

KvState::Keys KvState::as_of(kv::Revision at) const {
  Keys past;
  for (const kv::Event& event : history) {
    if (event.kv.mod_revision > at) break;
    if (event.kind == kv::Event::Kind::del) {
      past.erase(event.kv.key);
    } else {
      past[event.kv.key] = event.kv;
    }
  }
  return past;
}

kv::OpReply KvState::carry_out(const kv::Op& op, kv::Revision next) {
  if (const auto* range = std::get_if<kv::Range>(&op)) {
    return range->revision == 0 ? read(keys, *range) : read(as_of(range->revision), *range);
  }
  if (const auto* del = std::get_if<kv::Delete>(&op)) {
    if (keys.erase(del->key) == 0) return kv::DeleteReply{0};
    kv::KeyValue gone;
    gone.key = del->key;
    gone.mod_revision = next;
    history.push_back({kv::Event::Kind::del, gone});
    revision = next;
    return kv::DeleteReply{1};
  }
  const auto& put = std::get<kv::Put>(op);
  kv::KeyValue& there = keys[put.key];
  if (there.version == 0) there.create_revision = next;
  there.key = put.key;
  there.value = put.value;
  there.mod_revision = next;
  ++there.version;
  history.push_back({kv::Event::Kind::put, there});
  revision = next;
  return kv::PutReply{};
}

Result<kv::TxnReply> KvState::apply(const kv::Txn& txn) {
  if (const auto good = kv::check_limits(txn); !good) return good.error();
  if (writes_twice(txn.success) || writes_twice(txn.failure)) {
    return fail(Errc::refused, "duplicate key given in txn request");
  }
  kv::TxnReply reply;
  reply.succeeded =
      std::ranges::all_of(txn.compares, [this](const kv::Compare& compare) { return holds(keys, compare); });
  const std::vector<kv::Op>& branch = reply.succeeded ? txn.success : txn.failure;
  for (const kv::Op& op : branch) {
    const auto* range = std::get_if<kv::Range>(&op);
    if (range == nullptr || range->revision == 0) continue;
    if (range->revision < compacted) return fail(Errc::stale, "required revision has been compacted");
    if (range->revision > revision) return fail(Errc::refused, "required revision is a future revision");
  }
  const kv::Revision next = revision + 1;
  for (const kv::Op& op : branch) reply.responses.push_back(carry_out(op, next));
  reply.revision = revision;
  return reply;
}

}  // namespace bascule::testkit
