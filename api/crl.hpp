// Revocation lists: read with the server's TLS files, asked in each handshake.
#pragma once

#include <openssl/x509.h>

#include <string>

#include "api/tls.hpp"

namespace bascule::api {

/// Puts the lists of `files` into the store of `to.context` and fills in what `to` tells of them. Error invalid: a list
/// that cannot be read, or that no CA of `files.ca` signed.
core::Result<> use_crls(LoadedTls& to, const ServerTls& files);

/// As RFC 2253 writes it.
std::string text_of(const X509_NAME* name);

}  // namespace bascule::api
