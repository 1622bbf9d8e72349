#include "hostd/alert/certificate.hpp"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

namespace bascule::alert {
namespace {
struct Freed {
  void operator()(BIO* b) const { BIO_free(b); }
  void operator()(X509* c) const { X509_free(c); }
};
}  // namespace

core::Result<core::WallMs> certificate_end(const std::string& pem) {
  const std::unique_ptr<BIO, Freed> file(BIO_new_file(pem.c_str(), "r"));
  const std::unique_ptr<X509, Freed> cert(file ? PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
  std::tm ends{};
  if (!cert || ASN1_TIME_to_tm(X509_get0_notAfter(cert.get()), &ends) != 1) {
    return core::fail(core::Errc::io, pem + " cannot be read as a certificate");
  }
  return core::WallMs{timegm(&ends)} * 1000;
}

}  // namespace bascule::alert
