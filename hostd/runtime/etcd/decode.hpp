// Answers of etcd's JSON gateway, to typed values. Never throws; anything that is not exactly what
// was asked for is an error. The gateway writes 64-bit numbers as strings and leaves out fields
// that are zero, false or empty.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/kv.hpp"

namespace bascule::runtime::etcd {

/// Stands in every answer; says who answered.
struct Header {
  std::uint64_t cluster_id{0};
  std::uint64_t member_id{0};
  std::uint64_t raft_term{0};
  core::kv::Revision revision{0};
};

struct TxnAnswer {
  Header header;
  core::kv::TxnReply reply;
};
/// `asked` decides which responses must be there. Error: internal.
core::Result<TxnAnswer> decode_txn(std::string_view body, const core::kv::Txn& asked);

struct StatusAnswer {
  Header header;
  std::string version;
  std::uint64_t leader{0};          ///< 0: this member sees no leader
  std::vector<std::string> errors;  ///< alarms: NOSPACE, CORRUPT
};
core::Result<StatusAnswer> decode_status(std::string_view body);

struct WatchMessage {
  Header header;
  bool created{false};
  bool canceled{false};
  core::kv::Revision compact_revision{0};
  std::string reason;  ///< of a cancel, or of an error message in the stream
  bool failed{false};  ///< the message is an error, not a result
  std::vector<core::kv::Event> events;
};
core::Result<WatchMessage> decode_watch(std::string_view line);

/// An answer with an HTTP status other than 200. The code is outcome_unknown unless etcd's answer
/// is a definite no that it gives before, or instead of, applying a request. `writes`: whether the
/// request could change anything; one that could not may be answered "too large" by the gateway
/// after the fact. Somebody else's text is cut to a readable length.
core::Error decode_error(unsigned status, std::string_view body, bool writes);

}  // namespace bascule::runtime::etcd
