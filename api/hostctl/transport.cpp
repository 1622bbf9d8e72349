#include "api/hostctl/transport.hpp"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509err.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <boost/beast/version.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <optional>

#include "api/hostctl/smartcard.hpp"

namespace bascule::hostctl {
namespace {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;
using boost::system::error_code;
using core::Errc;
using core::fail;
using Clock = std::chrono::steady_clock;
using Stream = beast::ssl_stream<beast::tcp_stream>;

constexpr auto kAnswer = asio::as_tuple(asio::use_awaitable);
/// A host that is down must not eat the time its neighbour could use.
constexpr std::chrono::seconds kConnectLimit{4};
constexpr std::chrono::hours kUploadLimit{24};
constexpr int kProbeIdleS = 15, kProbeEveryS = 5, kProbes = 4;
constexpr std::size_t kUploadPiece = 256 * 1024;
constexpr std::size_t kStreamPiece = 16 * 1024;

/// How far a request came decides what a failure means.
enum class Phase : std::uint8_t { before, sending };

struct Connection {
  Connection(asio::io_context& io, asio::ssl::context& tls, Endpoint to) : endpoint(std::move(to)), stream(io, tls) {}
  Endpoint endpoint;
  Stream stream;
  beast::flat_buffer buffer;
};
using ConnectionPtr = std::shared_ptr<Connection>;

/// One call: what is asked, until when, and how far it got.
struct Call {
  ConnectionPtr connection;
  const HttpRequest& request;
  Clock::time_point deadline;
  Phase phase{Phase::before};
};

bool refused_certificate(const error_code& e) {
  if (e.category() != asio::error::get_ssl_category()) return false;
  switch (ERR_GET_REASON(static_cast<unsigned long>(e.value()))) {
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return true;
    default: return false;
  }
}

core::Error describe(const Call& call, const error_code& e) {
  const std::string who = to_string(call.connection->endpoint);
  if (refused_certificate(e)) {
    return fail(Errc::forbidden,
                fmt::format("{} refused your certificate ({}); nothing was changed", who, e.message()));
  }
  const bool late = e == beast::error::timeout;
  const std::string why = late ? "no answer in time" : e.message();
  if (call.phase == Phase::sending) return fail(Errc::outcome_unknown, fmt::format("{}: {}", who, why));
  return fail(Errc::unavailable, fmt::format("{}: {}", who, why));
}

/// A host that vanished without a word is noticed within kProbeIdleS + kProbes * kProbeEveryS.
void probe_when_idle(asio::ip::tcp::socket& socket) {
  error_code ignored;  // only a help: without it the limits above still hold
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>(kProbeIdleS), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPINTVL>(kProbeEveryS), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPCNT>(kProbes), ignored);
}

awaitable<core::Result<>> connect(Call& call) {
  Connection& c = *call.connection;
  auto& tcp = beast::get_lowest_layer(c.stream);
  tcp.expires_at(std::min(call.deadline, Clock::now() + kConnectLimit));
  error_code numeric;
  const auto address = asio::ip::make_address(c.endpoint.host, numeric);
  if (!numeric) {
    const asio::ip::tcp::endpoint to(address, c.endpoint.port);
    auto [error] = co_await tcp.async_connect(to, kAnswer);
    if (error) co_return describe(call, error);
  } else {
    asio::ip::tcp::resolver resolver(tcp.get_executor());
    const std::string port = std::to_string(c.endpoint.port);
    auto [failed, found] = co_await resolver.async_resolve(c.endpoint.host, port, kAnswer);
    if (failed) co_return describe(call, failed);
    auto [error, to] = co_await tcp.async_connect(found, kAnswer);
    if (error) co_return describe(call, error);
    SSL_set_tlsext_host_name(c.stream.native_handle(), c.endpoint.host.c_str());
  }
  probe_when_idle(tcp.socket());
  tcp.expires_at(std::min(call.deadline, Clock::now() + kConnectLimit));
  c.stream.set_verify_callback(asio::ssl::host_name_verification(c.endpoint.host));
  auto [error] = co_await c.stream.async_handshake(asio::ssl::stream_base::client, kAnswer);
  if (!error) co_return core::Result<>{};
  const long verdict = SSL_get_verify_result(c.stream.native_handle());
  if (verdict != X509_V_OK) {
    co_return fail(Errc::unavailable, fmt::format("{}: the server's certificate is not accepted: {}",
                                                  to_string(c.endpoint), X509_verify_cert_error_string(verdict)));
  }
  co_return describe(call, error);
}

http::request<http::string_body> to_beast(const Call& call) {
  const HttpRequest& from = call.request;
  http::request<http::string_body> to;
  to.version(11);
  to.method_string(from.method);
  to.target(from.target);
  const Endpoint& e = call.connection->endpoint;
  to.set(http::field::host, to_string(e).substr(std::string_view("https://").size()));
  to.set(http::field::user_agent, "hostctl/" BASCULE_VERSION);
  for (const auto& [name, value] : from.headers) to.set(name, value);
  if (!from.file.empty()) {
    to.content_length(from.file_bytes);
  } else if (from.method != "GET") {
    to.body() = from.body;
    to.prepare_payload();
  }
  return to;
}

template <class Message>
HttpResponse from_beast(const Message& message) {
  HttpResponse out;
  out.status = message.result_int();
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    out.headers[name] = std::string(field.value());
  }
  return out;
}

