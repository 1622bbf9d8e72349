// The heads that hosts countersigned, held against the cell's CA and against the chain.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/hostctl/json.hpp"
#include "hostd/core/error.hpp"
#include "hostd/core/signed_head.hpp"

namespace bascule::hostctl {

core::SignedHead head_of(const Json& j);
Json json_of(const core::SignedHead& head);

/// Says whether a head was signed by the host it names, with a certificate that the CA gave that host and that was good
/// at that time.
class HeadJudge {
 public:
  /// Errors: invalid (the CA's file).
  static core::Result<HeadJudge> make(const std::string& ca_file);
  ~HeadJudge();
  HeadJudge(HeadJudge&&) noexcept;
  /// What is wrong with it; nothing: it is genuine.
  std::optional<std::string> fault(const core::SignedHead& head) const;

 private:
  struct Impl;
  explicit HeadJudge(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Genuine heads by number, and how the chain did against them.
class HeadLine {
 public:
  /// A sentence when it is of another cell than those before.
  std::optional<std::string> add(core::SignedHead head);
  /// A record of a chain that is good so far. A sentence when a host had signed another one under that number.
  std::optional<std::string> meet(const core::AuditRecord& record);
  /// After the last record. A sentence when a host had signed a later one.
  std::optional<std::string> end(std::int64_t last_sequence) const;
  bool empty() const { return heads_.empty(); }
  /// "countersigned up to record 41 by a1, up to record 40 by b1"
  std::string summary(std::int64_t last_sequence) const;

 private:
  std::multimap<std::int64_t, core::SignedHead> heads_;
  std::int64_t agreed_{};  ///< the newest that fits
};

}  // namespace bascule::hostctl
