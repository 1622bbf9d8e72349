#include <boost/asio/ssl/verify_mode.hpp>
#include <charconv>

#include "hostd/runtime/etcd/connection.hpp"
#include "hostd/runtime/etcd/tls_context.hpp"

namespace bascule::runtime::etcd {
namespace {

using core::Errc;
using core::fail;
using core::Result;

bool plain_host(std::string_view host) {
  constexpr std::size_t kMaxHost = 253;  // RFC 1035
  return !host.empty() && host.size() <= kMaxHost &&
         host.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") == host.npos;
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view url) {
  const auto wrong = [url] {
    return fail(Errc::invalid, "The etcd endpoint \"" + std::string(url.substr(0, 300)) +
                                   "\" is not of the form https://host:port; correct the configuration.");
  };
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme)) return wrong();
  std::string_view rest = url.substr(kScheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const auto colon = rest.rfind(':');
  if (colon == rest.npos) return wrong();
  std::string_view host = rest.substr(0, colon);
  const std::string_view port = rest.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != host.npos) {
    return wrong();
  }
  Endpoint endpoint{std::string(url), std::string(host), 0};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
  if (error != std::errc{} || end != port.data() + port.size() || endpoint.port == 0) return wrong();
  if (!plain_host(host)) return wrong();
  return endpoint;
}

Result<std::shared_ptr<TlsContext>> load_tls(const TlsFiles& files) {
  namespace ssl = boost::asio::ssl;
  auto tls = std::make_shared<TlsContext>();
  ssl::context& context = tls->context;
  boost::system::error_code error;
  const auto wrong = [&error](const std::string& file, const char* what) {
    return fail(Errc::invalid, "The " + std::string(what) + " for etcd, " + file + ", cannot be used (" +
                                   error.message() + "); correct the file or the configuration.");
  };
  context.set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 |
                          ssl::context::no_compression,
                      error);
  if (error) return wrong("", "TLS settings");
  if (context.load_verify_file(files.ca, error); error) return wrong(files.ca, "CA certificate");
  if (context.use_certificate_chain_file(files.cert, error); error) return wrong(files.cert, "certificate");
  if (context.use_private_key_file(files.key, ssl::context::pem, error); error) return wrong(files.key, "key");
  if (SSL_CTX_check_private_key(context.native_handle()) != 1) {
    error = boost::system::errc::make_error_code(boost::system::errc::invalid_argument);
    return wrong(files.key, "key, which does not belong to the certificate");
  }
  if (context.set_verify_mode(ssl::verify_peer, error); error) return wrong("", "TLS settings");
  return tls;
}

}  // namespace bascule::runtime::etcd
