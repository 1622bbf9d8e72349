// OpenSSL 3.0 has no provider for PKCS#11 in Debian 12; its engine works there, and is called deprecated.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "api/hostctl/smartcard.hpp"

#include <fmt/format.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <unistd.h>
#include <memory>

#include "api/hostctl/pin.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kScheme = "pkcs11:";

/// What OpenSSL says last, for people.
std::string reason() {
  const char* words = ERR_reason_error_string(ERR_peek_last_error());
  std::string out = words == nullptr ? "no reason given" : safe(words);
  ERR_clear_error();
  return out;
}

/// Lives until hostctl ends: keys and sessions of the card hang on it.
Result<ENGINE*> engine_of(const Settings& settings) {
  if (!settings.pkcs11_module.empty() && ::access(settings.pkcs11_module.c_str(), R_OK) != 0) {
    return fail(Errc::invalid, settings.pkcs11_module + ": there is no such PKCS#11 module");
  }
  OPENSSL_init_crypto(OPENSSL_INIT_ENGINE_DYNAMIC, nullptr);
  ENGINE* engine = ENGINE_by_id("pkcs11");
  if (engine == nullptr) {
    ERR_clear_error();
    return fail(Errc::invalid, "the key is on a card, but OpenSSL's engine for PKCS#11 is not installed: apt install "
                               "libengine-pkcs11-openssl");
  }
  if (!settings.pkcs11_module.empty() &&
      ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", settings.pkcs11_module.c_str(), 0) != 1) {
    return fail(Errc::invalid, settings.pkcs11_module + ": not usable as a PKCS#11 module: " + reason());
  }
  if (ENGINE_init(engine) != 1) {
    return fail(Errc::invalid,
                fmt::format("the PKCS#11 module {} cannot be used: {}. Is the package of your card "
                            "installed (opensc-pkcs11)? Give its file as pkcs11_module",
                            settings.pkcs11_module.empty() ? "(the system's)" : settings.pkcs11_module, reason()));
  }
  return engine;
}

Result<> use_certificate(SSL_CTX* context, ENGINE* engine, const Settings& settings) {
  if (!is_card(settings.cert)) {
    if (SSL_CTX_use_certificate_chain_file(context, settings.cert.c_str()) == 1) return {};
    return fail(Errc::invalid, settings.cert + ": no certificate can be read from it: " + reason());
  }
  struct {
    const char* uri;
    X509* certificate;
  } request{settings.cert.c_str(), nullptr};
  ENGINE_ctrl_cmd(engine, "LOAD_CERT_CTRL", 0, &request, nullptr, 1);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(request.certificate, &X509_free);
  if (certificate && SSL_CTX_use_certificate(context, certificate.get()) == 1) return {};
  return fail(Errc::invalid, "no certificate is found by " + settings.cert + ": " + reason() +
                                 ". Is the card in its reader? pkcs11-tool --list-objects shows what is on it");
}

Result<> use_key(SSL_CTX* context, ENGINE* engine, const Settings& settings) {
  auto pin = read_pin(settings, settings.key);
  if (!pin) return pin.error();
  const bool taken = ENGINE_ctrl_cmd_string(engine, "PIN", pin->c_str(), 0) == 1;
  wipe(*pin);
  if (!taken) return fail(Errc::invalid, "the PIN was not taken: " + reason());
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      ENGINE_load_private_key(engine, settings.key.c_str(), nullptr, nullptr), &EVP_PKEY_free);
  if (!key) {
    return fail(Errc::invalid, "no key is had by " + settings.key + ": " + reason() +
                                   ". The PIN was wrong, or there is no such key; it is not tried again, since a card "
                                   "locks itself after a few wrong PINs");
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return fail(Errc::invalid, settings.key + " is not the key of " + settings.cert);
  }
  return {};
}

}  // namespace

bool is_card(std::string_view file_or_uri) { return file_or_uri.starts_with(kScheme); }

Result<> use_card(SSL_CTX* context, const Settings& settings) {
  for (const auto* uri : {&settings.key, &settings.cert}) {
    if (is_card(*uri) && uri->find("pin-") != std::string::npos) {
      return fail(Errc::invalid, "a PIN does not belong into a pkcs11: URI, where others can read it: give pin_file or "
                                 "askpass, or let hostctl ask");
    }
  }
  if (!is_card(settings.key)) {
    return fail(Errc::invalid, "the certificate is on a card and the key is not: give its pkcs11: URI as key");
  }
  auto engine = engine_of(settings);
  if (!engine) return engine.error();
  if (auto ok = use_certificate(context, *engine, settings); !ok) return ok;
  return use_key(context, *engine, settings);
}

}  // namespace bascule::hostctl
