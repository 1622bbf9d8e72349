#include "api/tls.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <ctime>
#include <memory>

namespace bascule::api {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr int kDepth = 3;
constexpr long kMaxCrlBytes = 16L * 1024 * 1024;  // some 300,000 entries
constexpr std::size_t kMaxInFile = 64;            // certificates of a CA file, lists of a list's file

template <auto Free>
struct Freeing {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using Certificate = std::unique_ptr<X509, Freeing<X509_free>>;
using Crl = std::unique_ptr<X509_CRL, Freeing<X509_CRL_free>>;
using File = std::unique_ptr<std::FILE, Freeing<std::fclose>>;

std::int64_t seconds(const ASN1_TIME* time) {
  std::tm utc{};
  return time != nullptr && ASN1_TIME_to_tm(time, &utc) == 1 ? static_cast<std::int64_t>(::timegm(&utc)) : 0;
}

std::string text_of(const X509_NAME* name) {
  const std::unique_ptr<BIO, Freeing<BIO_free_all>> out(BIO_new(BIO_s_mem()));
  if (!out || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::vector<Certificate> read_cas(const std::string& path) {
  std::vector<Certificate> out;
  const File in(std::fopen(path.c_str(), "re"));
  while (in && out.size() < kMaxInFile) {
    Certificate one(PEM_read_X509(in.get(), nullptr, nullptr, nullptr));
    if (!one) break;
    out.push_back(std::move(one));
  }
  return out;
}

Result<std::vector<Crl>> read_crls(const std::string& path) {
  const auto bad = [&](const char* why) { return fail(Errc::invalid, "[api] crl: " + path + why); };
  const File in(std::fopen(path.c_str(), "re"));
  if (!in || std::fseek(in.get(), 0, SEEK_END) != 0) return bad(" cannot be read");
  if (std::ftell(in.get()) > kMaxCrlBytes) return bad(" is larger than 16 MiB");
  std::rewind(in.get());
  ERR_clear_error();
  std::vector<Crl> out;
  while (out.size() < kMaxInFile) {
    Crl one(PEM_read_X509_CRL(in.get(), nullptr, nullptr, nullptr));
    if (!one) break;
    out.push_back(std::move(one));
  }
  // It ends where nothing more begins; a list that begins and cannot be read is one that was cut off.
  const bool whole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!out.empty() && !whole) return bad(" is cut off, or holds something that is no revocation list (PEM)");
  if (out.empty()) return bad(" holds no revocation list (PEM)");
  return out;
}

/// A list that has expired is used on: what it withdraws stays withdrawn, and whom it does not name is let in. Nobody
/// is shut out of a cell because a timer on another machine failed; docs/security.md says why.
int old_lists_count(int ok, X509_STORE_CTX* context) {
  const int error = X509_STORE_CTX_get_error(context);
  if (ok != 0 || (error != X509_V_ERR_CRL_HAS_EXPIRED && error != X509_V_ERR_CRL_NOT_YET_VALID)) return ok;
  X509_STORE_CTX_set_error(context, X509_V_OK);
  return 1;
}

bool signed_by(X509_CRL* crl, const std::vector<Certificate>& cas) {
  for (const auto& ca : cas) {
    if (X509_NAME_cmp(X509_get_subject_name(ca.get()), X509_CRL_get_issuer(crl)) != 0) continue;
    const std::unique_ptr<EVP_PKEY, Freeing<EVP_PKEY_free>> key(X509_get_pubkey(ca.get()));
    if (key && X509_CRL_verify(crl, key.get()) == 1) return true;
  }
  return false;
}

Result<> use_crls(LoadedTls& to, const ServerTls& files) {
  if (files.crls.empty()) return {};
  const auto cas = read_cas(files.ca);
  X509_STORE* store = SSL_CTX_get_cert_store(to.context->native_handle());
  for (const auto& path : files.crls) {
    auto crls = read_crls(path);
    if (!crls) return crls.error();
    for (const auto& crl : *crls) {
      const std::string issuer = text_of(X509_CRL_get_issuer(crl.get()));
      if (!signed_by(crl.get(), cas)) {
        return fail(Errc::invalid,
                    "[api] crl: " + path + ": the list of '" + issuer + "' is not signed by a CA of " + files.ca);
      }
      if (X509_STORE_add_crl(store, crl.get()) != 1)
        return fail(Errc::invalid, "[api] crl: " + path + " is not usable");
      const std::int64_t ends = seconds(X509_CRL_get0_nextUpdate(crl.get()));
      if (!to.crl_ends_s || ends < *to.crl_ends_s) to.crl_ends_s = ends;
      auto& made = to.crl_made[issuer];
      made = std::max(made, seconds(X509_CRL_get0_lastUpdate(crl.get())));
    }
  }
  for (const auto& ca : cas) {
    const std::string name = text_of(X509_get_subject_name(ca.get()));
    if (to.crl_made.contains(name)) continue;
    to.warnings.push_back("[api] crl: there is no list of the CA '" + name + "': certificates it issued are refused");
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  X509_STORE_set_verify_cb(store, &old_lists_count);
  return {};
}

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
  out.certificate_ends_s = seconds(X509_get0_notAfter(SSL_CTX_get0_certificate(native)));
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
