#include "hostd/runtime/etcd/connection.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "hostd/runtime/etcd/tls_context.hpp"

namespace bascule::runtime::etcd {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using core::Errc;
using core::fail;
using core::Result;

constexpr std::size_t kMaxHeaderBytes = 8 * 1024;
constexpr std::size_t kStreamBuffer = 16 * 1024;
// A peer that is gone without a word is noticed after about 6 s, whether or not something is under
// way.
constexpr int kKeepIdleSeconds = 3;
constexpr int kKeepIntervalSeconds = 1;
constexpr int kKeepProbes = 3;
constexpr int kUserTimeoutMs = 6000;

auto quiet() { return asio::as_tuple(asio::use_awaitable); }

std::string reason(const error_code& error) {
  if (error == beast::error::timeout) return "no answer in time";
  return error.message();
}

/// A member that does not accept our certificate may say so, or just close: with TLS 1.3 after the
/// handshake.
std::string reason(const error_code& error, bool fresh) {
  const bool closed = fresh && error != beast::error::timeout && error != asio::error::operation_aborted;
  return reason(error) + (closed ? " (does it accept this host's certificate?)" : "");
}

void tune(tcp::socket& socket) {
  // A socket that refuses an option works without it: liveness is checked above as well.
  const auto set = [fd = socket.native_handle()](int level, int name, int value) {
    static_cast<void>(::setsockopt(fd, level, name, &value, sizeof value));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kKeepProbes);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
}

class TlsConnection final : public Connection {
 public:
  TlsConnection(const asio::any_io_executor& executor, Endpoint endpoint, std::shared_ptr<TlsContext> tls)
      : endpoint_(std::move(endpoint)), tls_(std::move(tls)), stream_(executor, tls_->context) {}

  asio::awaitable<Result<>> open(Deadline deadline);
  asio::awaitable<Exchange> post(std::string_view path, std::string_view body, Deadline deadline) override;
  bool reusable() override;
  asio::awaitable<Result<>> begin_stream(std::string_view path, std::string_view body, Deadline deadline) override;
  asio::awaitable<Result<std::string>> next_line() override;
  void close() override { lowest().close(); }

 private:
  beast::tcp_stream& lowest() { return stream_.next_layer(); }
  asio::awaitable<Result<tcp::resolver::results_type>> resolve(Deadline deadline);
  [[nodiscard]] std::string request(std::string_view path, std::string_view body) const;