using Parser = http::response_parser<http::string_body>;

awaitable<core::Result<HttpResponse>> read_answer(Call& call, Parser& parser) {
  Connection& c = *call.connection;
  auto [error, n] = co_await http::async_read(c.stream, c.buffer, parser, kAnswer);
  if (error) co_return describe(call, error);
  HttpResponse out = from_beast(parser.get());
  out.body = std::move(parser.get().body());
  co_return out;
}

/// Sends the file piece by piece until it is all sent, the server answered early, or the connection breaks.
awaitable<core::Result<>> send_file(Call& call, const bool& answered) {
  Connection& c = *call.connection;
  std::ifstream in(call.request.file, std::ios::binary);
  if (!in) co_return fail(Errc::io, call.request.file + ": cannot be opened");
  std::vector<char> piece(kUploadPiece);
  std::uint64_t sent = 0;
  while (sent < call.request.file_bytes && !answered) {
    const auto want = std::min<std::uint64_t>(piece.size(), call.request.file_bytes - sent);
    in.read(piece.data(), static_cast<std::streamsize>(want));
    if (static_cast<std::uint64_t>(in.gcount()) != want) {
      beast::get_lowest_layer(c.stream).close();
      co_return fail(Errc::io, call.request.file + ": became shorter while it was sent; nothing was imported");
    }
    // The limit is for one piece: an upload may take hours.
    beast::get_lowest_layer(c.stream).expires_after(std::chrono::seconds(kDefaultTimeoutS));
    auto [error, n] = co_await asio::async_write(c.stream, asio::buffer(piece.data(), want), kAnswer);
    if (error) co_return describe(call, error);
    sent += n;
    if (call.request.on_sent) call.request.on_sent(sent);
  }
  co_return core::Result<>{};
}

awaitable<core::Result<HttpResponse>> read_early(Call& call, Parser& parser, bool& answered) {
  auto out = co_await read_answer(call, parser);
  answered = true;
  // A server that refuses stops reading: do not wait for room to send what nobody wants.
  if (out) beast::get_lowest_layer(call.connection->stream).cancel();
  co_return out;
}

awaitable<core::Result<HttpResponse>> upload(Call& call, Parser& parser) {
  using namespace asio::experimental::awaitable_operators;
  bool answered = false;
  // The reader's limit is set now, the writer sets its own for each piece; keep-alive probes find a dead host.
  beast::get_lowest_layer(call.connection->stream).expires_after(kUploadLimit);
  auto both = co_await (send_file(call, answered) && read_early(call, parser, answered));
  auto& [sending, reading] = both;
  if (!reading && !sending && sending.error().code == Errc::io) co_return sending.error();
  co_return std::move(reading);
}

awaitable<core::Result<>> send_head(Call& call) {
  Connection& c = *call.connection;
  auto message = to_beast(call);
  http::request_serializer<http::string_body> serializer(message);
  beast::get_lowest_layer(c.stream).expires_at(call.deadline);
  call.phase = Phase::sending;
  if (call.request.file.empty()) {
    auto [error, n] = co_await http::async_write(c.stream, serializer, kAnswer);
    if (error) co_return describe(call, error);
  } else {
    auto [error, n] = co_await http::async_write_header(c.stream, serializer, kAnswer);
    if (error) co_return describe(call, error);
  }
  co_return core::Result<>{};
}

awaitable<core::Result<HttpResponse>> converse(Call& call, bool connected) {
  if (!connected) {
    if (auto r = co_await connect(call); !r) co_return r.error();
  }
  // A refused certificate shows up as an alert when we read, even if our write failed because of it.
  const auto sent = co_await send_head(call);
  if (!sent && sent.error().code != Errc::outcome_unknown) co_return sent.error();
  Parser parser;
  parser.body_limit(kMaxAnswerBytes);
  if (!sent || call.request.file.empty()) co_return co_await read_answer(call, parser);
  co_return co_await upload(call, parser);
}

using OnPiece = std::function<bool(std::string_view)>;

awaitable<core::Result<HttpResponse>> listen(Call& call, std::chrono::milliseconds quiet, const OnPiece& on_piece) {
  if (auto r = co_await connect(call); !r) co_return r.error();
  if (auto r = co_await send_head(call); !r) co_return r.error();
  Connection& c = *call.connection;
  auto& tcp = beast::get_lowest_layer(c.stream);
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  auto [failed, n] = co_await http::async_read_header(c.stream, c.buffer, parser, kAnswer);
  if (failed) co_return describe(call, failed);
  HttpResponse out = from_beast(parser.get());
  std::vector<char> piece(kStreamPiece);
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    tcp.expires_after(quiet);
    auto [error, m] = co_await http::async_read_some(c.stream, c.buffer, parser, kAnswer);
    const std::string_view got(piece.data(), piece.size() - parser.get().body().size);
    if (out.status != 200) {
      if (out.body.size() + got.size() > kMaxAnswerBytes) break;
      out.body += got;
    } else if (!got.empty() && !on_piece(got)) {
      co_return out;
    }
    if (error && error != http::error::need_buffer) co_return describe(call, error);
  }
  co_return out;
}

