// Verifies the audit chain from the records alone; nothing a server says about their validity is believed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hostd/core/model.hpp"

namespace bascule::hostctl {

/// SHA-256 over core::canonical(record), lower-case hex.
std::string chain_hash(const core::AuditRecord& record);

/// Records read after the one where the chain breaks, to tell what was done to it.
inline constexpr std::size_t kLookAhead = 1000;

class ChainChecker {
 public:
  /// The next record in order. False: the chain is broken and `problem` says how; more records change nothing.
  bool add(const core::AuditRecord& record);
  /// Nothing more comes. A sentence that names the first record at which the chain is not what was written.
  std::optional<std::string> problem() const;
  /// The chain is good up to here.
  std::int64_t count() const { return count_; }
  std::int64_t last_sequence() const { return sequence_; }
  const std::string& head() const { return head_; }
  bool broken() const { return broken_; }

 private:
  std::string out_of_order() const;
  std::string not_following() const;

  std::int64_t count_{};
  std::int64_t sequence_{};
  std::string head_;
  bool broken_{};
  std::vector<core::AuditRecord> rest_;  ///< the one at which it breaks, and some after it
};

}  // namespace bascule::hostctl
