#include "api/tls.hpp"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>

#include "api/identity.hpp"

namespace bascule::api {
namespace asio = boost::asio;
using core::Errc;
using core::fail;

core::Result<> set_up_tls(asio::ssl::context& context, const ServerTls& files, bool allow_tls12) {
  boost::system::error_code ec;
  SSL_CTX* native = context.native_handle();
  context.set_options(asio::ssl::context::default_workarounds | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                          SSL_OP_CIPHER_SERVER_PREFERENCE,
                      ec);
  SSL_CTX_set_min_proto_version(native, allow_tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
  if (SSL_CTX_set_cipher_list(native, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
    return fail(Errc::internal, "TLS 1.2 ciphers");
  // A resumed session would skip the check of the certificate: none is kept, no ticket is given.
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);  // 34 KiB less per idle connection
  context.load_verify_file(files.ca, ec);
  if (ec) return fail(Errc::invalid, "[api] ca: cannot read " + files.ca);
  context.use_certificate_chain_file(files.cert, ec);
  if (ec) return fail(Errc::invalid, "[api] cert: cannot read " + files.cert);
  context.use_private_key_file(files.key, asio::ssl::context::pem, ec);
  if (ec) return fail(Errc::invalid, "[api] key: cannot read " + files.key + ", or it does not fit the certificate");
  context.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, ec);
  SSL_CTX_set_verify_depth(native, 3);
  SSL_CTX_set_client_CA_list(native, SSL_load_client_CA_file(files.ca.c_str()));
  return {};
}

std::vector<std::string> san_uris(const X509* certificate) {
  std::vector<std::string> out;
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  if (!names) return out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    const auto* text = ASN1_STRING_get0_data(uri);
    out.emplace_back(text, text + ASN1_STRING_length(uri));
  }
  return out;
}

core::Result<core::Caller> peer_of(SSL* connection) {
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(connection), &X509_free);
  if (!certificate) return fail(Errc::forbidden, "you sent no certificate");
  return caller_from(san_uris(certificate.get()));
}

}  // namespace bascule::api