class BeastTransport final : public Transport {
 public:
  explicit BeastTransport(asio::ssl::context tls) : tls_(std::move(tls)), signals_(io_), timer_(io_) {}

  core::Result<HttpResponse> exchange(const Endpoint& to, const HttpRequest& request, int timeout_ms) override {
    const bool reuse = kept_ && kept_->endpoint == to;
    auto out = once(to, request, timeout_ms);
    const bool closed_while_idle =
        !out && out.error().code == Errc::outcome_unknown && reuse && request.method == "GET";
    if (closed_while_idle && !interrupted_) out = once(to, request, timeout_ms);
    return out;
  }

  core::Result<HttpResponse> stream(const Endpoint& to, const HttpRequest& request, int timeout_ms, int quiet_ms,
                                    const OnPiece& on_piece) override {
    Call call{std::make_shared<Connection>(io_, tls_, to), request, deadline(timeout_ms)};
    return run(call, listen(call, std::chrono::milliseconds(quiet_ms), on_piece));
  }

  bool pause(int ms) override {
    timer_.expires_after(std::chrono::milliseconds(ms));
    bool over = false;
    timer_.async_wait([&over](error_code) { over = true; });
    while (!over) io_.run_one();
    return !interrupted_;
  }

  void catch_interrupt() override {
    if (catching_) return;
    catching_ = true;
    error_code ignored;
    signals_.add(SIGINT, ignored);
    signals_.add(SIGTERM, ignored);
    signals_.async_wait([this](error_code error, int) {
      if (error) return;
      interrupted_ = true;
      timer_.cancel();
      if (current_) beast::get_lowest_layer(current_->stream).close();
    });
  }
  bool interrupted() const override { return interrupted_; }

 private:
  static Clock::time_point deadline(int ms) { return Clock::now() + std::chrono::milliseconds(ms); }

  core::Result<HttpResponse> once(const Endpoint& to, const HttpRequest& request, int timeout_ms) {
    const bool reuse = kept_ && kept_->endpoint == to;
    if (!reuse) kept_.reset();
    Call call{reuse ? kept_ : std::make_shared<Connection>(io_, tls_, to), request, deadline(timeout_ms)};
    kept_.reset();
    auto out = run(call, converse(call, reuse));
    const bool whole = out && out->header("connection") != "close" && request.file.empty();
    if (whole) kept_ = call.connection;
    return out;
  }

  core::Result<HttpResponse> run(Call& call, awaitable<core::Result<HttpResponse>> work) {
    if (interrupted_) return fail(Errc::cancelled, "interrupted");
    std::optional<core::Result<HttpResponse>> out;
    std::exception_ptr thrown;
    current_ = call.connection;
    asio::co_spawn(io_, std::move(work), [&](std::exception_ptr e, core::Result<HttpResponse> r) {
      thrown = e;
      out.emplace(std::move(r));
    });
    if (io_.stopped()) io_.restart();
    while (!out) io_.run_one();
    current_.reset();
    if (thrown) std::rethrow_exception(thrown);
    if (!*out && interrupted_) return fail(Errc::cancelled, "interrupted");
    return std::move(*out);
  }

  asio::io_context io_{1};
  asio::ssl::context tls_;
  asio::signal_set signals_;
  asio::steady_timer timer_;
  ConnectionPtr kept_, current_;
  bool catching_{}, interrupted_{};
};

}  // namespace

core::Result<std::unique_ptr<Transport>> Transport::make(const Settings& s) {
  asio::ssl::context tls(asio::ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_3_VERSION);
  tls.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  error_code error;
  const auto bad = [&](const std::string& file) {
    return fail(Errc::invalid, fmt::format("{}: {}", file, error.message()));
  };
  if (tls.load_verify_file(s.ca, error)) return bad(s.ca);
  if (is_card(s.cert) || is_card(s.key)) {
    if (auto ok = use_card(tls.native_handle(), s); !ok) return ok.error();
    return std::make_unique<BeastTransport>(std::move(tls));
  }
  if (tls.use_certificate_chain_file(s.cert, error)) return bad(s.cert);
  if (tls.use_private_key_file(s.key, asio::ssl::context::pem, error)) {
    const bool other = ERR_GET_REASON(static_cast<unsigned long>(error.value())) == X509_R_KEY_VALUES_MISMATCH;
    return other ? fail(Errc::invalid, fmt::format("{} is not the key of {}", s.key, s.cert)) : bad(s.key);
  }
  return std::make_unique<BeastTransport>(std::move(tls));
}

}  // namespace bascule::hostctl
