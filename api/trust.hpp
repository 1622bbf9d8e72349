// Whom the server trusts now: its TLS files and the mapping of names, read again when they change or when it is asked
// to. Files that are not good are not taken: those in use stay, and everybody who looks is told.
// Thread rule: io thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/tls.hpp"
#include "api/trust_status.hpp"

namespace bascule::api {

class Trust {
 public:
  /// Errors: as load_tls, and the mapping's.
  static core::Result<std::unique_ptr<Trust>> make(ServerTls files, bool allow_tls12, IdentitySource identities);

  /// Another content, or another file, that stands still since the last look; or it is time to try again what failed.
  bool files_changed();
  /// Reads everything again; on an error nothing has changed but `status().problem`.
  core::Result<> reload();

  boost::asio::ssl::context& context() const { return *loaded_.context; }
  const IdentityMap& identities() const { return map_; }
  /// Grows with each reload.
  std::uint64_t generation() const { return status_.reloads; }
  const TrustStatus& status() const { return status_; }

 private:
  Trust(ServerTls files, bool allow_tls12, IdentitySource identities);
  std::string stamp() const;
  core::Result<> load();

  ServerTls files_;
  bool allow_tls12_;
  IdentitySource identities_;
  LoadedTls loaded_;
  IdentityMap map_;
  TrustStatus status_;
  int failures_{}, looks_{};  ///< of reloads since the last good one; since the last of these
  std::string read_, seen_;   ///< stamps: of the files as they were last read, and last looked at
};

}  // namespace bascule::api
