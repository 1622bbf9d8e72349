// Who a client certificate says the caller is. Pure: the names in the certificate go in, a Caller comes out.
#pragma once

#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/request.hpp"

namespace bascule::api {

/// What a certificate says of its holder. A name with a NUL inside comes with it and matches nothing.
struct CertificateNames {
  std::string issuer;  ///< the name of the CA that signed it, as RFC 2253 writes it
  std::vector<std::string> uris, emails, dns;
};

/// One line of the mapping: a name that a CA gave somebody, and who that is here.
struct IdentityRule {
  enum class Kind : std::uint8_t { uri, email, dns } kind{Kind::uri};
  std::string issuer, value;
  core::Caller caller;
  std::int64_t line{};  ///< in its file, for messages
};

/// From names to callers. Without a file: `urn:bascule:` URIs of every CA that is trusted, and nothing else.
struct IdentityMap {
  bool any_issuer{true};
  std::vector<std::string> urn_issuers;  ///< !any_issuer: the CAs whose `urn:bascule:` URIs count
  std::vector<IdentityRule> rules;
};

/// Whether two names are the same: case does not matter in a DNS name, nor behind an address's @.
bool same_name(IdentityRule::Kind kind, const std::string& a, const std::string& b);

/// Exactly one `urn:bascule:` URI is needed among the SAN URIs; others are ignored:
///   urn:bascule:operator:NAME   urn:bascule:auditor:NAME   urn:bascule:host:ID   urn:bascule:client:PROJECT:NAME
/// Error forbidden: none, several, an unknown role, or a name that is not valid.
core::Result<core::Caller> caller_from(const std::vector<std::string>& san_uris);

/// The same, or by the mapping. Error forbidden: nobody, or more than one: two lines of the mapping fit, or one of them
/// and a `urn:bascule:` URI. What is ambiguous is granted nothing.
core::Result<core::Caller> caller_from(const CertificateNames& names, const IdentityMap& map);

}  // namespace bascule::api
