// Who a client certificate says the caller is. Pure: the names in the certificate's SAN go in, a Caller comes out.
#pragma once

#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/request.hpp"

namespace bascule::api {

/// Exactly one `urn:bascule:` URI is needed among the SAN URIs; others are ignored:
///   urn:bascule:operator:NAME   urn:bascule:auditor:NAME   urn:bascule:host:ID   urn:bascule:client:PROJECT:NAME
/// Error forbidden: none, several, an unknown role, or a name that is not valid.
core::Result<core::Caller> caller_from(const std::vector<std::string>& san_uris);

}  // namespace bascule::api
