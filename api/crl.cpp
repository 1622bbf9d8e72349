#include "api/crl.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "hostd/codec/freeing.hpp"
#include "hostd/runtime/certificate.hpp"

namespace bascule::api {
using core::Errc;
using core::fail;
using core::Result;
using runtime::unix_seconds;

namespace {

constexpr long kMaxCrlBytes = 16L * 1024 * 1024;  // some 300,000 entries
constexpr std::size_t kMaxInFile = 64;            // certificates of a CA file, lists of a list's file

using Certificate = std::unique_ptr<X509, Freeing<X509_free>>;
using Crl = std::unique_ptr<X509_CRL, Freeing<X509_CRL_free>>;
using File = std::unique_ptr<std::FILE, Freeing<std::fclose>>;

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

/// Lists of one store that were found good, each with the key that it was checked by: the signature is over all of a
/// list's entries, so that checking it in each handshake would take the longer the more was ever withdrawn.
struct FoundGood {
  std::mutex mutex;
  std::set<std::pair<const X509_CRL*, std::string>> lists;
};

void forget_found(void* /*store*/, void* found, CRYPTO_EX_DATA* /*all*/, int /*index*/, long /*argl*/, void* /*argp*/) {
  delete static_cast<FoundGood*>(found);
}

int found_index() {
  static const int index = X509_STORE_get_ex_new_index(0, nullptr, nullptr, nullptr, &forget_found);
  return index;
}

/// OpenSSL's own check of a list.
X509_STORE_CTX_check_crl_fn whole_check() {
  static const auto check = [] {
    const std::unique_ptr<X509_STORE, Freeing<X509_STORE_free>> store(X509_STORE_new());
    const std::unique_ptr<X509_STORE_CTX, Freeing<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
    const bool ready = store && context && X509_STORE_CTX_init(context.get(), store.get(), nullptr, nullptr) == 1;
    return ready ? X509_STORE_CTX_get_check_crl(context.get()) : nullptr;
  }();
  return check;
}

/// Which key a list is checked by; empty: it has to be checked as a whole each time. A list that covers only some
/// certificates (an issuing distribution point, a delta) is good for one and not for another.
std::string checked_by(X509_STORE_CTX* context, const X509_CRL* crl) {
  if (X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) >= 0 ||
      X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0) {
    return {};
  }
  const X509* issuer = X509_STORE_CTX_get0_current_issuer(context);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (issuer == nullptr || X509_digest(issuer, EVP_sha256(), digest.data(), &size) != 1) return {};
  return {digest.begin(), digest.begin() + size};
}

int check_once(X509_STORE_CTX* context, X509_CRL* crl) {
  auto* found = static_cast<FoundGood*>(X509_STORE_get_ex_data(X509_STORE_CTX_get0_store(context), found_index()));
  const std::string key = found == nullptr ? std::string() : checked_by(context, crl);
  if (key.empty()) return whole_check()(context, crl);
  const std::lock_guard lock(found->mutex);
  // Its times are no reason to check again: a list that has expired counts (old_lists_count).
  if (found->lists.contains({crl, key})) return 1;
  const int good = whole_check()(context, crl);
  if (good == 1) found->lists.emplace(crl, key);
  return good;
}

bool signed_by(X509_CRL* crl, const std::vector<Certificate>& cas) {
  for (const auto& ca : cas) {
    if (X509_NAME_cmp(X509_get_subject_name(ca.get()), X509_CRL_get_issuer(crl)) != 0) continue;
    const std::unique_ptr<EVP_PKEY, Freeing<EVP_PKEY_free>> key(X509_get_pubkey(ca.get()));
    if (key && X509_CRL_verify(crl, key.get()) == 1) return true;
  }
  return false;
}

/// One file's lists into the store.
Result<> add_lists(LoadedTls& to, X509_STORE* store, const std::string& path, const ServerTls& files,
                   const std::vector<Certificate>& cas) {
  auto crls = read_crls(path);
  if (!crls) return crls.error();
  for (const auto& crl : *crls) {
    const std::string issuer = text_of(X509_CRL_get_issuer(crl.get()));
    if (!signed_by(crl.get(), cas)) {
      return fail(Errc::invalid,
                  "[api] crl: " + path + ": the list of '" + issuer + "' is not signed by a CA of " + files.ca);
    }
    if (X509_STORE_add_crl(store, crl.get()) != 1) return fail(Errc::invalid, "[api] crl: " + path + " is not usable");
    const std::int64_t ends = unix_seconds(X509_CRL_get0_nextUpdate(crl.get()));
    if (!to.crl_ends_s || ends < *to.crl_ends_s) to.crl_ends_s = ends;
    auto& made = to.crl_made[issuer];
    made = std::max(made, unix_seconds(X509_CRL_get0_lastUpdate(crl.get())));
  }
  return {};
}

}  // namespace

std::string text_of(const X509_NAME* name) {
  const std::unique_ptr<BIO, Freeing<BIO_free_all>> out(BIO_new(BIO_s_mem()));
  if (!out || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

Result<> use_crls(LoadedTls& to, const ServerTls& files) {
  if (files.crls.empty()) return {};
  const auto cas = read_cas(files.ca);
  for (const auto& ca : cas) to.cas.insert(text_of(X509_get_subject_name(ca.get())));
  X509_STORE* store = SSL_CTX_get_cert_store(to.context->native_handle());
  for (const auto& path : files.crls) {
    if (auto ok = add_lists(to, store, path, files, cas); !ok) return ok;
  }
  for (const auto& name : to.cas) {
    if (to.crl_made.contains(name)) continue;
    to.warnings.push_back("[api] crl: there is no list of the CA '" + name + "': certificates it issued are refused");
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  X509_STORE_set_verify_cb(store, &old_lists_count);
  auto found = std::make_unique<FoundGood>();
  if (whole_check() != nullptr && X509_STORE_set_ex_data(store, found_index(), found.get()) == 1) {
    static_cast<void>(found.release());  // the store's
    X509_STORE_set_check_crl(store, &check_once);
  }
  return {};
}

}  // namespace bascule::api
