#include "hostd/core/kv.hpp"

namespace bascule::core::kv {
namespace {

Result<> check_key(const std::string& key) {
  if (key.empty()) return fail(Errc::invalid, "A key of the store must not be empty; nothing was sent.");
  if (key.size() <= kMaxKeyBytes) return {};
  return fail(Errc::invalid, "A key of " + std::to_string(key.size()) + " bytes is over the limit of " +
                                 std::to_string(kMaxKeyBytes) + "; nothing was sent.");
}

Result<> check_value(const std::string& key, const std::string& value) {
  if (value.size() <= kMaxValueBytes) return {};
  return fail(Errc::invalid, "The value for " + key + " has " + std::to_string(value.size()) +
                                 " bytes, over the limit of " + std::to_string(kMaxValueBytes) + "; nothing was sent.");
}

Result<> check_range(const Range& range) {
  if (range.limit < 0 || range.limit > kMaxRangeLimit || range.revision < 0) {
    return fail(Errc::invalid,
                "The range at " + range.key + " has a limit or revision outside its bounds; " + "nothing was sent.");
  }
  if (range.key.empty()) return check_key(range.key);
  // One byte more than a key: the place just after the longest key, where the next page begins.
  if (range.key.size() <= kMaxKeyBytes + 1 && range.end.size() <= kMaxKeyBytes + 1) return {};
  return fail(Errc::invalid, "The range at " + range.key.substr(0, kMaxKeyBytes) +
                                 " has a bound over the limit of a key; nothing was sent.");
}

Result<> check_op(const Op& op, std::size_t& bytes) {
  if (const auto* range = std::get_if<Range>(&op)) {
    bytes += range->key.size() + range->end.size();
    return check_range(*range);
  }
  if (const auto* del = std::get_if<Delete>(&op)) {
    bytes += del->key.size();
    return check_key(del->key);
  }
  const auto& put = std::get<Put>(op);
  bytes += put.key.size() + put.value.size();
  if (auto key = check_key(put.key); !key) return key;
  return check_value(put.key, put.value);
}

}  // namespace

Result<> check_limits(const Txn& txn) {
  if (txn.compares.size() > kMaxOpsPerTxn || txn.success.size() > kMaxOpsPerTxn || txn.failure.size() > kMaxOpsPerTxn) {
    return fail(Errc::invalid, "A transaction may hold " + std::to_string(kMaxOpsPerTxn) +
                                   " compares and as many operations in each branch; nothing was sent.");
  }
  std::size_t bytes = 0;
  for (const Compare& compare : txn.compares) {
    bytes += compare.key.size() + compare.value.size();
    if (auto key = check_key(compare.key); !key) return key;
    if (auto value = check_value(compare.key, compare.value); !value) return value;
    if (compare.number < 0) {
      return fail(Errc::invalid, "The compare on " + compare.key + " is negative; nothing was sent.");
    }
  }
  for (const auto* branch : {&txn.success, &txn.failure}) {
    for (const Op& op : *branch) {
      if (auto good = check_op(op, bytes); !good) return good;
    }
  }
  if (bytes <= kMaxTxnBytes) return {};
  return fail(Errc::invalid, "A transaction of " + std::to_string(bytes) + " bytes is over the limit of " +
                                 std::to_string(kMaxTxnBytes) + "; nothing was sent.");
}

}  // namespace bascule::core::kv
