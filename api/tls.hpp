// The server's TLS: which versions, whose certificates, and what a certificate says of its holder.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <string>
#include <vector>

#include "api/server.hpp"
#include "hostd/core/request.hpp"

namespace bascule::api {

/// Errors: invalid, naming the file.
core::Result<> set_up_tls(boost::asio::ssl::context& context, const ServerTls& files, bool allow_tls12);

/// The URIs of the certificate's subject alternative names. One with a NUL inside comes out with it and matches
/// nothing.
std::vector<std::string> san_uris(const X509* certificate);

/// Who is at the other end of a finished handshake.
core::Result<core::Caller> peer_of(SSL* connection);

}  // namespace bascule::api
