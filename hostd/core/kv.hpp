// What the arbiter store is asked and what it answers: a key-value store with one revision counter
// for all keys, compare-guarded transactions and ordered watches (etcd's model, cut to what is
// used). Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::core::kv {

/// Grows by one at every transaction that writes; never goes back unless the store was restored
/// from a copy.
using Revision = std::int64_t;

inline constexpr std::size_t kMaxOpsPerTxn = 128;          ///< etcd's default --max-txn-ops, for each of its lists
inline constexpr std::size_t kMaxKeyBytes = 512;           ///< our longest key is about 150 bytes
inline constexpr std::size_t kMaxValueBytes = 256 * 1024;  ///< the largest record the codec accepts
inline constexpr std::size_t kMaxTxnBytes = 1024 * 1024;   ///< below etcd's --max-request-bytes, 1.5 MiB
inline constexpr std::int64_t kMaxRangeLimit = 1000;       ///< keys in one range answer
inline constexpr std::int64_t kPageSize = 200;             ///< keys asked for at once when listing
inline constexpr std::size_t kMaxListKeys = 100'000;       ///< keys in one whole listing

struct KeyValue {
  std::string key;
  std::string value;
  Revision create_revision{0};
  Revision mod_revision{0};
  std::int64_t version{0};  ///< 1 at creation, +1 at every put; 0 only in a delete event
  bool operator==(const KeyValue&) const = default;
};

/// One equality that must hold when the transaction is applied.
struct Compare {
  enum class Target : std::uint8_t { mod_revision, create_revision, version, value };
  std::string key;
  Target target{Target::mod_revision};
  std::int64_t number{0};  ///< for every target but value
  std::string value;       ///< for Target::value
  bool operator==(const Compare&) const = default;

  static Compare mod_revision(std::string key, Revision revision) {
    return {std::move(key), Target::mod_revision, revision, {}};
  }
  static Compare create_revision(std::string key, Revision revision) {
    return {std::move(key), Target::create_revision, revision, {}};
  }
  static Compare version_is(std::string key, std::int64_t version) {
    return {std::move(key), Target::version, version, {}};
  }
  static Compare value_is(std::string key, std::string value) {
    return {std::move(key), Target::value, 0, std::move(value)};
  }
  /// The key does not exist.
  static Compare absent(std::string key) { return mod_revision(std::move(key), 0); }
};

struct Put {
  std::string key;
  std::string value;
  bool operator==(const Put&) const = default;
};
struct Delete {
  std::string key;
  bool operator==(const Delete&) const = default;
};
/// Keys from `key` up to, not including, `end`; the one key when `end` is empty. In key order.
struct Range {
  std::string key;
  std::string end;
  std::int64_t limit{0};  ///< 0: kMaxRangeLimit
  bool keys_only{false};
  Revision revision{0};  ///< 0: as of this transaction
  bool operator==(const Range&) const = default;
};
using Op = std::variant<Put, Delete, Range>;

/// The end of the range of all keys that begin with `prefix`.
inline std::string prefix_end(std::string prefix) {
  while (!prefix.empty()) {
    const auto last = static_cast<unsigned char>(prefix.back());
    if (last < 0xff) {
      prefix.back() = static_cast<char>(last + 1);
      return prefix;
    }
    prefix.pop_back();
  }
  return std::string(1, '\0');  // etcd's word for "to the end"
}
inline Range get(std::string key) { return {std::move(key), {}, 1, false, 0}; }
inline Range all_under(std::string prefix, std::int64_t limit = 0) {
  std::string end = prefix_end(prefix);
  return {std::move(prefix), std::move(end), limit, false, 0};
}

/// If every compare holds, `success` is applied, otherwise `failure`; in order, at one revision.
struct Txn {
  std::vector<Compare> compares;
  std::vector<Op> success;
  std::vector<Op> failure;
  bool operator==(const Txn&) const = default;
};

struct RangeReply {
  std::vector<KeyValue> kvs;
  bool more{false};  ///< the limit cut the answer short
  bool operator==(const RangeReply&) const = default;
};
struct PutReply {
  bool operator==(const PutReply&) const = default;
};
struct DeleteReply {
  std::int64_t deleted{0};
  bool operator==(const DeleteReply&) const = default;
};
using OpReply = std::variant<PutReply, DeleteReply, RangeReply>;

struct TxnReply {
  bool succeeded{false};
  Revision revision{0};            ///< of the store, after this transaction
  std::vector<OpReply> responses;  ///< one for each op of the branch taken, in order
  bool operator==(const TxnReply&) const = default;
};

struct Event {
  enum class Kind : std::uint8_t { put, del };
  Kind kind{Kind::put};
  KeyValue kv;  ///< del: key and mod_revision only
  bool operator==(const Event&) const = default;
};

/// True when neither branch writes: such a transaction may be repeated freely.
inline bool read_only(const Txn& txn) {
  const auto reads = [](const std::vector<Op>& ops) {
    for (const Op& op : ops) {
      if (!std::holds_alternative<Range>(op)) return false;
    }
    return true;
  };
  return reads(txn.success) && reads(txn.failure);
}

/// Errors: invalid, with the limit that was passed; nothing else is looked at.
Result<> check_limits(const Txn& txn);

}  // namespace bascule::core::kv
