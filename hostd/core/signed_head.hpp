// The audit chain's end as a host vouches for it: what it signs, when it is due, and whether the chain goes on from
// what it has vouched for. The signature and the hash themselves are the caller's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hostd/core/model.hpp"

namespace bascule::core {

/// `audit-heads/<host>/<sequence>`. Everything that is needed to check it but the cell's CA.
struct SignedHead {
  std::string cell, host;
  std::int64_t sequence{};
  std::string hash;  ///< of the record with that number
  WallMs when_ms{};
  std::string signature;    ///< base64, over `signed_text`
  std::string certificate;  ///< PEM of the host's certificate, whose key signed
  bool operator==(const SignedHead&) const = default;
};

inline constexpr std::size_t kHeadsPerHost = 16;           ///< older ones are deleted as newer ones come
inline constexpr std::int64_t kRecordsPerSignature = 500;  ///< signed before its time after so many records

/// Netstrings of a fixed word and of every field up to `when_ms`: no other signature of the same key can be taken for
/// it.
std::string signed_text(const SignedHead& head);

/// The next signature is due: there is news, and `interval` is over or much has happened. A clock that went back makes
/// it due.
bool signature_due(const SignedHead& last, const AuditHead& head, WallMs now, WallMs interval);

/// The links from `from` on. A sentence where they do not go on from it as they were written; `from` is the last good
/// one then, else the newest.
std::optional<std::string> chain_goes_on(AuditHead& from, const std::vector<AuditRecord>& records,
                                         const std::function<std::string(const AuditRecord&)>& hash);

}  // namespace bascule::core
