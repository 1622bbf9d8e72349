// The countersigned heads of the audit chain, below their own prefix; the view does not hold them.
// Thread rule: io thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/signed_head.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::runtime {

class HeadStore {
 public:
  HeadStore(KvStore& kv, const std::string& cell, std::string self);

  /// Every host's, by host and then by number.
  boost::asio::awaitable<core::Result<std::vector<core::SignedHead>>> all();
  /// One more of this host's; of those before it the newest kHeadsPerHost - 1 stay. A lost one is made up for by the
  /// next.
  boost::asio::awaitable<core::Result<>> add(core::SignedHead head);

 private:
  KvStore& kv_;
  std::string root_, self_;
};

/// Base64 of the signature over `text` by the private key in a PEM file: SHA-256 with ECDSA or RSA, or EdDSA.
/// Errors: io, invalid (no key that can sign).
core::Result<std::string> sign_text(const std::string& text, const std::string& key_file);

}  // namespace bascule::runtime
