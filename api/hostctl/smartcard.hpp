// A key that never leaves its card: by a pkcs11: URI (RFC 7512) in place of a file, through Debian's OpenSSL engine for
// PKCS#11.
#pragma once

#include <openssl/types.h>

#include <string>
#include <string_view>

#include "api/hostctl/settings.hpp"

namespace bascule::hostctl {

bool is_card(std::string_view file_or_uri);

/// The card's key, with the certificate from the card or from a file. The PIN comes from a file, from a program, or
/// from the terminal, is asked for once, and is tried once: a card locks itself after a few wrong ones.
/// Errors: invalid, with what to do.
core::Result<> use_card(SSL_CTX* context, const Settings& settings);

}  // namespace bascule::hostctl
