// This host vouches for the audit chain: from time to time it reads what was added since it last signed, checks the
// links, and signs the chain's end with its own key. What it signed last it keeps on its own disk, where whoever can
// write to etcd cannot reach it: a chain that was written anew is not signed but told.
// Thread rule: io thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "hostd/core/signed_head.hpp"
#include "hostd/runtime/cell/heads.hpp"
#include "hostd/runtime/cell/store.hpp"

namespace bascule {

struct CountersignOptions {
  std::string cell;
  std::string certificate, key;  ///< PEM files; read at every signature, so that a renewed one is taken
  std::string file;              ///< what this host signed last
  std::chrono::minutes interval{15};
};

class Countersigner {
 public:
  Countersigner(runtime::CellStore& cell, runtime::HeadStore& heads, CountersignOptions options);

  /// Looks for ever; run it once, detached.
  boost::asio::awaitable<void> run();
  /// One look: true when it signed. Errors: refused (the chain is not the one this host knows, until a person has
  /// looked: docs/security.md); io, invalid (key, certificate, own file); else as of the store.
  boost::asio::awaitable<core::Result<bool>> look(core::WallMs now);

  std::int64_t signed_up_to() const { return last_.sequence; }
  /// What is wrong, in one sentence; empty: nothing is.
  const std::string& problem() const { return problem_; }

 private:
  core::Result<> load();
  boost::asio::awaitable<core::Result<core::AuditHead>> checked(core::AuditHead head);
  core::Result<core::SignedHead> sign(const core::AuditHead& head, core::WallMs now) const;
  core::Error broken(const std::string& what) const;

  runtime::CellStore& cell_;
  runtime::HeadStore& heads_;
  CountersignOptions options_;
  bool loaded_{};
  core::SignedHead last_;
  std::string problem_;
};

}  // namespace bascule
