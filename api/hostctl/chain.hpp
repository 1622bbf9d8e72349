// Verifies the audit chain from the records alone; nothing a server says about their validity is believed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "hostd/core/model.hpp"

namespace bascule::hostctl {

/// SHA-256 over core::canonical(record), lower-case hex.
std::string chain_hash(const core::AuditRecord& record);

class ChainChecker {
 public:
  /// The next record in order. A sentence when the chain is broken here; after that the checker is of no use.
  std::optional<std::string> add(const core::AuditRecord& record);
  std::int64_t count() const { return count_; }
  std::int64_t last_sequence() const { return sequence_; }
  const std::string& head() const { return head_; }

 private:
  std::int64_t count_{};
  std::int64_t sequence_{};
  std::string head_;
};

}  // namespace bascule::hostctl
