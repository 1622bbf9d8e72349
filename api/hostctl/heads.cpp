#include "api/hostctl/heads.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "api/hostctl/text.hpp"
#include "hostd/codec/freeing.hpp"

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::fail;

constexpr std::size_t kMaxPem = 16 * 1024;

using Bio = std::unique_ptr<BIO, Freeing<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freeing<X509_free>>;

void free_certificates(STACK_OF(X509) * all) { sk_X509_pop_free(all, X509_free); }
using Certificates = std::unique_ptr<STACK_OF(X509), Freeing<free_certificates>>;

/// The host's own comes first, those between it and the CA after it.
Certificates read_certificates(const std::string& pem) {
  Certificates out(sk_X509_new_null());
  if (pem.empty() || pem.size() > kMaxPem || !out) return out;
  const Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  for (Certificate one; in;) {
    one.reset(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
    if (!one || sk_X509_push(out.get(), one.get()) == 0) break;
    static_cast<void>(one.release());
  }
  return out;
}

/// The one URI of Bascule's in it; empty: none, or several.
std::string bascule_uri(const X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, Freeing<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string found;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    const auto* text = ASN1_STRING_get0_data(uri);
    const std::string one(text, text + ASN1_STRING_length(uri));
    if (!one.starts_with("urn:bascule:")) continue;
    if (!found.empty()) return {};
    found = one;
  }
  return found;
}

std::vector<unsigned char> from_base64(const std::string& text) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > kMaxPem) return {};
  std::vector<unsigned char> out(text.size() / 4 * 3);
  const int n =
      EVP_DecodeBlock(out.data(), reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (n < 0) return {};
  const auto padding = static_cast<std::size_t>(std::count(text.end() - 2, text.end(), '='));
  out.resize(static_cast<std::size_t>(n) - padding);
  return out;
}

bool signed_by(const X509* certificate, const std::string& text, const std::string& signature) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  const std::unique_ptr<EVP_MD_CTX, Freeing<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  const auto bytes = from_base64(signature);
  if (key == nullptr || !context || bytes.empty()) return false;
  const bool own_hash = EVP_PKEY_is_a(key, "ED25519") == 1 || EVP_PKEY_is_a(key, "ED448") == 1;
  return EVP_DigestVerifyInit(context.get(), nullptr, own_hash ? nullptr : EVP_sha256(), nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), bytes.data(), bytes.size(),
                          reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
}

std::string named(const core::SignedHead& head) {
  return fmt::format("the head that host {} is said to have countersigned at record {}", head.host, head.sequence);
}

}  // namespace

core::SignedHead head_of(const Json& j) {
  return {j.text("cell"),           j.text("host"),      j.integer("sequence", -1), j.text("hash"),
          j.integer("when_ms", -1), j.text("signature"), j.text("certificate")};
}

Json json_of(const core::SignedHead& head) {
  Json j = Json::object();
  j.set("cell", std::string_view(head.cell)).set("host", std::string_view(head.host)).set("sequence", head.sequence);
  j.set("hash", std::string_view(head.hash)).set("when_ms", head.when_ms);
  j.set("signature", std::string_view(head.signature)).set("certificate", std::string_view(head.certificate));
  return j;
}

struct HeadJudge::Impl {
  std::unique_ptr<X509_STORE, Freeing<X509_STORE_free>> store{X509_STORE_new()};
};
HeadJudge::HeadJudge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HeadJudge::~HeadJudge() = default;
HeadJudge::HeadJudge(HeadJudge&&) noexcept = default;

core::Result<HeadJudge> HeadJudge::make(const std::string& ca_file) {
  auto impl = std::make_unique<Impl>();
  if (!impl->store || X509_STORE_load_file(impl->store.get(), ca_file.c_str()) != 1) {
    return fail(Errc::invalid, ca_file + ": no CA certificate can be read from it");
  }
  return HeadJudge(std::move(impl));
}

std::optional<std::string> HeadJudge::fault(const core::SignedHead& head) const {
  const auto chain = read_certificates(head.certificate);
  X509* certificate = chain && sk_X509_num(chain.get()) > 0 ? sk_X509_value(chain.get(), 0) : nullptr;
  if (certificate == nullptr) return named(head) + " has no certificate that can be read";
  const std::unique_ptr<X509_STORE_CTX, Freeing<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  if (!context || X509_STORE_CTX_init(context.get(), impl_->store.get(), certificate, chain.get()) != 1) {
    return named(head) + " cannot be checked: no memory";
  }
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context.get()), static_cast<time_t>(head.when_ms / 1000));
  if (X509_verify_cert(context.get()) != 1) {
    return fmt::format("{} has a certificate that is not accepted: {}", named(head),
                       X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
  }
  if (bascule_uri(certificate) != "urn:bascule:host:" + head.host) {
    return named(head) + " has a certificate that is not that host's";
  }
  if (!signed_by(certificate, core::signed_text(head), head.signature)) {
    return named(head) + " has a wrong signature: it was changed after it was signed, or never was by that host";
  }
  return std::nullopt;
}

std::optional<std::string> HeadLine::add(core::SignedHead head) {
  if (!heads_.empty() && heads_.begin()->second.cell != head.cell) {
    return fmt::format("the heads are of two cells, {} and {}", heads_.begin()->second.cell, head.cell);
  }
  heads_.emplace(head.sequence, std::move(head));
  return std::nullopt;
}

std::optional<std::string> HeadLine::meet(const core::AuditRecord& record) {
  const auto [first, last] = heads_.equal_range(record.sequence);
  for (auto it = first; it != last; ++it) {
    const auto& head = it->second;
    if (head.hash != record.hash) {
      return fmt::format("record {} is not the one that host {} countersigned on {}: the chain was computed anew, from "
                         "some record after {} on",
                         record.sequence, head.host, utc(head.when_ms), agreed_);
    }
    agreed_ = record.sequence;
  }
  return std::nullopt;
}

std::optional<std::string> HeadLine::end(std::int64_t last_sequence) const {
  const auto it = heads_.upper_bound(last_sequence);
  if (it == heads_.end()) return std::nullopt;
  const auto& head = heads_.rbegin()->second;
  const std::string which = last_sequence + 1 == head.sequence
                                ? fmt::format("record {} is", head.sequence)
                                : fmt::format("records {} to {} are", last_sequence + 1, head.sequence);
  return fmt::format("{} missing at the end: host {} countersigned record {} on {}", which, head.host, head.sequence,
                     utc(head.when_ms));
}

std::string HeadLine::summary(std::int64_t last_sequence) const {
  std::map<std::string, std::int64_t> newest;
  for (const auto& [sequence, head] : heads_) newest[head.host] = sequence;
  std::string out;
  for (const auto& [host, sequence] : newest) {
    out += fmt::format("{}up to record {} by {}", out.empty() ? "countersigned " : ", ", sequence, host);
  }
  if (out.empty()) return "not countersigned by any host: a chain computed anew up to its end would not be found";
  if (agreed_ < last_sequence) out += fmt::format("; not yet after record {}", agreed_);
  return out;
}

}  // namespace bascule::hostctl
