#include "api/tls.hpp"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>

#include "api/crl.hpp"
#include "hostd/codec/freeing.hpp"
#include "hostd/runtime/certificate.hpp"

namespace bascule::api {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr int kDepth = 3;

using Certificate = std::unique_ptr<X509, Freeing<X509_free>>;

std::string text_of(const ASN1_IA5STRING* text) {
  const auto* bytes = ASN1_STRING_get0_data(text);
  return {bytes, bytes + ASN1_STRING_length(text)};
}

}  // namespace

Result<LoadedTls> load_tls(const ServerTls& files, bool allow_tls12) {
  LoadedTls out;
  out.context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  auto& context = *out.context;
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
  SSL_CTX_set_verify_depth(native, kDepth);
  SSL_CTX_set_client_CA_list(native, SSL_load_client_CA_file(files.ca.c_str()));
  out.certificate_ends_s = runtime::unix_seconds(X509_get0_notAfter(SSL_CTX_get0_certificate(native)));
  if (auto ok = use_crls(out, files); !ok) return ok.error();
  return out;
}

bool accepts(asio::ssl::context& context, const SSL* connection) {
  const Certificate certificate(SSL_get1_peer_certificate(connection));
  const std::unique_ptr<X509_STORE_CTX, Freeing<X509_STORE_CTX_free>> check(X509_STORE_CTX_new());
  if (!certificate || !check ||
      X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(context.native_handle()), certificate.get(),
                          SSL_get_peer_cert_chain(connection)) != 1 ||
      X509_STORE_CTX_set_default(check.get(), "ssl_client") != 1) {
    return false;
  }
  X509_STORE_CTX_set_depth(check.get(), kDepth);
  return X509_verify_cert(check.get()) == 1;
}

CertificateNames names_of(const X509* certificate) {
  CertificateNames out;
  out.issuer = text_of(X509_get_issuer_name(certificate));
  const std::unique_ptr<GENERAL_NAMES, Freeing<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  if (!names) return out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) out.uris.push_back(text_of(name->d.uniformResourceIdentifier));
    if (name->type == GEN_EMAIL) out.emails.push_back(text_of(name->d.rfc822Name));
    if (name->type == GEN_DNS) out.dns.push_back(text_of(name->d.dNSName));
  }
  return out;
}

Result<core::Caller> peer_of(SSL* connection, const IdentityMap& map) {
  const Certificate certificate(SSL_get1_peer_certificate(connection));
  if (!certificate) return fail(Errc::forbidden, "you sent no certificate");
  return caller_from(names_of(certificate.get()), map);
}

}  // namespace bascule::api
