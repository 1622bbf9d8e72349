#include "api/hostctl/chain.hpp"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <algorithm>
#include <array>

#include "hostd/core/audit_chain.hpp"

namespace bascule::hostctl {
namespace {

bool whole(const core::AuditRecord& record) { return chain_hash(record) == record.hash; }

/// The record as it would be under another number: what was written under it is found by its hash.
bool was_number(core::AuditRecord record, std::int64_t number) {
  record.sequence = number;
  return whole(record);
}

}  // namespace

std::string chain_hash(const core::AuditRecord& record) {
  const std::string text = core::canonical(record);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string hex;
  for (const unsigned char b : digest) hex += fmt::format("{:02x}", b);
  return hex;
}

bool ChainChecker::add(const core::AuditRecord& record) {
  if (broken_) {
    rest_.push_back(record);
    return rest_.size() < kLookAhead;
  }
  const std::string previous = count_ == 0 ? core::first_previous() : head_;
  if (record.sequence != sequence_ + 1 || record.previous != previous || !whole(record)) {
    broken_ = true;
    rest_.push_back(record);
    return true;
  }
  ++count_;
  sequence_ = record.sequence;
  head_ = record.hash;
  return true;
}

/// The number is not the next one.
std::string ChainChecker::out_of_order() const {
  const core::AuditRecord& first = rest_.front();
  const std::int64_t expected = sequence_ + 1;
  if (first.sequence <= sequence_) {
    return fmt::format("record {} comes a second time, after record {}: it was inserted, or copied there",
                       first.sequence, sequence_);
  }
  const auto later =
      std::find_if(rest_.begin() + 1, rest_.end(), [&](const auto& r) { return r.sequence == expected; });
  if (later != rest_.end()) {
    return fmt::format("records {} and {} stand in the wrong order: {} comes first", expected, first.sequence,
                       first.sequence);
  }
  const std::string which = first.sequence == expected + 1
                                ? fmt::format("record {} is missing", expected)
                                : fmt::format("records {} to {} are missing", expected, first.sequence - 1);
  if (sequence_ == 0) return fmt::format("{}: the first one there is record {}", which, first.sequence);
  return fmt::format("{}: after {} comes {}", which, sequence_, first.sequence);
}

/// The number fits, the link to the record before does not.
std::string ChainChecker::not_following() const {
  const core::AuditRecord& first = rest_.front();
  const std::int64_t number = first.sequence;
  for (std::int64_t by = 1; by <= static_cast<std::int64_t>(kLookAhead); ++by) {
    if (was_number(first, number + by)) {
      return fmt::format(
          "record {} was written as record {}: something before it was removed, and the rest numbered anew", number,
          number + by);
    }
    if (number > by && was_number(first, number - by)) {
      return fmt::format("record {} was written as record {}: something was inserted before it, and the rest numbered "
                         "anew",
                         number, number - by);
    }
  }
  const bool again = rest_.size() > 1 && rest_[1].sequence == number;
  if (again) return fmt::format("a record was inserted before record {}: two have that number", number);
  const std::string previous = count_ == 0 ? core::first_previous() : head_;
  return fmt::format("record {} does not follow the record before it: it names {} as previous hash, that record has {}",
                     number, first.previous, previous);
}

std::optional<std::string> ChainChecker::problem() const {
  if (!broken_) return std::nullopt;
  const core::AuditRecord& first = rest_.front();
  if (first.sequence != sequence_ + 1) return out_of_order();
  const std::string previous = count_ == 0 ? core::first_previous() : head_;
  if (first.previous != previous) return not_following();
  return fmt::format("record {} was changed: its content hashes to {}, it says {}", first.sequence, chain_hash(first),
                     first.hash);
}

}  // namespace bascule::hostctl