  Endpoint endpoint_;
  std::shared_ptr<TlsContext> tls_;  // outlives the stream
  asio::ssl::stream<beast::tcp_stream> stream_;
  beast::flat_buffer buffer_;
  bool idle_{false};
  bool fresh_{true};  // nothing was answered on it yet
  std::optional<http::response_parser<http::buffer_body>> parser_;
  std::string line_;
  std::size_t scanned_{0};
};

asio::awaitable<Result<tcp::resolver::results_type>> TlsConnection::resolve(Deadline deadline) {
  error_code not_address;
  const asio::ip::address address = asio::ip::make_address(endpoint_.host, not_address);
  const std::string port = std::to_string(endpoint_.port);
  if (!not_address) {
    const tcp::endpoint point(address, endpoint_.port);
    co_return tcp::resolver::results_type::create(point, endpoint_.host, port);
  }
  using asio::experimental::awaitable_operators::operator||;
  tcp::resolver resolver(lowest().get_executor());
  asio::steady_timer timer(lowest().get_executor(), deadline);
  auto first = co_await (resolver.async_resolve(endpoint_.host, port, quiet()) || timer.async_wait(quiet()));
  if (first.index() == 1) co_return fail(Errc::unavailable, "the name could not be resolved in time");
  auto& [error, results] = std::get<0>(first);
  if (error) co_return fail(Errc::unavailable, "the name could not be resolved: " + error.message());
  co_return results;
}

asio::awaitable<Result<>> TlsConnection::open(Deadline deadline) {
  const auto addresses = co_await resolve(deadline);
  if (!addresses) co_return addresses.error();
  lowest().expires_at(deadline);
  const auto [unconnected, point] = co_await lowest().async_connect(*addresses, quiet());
  if (unconnected) co_return fail(Errc::unavailable, "no connection: " + reason(unconnected));
  tune(lowest().socket());
  error_code error;
  stream_.set_verify_callback(asio::ssl::host_name_verification(endpoint_.host), error);
  if (error) co_return fail(Errc::internal, "TLS could not be set up: " + error.message());
  error_code not_address;
  static_cast<void>(asio::ip::make_address(endpoint_.host, not_address));
  if (not_address) SSL_set_tlsext_host_name(stream_.native_handle(), endpoint_.host.c_str());
  lowest().expires_at(deadline);
  const auto [refused] = co_await stream_.async_handshake(asio::ssl::stream_base::client, quiet());
  if (refused) {
    const bool tls_said_no = refused.category() == asio::error::get_ssl_category();
    co_return fail(tls_said_no ? Errc::refused : Errc::unavailable, "no TLS: " + reason(refused));
  }
  idle_ = true;
  co_return Result<>{};
}

std::string TlsConnection::request(std::string_view path, std::string_view body) const {
  std::string out;
  out.reserve(body.size() + path.size() + endpoint_.host.size() + 128);
  out.append("POST ").append(path).append(" HTTP/1.1\r\nHost: ");
  const bool v6 = endpoint_.host.find(':') != std::string::npos;
  out.append(v6 ? "[" : "").append(endpoint_.host).append(v6 ? "]" : "");
  out.append("\r\nContent-Type: application/json\r\nContent-Length: ").append(std::to_string(body.size()));
  out.append("\r\n\r\n").append(body);
  return out;
}

asio::awaitable<Exchange> TlsConnection::post(std::string_view path, std::string_view body, Deadline deadline) {
  Exchange exchange;
  idle_ = false;
  const std::string out = request(path, body);
  lowest().expires_at(deadline);
  const auto [unsent, written] = co_await asio::async_write(stream_, asio::buffer(out), quiet());
  if (unsent) {
    // safety: the kernel did not take the last TLS record whole, so the member cannot have read the
    // whole body, and a body cut short is not valid JSON (encode.hpp): it was and will be carried
    // out nowhere.
    exchange.why = "the request could not be sent: " + reason(unsent, fresh_);
    co_return exchange;
  }
  exchange.outcome = Exchange::Outcome::unknown;
  http::response_parser<http::string_body> parser;
  parser.header_limit(kMaxHeaderBytes);
  parser.body_limit(kMaxReplyBytes);
  const auto [unread, read] = co_await http::async_read(stream_, buffer_, parser, quiet());
  if (unread) {
    exchange.too_large = unread == http::error::body_limit;
    exchange.why = "the request was sent and not answered: " + reason(unread, fresh_);
    co_return exchange;
  }
  fresh_ = false;
  exchange.outcome = Exchange::Outcome::answered;
  exchange.status = parser.get().result_int();
  idle_ = parser.keep_alive() && buffer_.size() == 0;
  exchange.body = std::move(parser.get().body());
  co_return exchange;
}

bool TlsConnection::reusable() {
  if (!idle_ || !lowest().socket().is_open()) return false;
  char byte = 0;
  const auto got = ::recv(lowest().socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

asio::awaitable<Result<>> TlsConnection::begin_stream(std::string_view path, std::string_view body, Deadline deadline) {
  idle_ = false;
  const std::string out = request(path, body);
  lowest().expires_at(deadline);
  const auto [unsent, written] = co_await asio::async_write(stream_, asio::buffer(out), quiet());
  if (unsent) co_return fail(Errc::unavailable, "the request could not be sent: " + reason(unsent));
  parser_.emplace();
  parser_->header_limit(kMaxHeaderBytes);
  parser_->body_limit(boost::none);
  const auto [unread, read] = co_await http::async_read_header(stream_, buffer_, *parser_, quiet());
  if (unread) co_return fail(Errc::unavailable, "no answer: " + reason(unread));
  if (parser_->get().result_int() != 200) {
    co_return fail(Errc::refused, "etcd answered " + std::to_string(parser_->get().result_int()));
  }
  lowest().expires_never();
  co_return Result<>{};
}

asio::awaitable<Result<std::string>> TlsConnection::next_line() {
  std::array<char, kStreamBuffer> chunk;  // NOLINT(cppcoreguidelines-init-variables): filled before it is read
  while (true) {
    const auto end = line_.find('\n', scanned_);
    if (end != std::string::npos) {
      std::string whole = line_.substr(0, end);
      line_.erase(0, end + 1);
      scanned_ = 0;
      co_return whole;
    }
    scanned_ = line_.size();
    if (line_.size() > kMaxStreamLine) co_return fail(Errc::exhausted, "a message of the stream is too large");
    if (!parser_ || parser_->is_done()) co_return fail(Errc::unavailable, "the member ended the stream");
    parser_->get().body().data = chunk.data();
    parser_->get().body().size = chunk.size();
    auto [error, read] = co_await http::async_read_some(stream_, buffer_, *parser_, quiet());
    if (error && error != http::error::need_buffer) {
      co_return fail(Errc::unavailable, "the stream broke: " + reason(error));
    }
    line_.append(chunk.data(), chunk.size() - parser_->get().body().size);
  }
}

}  // namespace

asio::awaitable<Result<std::shared_ptr<Connection>>> open_connection(asio::any_io_executor executor, Endpoint endpoint,
                                                                     std::shared_ptr<TlsContext> tls,
                                                                     Deadline deadline) {
  auto connection = std::make_shared<TlsConnection>(executor, std::move(endpoint), std::move(tls));
  const Result<> opened = co_await connection->open(deadline);
  if (!opened) co_return opened.error();
  co_return std::shared_ptr<Connection>(std::move(connection));
}

}  // namespace bascule::runtime::etcd
