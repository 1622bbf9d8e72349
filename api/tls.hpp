// The server's TLS: which versions, whose certificates, which of them were withdrawn, and what a certificate says of
// its holder.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/identity.hpp"
#include "api/server.hpp"

namespace bascule::api {

/// One set of files as it was read.
struct LoadedTls {
  std::shared_ptr<boost::asio::ssl::context> context;
  std::int64_t certificate_ends_s{};             ///< Unix time: notAfter of the host's certificate
  std::optional<std::int64_t> crl_ends_s;        ///< the earliest nextUpdate; nullopt: no list is used
  std::map<std::string, std::int64_t> crl_made;  ///< by issuer: thisUpdate, so that an older list is known as one
  std::set<std::string> cas;                     ///< where lists are used: the names of the CAs that are trusted
  std::vector<std::string> warnings;             ///< lists that are missing
};

/// Errors: invalid, naming the file.
core::Result<LoadedTls> load_tls(const ServerTls& files, bool allow_tls12);

/// Whether the peer of a finished handshake would be let in by these files, too.
bool accepts(boost::asio::ssl::context& context, const SSL* connection);

CertificateNames names_of(const X509* certificate);

/// Who is at the other end of a finished handshake.
core::Result<core::Caller> peer_of(SSL* connection, const IdentityMap& map);

}  // namespace bascule::api
