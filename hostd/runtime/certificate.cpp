#include "hostd/runtime/certificate.hpp"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>

#include "hostd/codec/freeing.hpp"

namespace bascule::runtime {

std::int64_t unix_seconds(const ASN1_TIME* time) {
  std::tm utc{};
  return time != nullptr && ASN1_TIME_to_tm(time, &utc) == 1 ? static_cast<std::int64_t>(::timegm(&utc)) : 0;
}

core::Result<std::int64_t> certificate_end(const std::string& pem) {
  const std::unique_ptr<BIO, Freeing<BIO_free_all>> file(BIO_new_file(pem.c_str(), "r"));
  const std::unique_ptr<X509, Freeing<X509_free>> certificate(
      file ? PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
  const auto ends = certificate ? unix_seconds(X509_get0_notAfter(certificate.get())) : 0;
  if (ends == 0) return core::fail(core::Errc::io, pem + " cannot be read as a certificate");
  return ends;
}

}  // namespace bascule::runtime
