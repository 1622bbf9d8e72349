// The file that maps names in certificates to callers, as a checked value. An example with every key:
// packaging/identities.toml.
#pragma once

#include <string>
#include <string_view>

#include "api/identity.hpp"

namespace bascule {

/// Errors: io (cannot be read), invalid (line and key named; an unknown key is an error, so that a typo is not silent,
/// and so are two lines for one name).
core::Result<api::IdentityMap> load_identities(const std::string& path);
/// The same on text; `name` stands in messages. For tests.
core::Result<api::IdentityMap> parse_identities(std::string_view text, const std::string& name);

}  // namespace bascule
