#include "api/hostctl/chain.hpp"

#include <fmt/format.h>
#include <openssl/sha.h>
#include <array>

#include "hostd/core/audit_chain.hpp"

namespace bascule::hostctl {

std::string chain_hash(const core::AuditRecord& record) {
  const std::string text = core::canonical(record);
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string hex;
  for (const unsigned char b : digest) hex += fmt::format("{:02x}", b);
  return hex;
}

std::optional<std::string> ChainChecker::add(const core::AuditRecord& record) {
  const std::int64_t expected = sequence_ + 1;
  if (record.sequence != expected) {
    return record.sequence > expected
               ? fmt::format("record {} is missing: after {} comes {}", expected, sequence_, record.sequence)
               : fmt::format("record {} comes after {}: it is there twice or out of order", record.sequence, sequence_);
  }
  const std::string previous = count_ == 0 ? core::first_previous() : head_;
  if (record.previous != previous) {
    return fmt::format(
        "record {} does not follow the record before it: it names {} as previous hash, that record has {}",
        record.sequence, record.previous, previous);
  }
  const std::string hash = chain_hash(record);
  if (record.hash != hash) {
    return fmt::format("record {} was changed: its content hashes to {}, it says {}", record.sequence, hash,
                       record.hash);
  }
  ++count_;
  sequence_ = record.sequence;
  head_ = hash;
  return std::nullopt;
}

}  // namespace bascule::hostctl
