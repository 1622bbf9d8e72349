#include "api/server.hpp"

#include <fcntl.h>
#include <openssl/x509v3.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <charconv>
#include <filesystem>

#include "api/identity.hpp"
#include "api/json.hpp"
#include "api/router.hpp"
#include "hostd/core/names.hpp"

namespace bascule::api {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using Stream = beast::ssl_stream<beast::tcp_stream>;
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
/// Headers a route may read; no other is copied.
constexpr std::array kHeaders{"if-match", "if-none-match", "idempotency-key", "bascule-reason", "last-event-id"};

std::vector<std::string> san_uris(X509* certificate) {
  std::vector<std::string> out;
  auto* names = static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  if (names == nullptr) return out;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const auto* text = ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
    const int size = ASN1_STRING_length(name->d.uniformResourceIdentifier);
    out.emplace_back(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  }
  GENERAL_NAMES_free(names);
  return out;
}

Result<core::Caller> caller_of(Stream& stream) {
  X509* certificate = SSL_get1_peer_certificate(stream.native_handle());
  if (certificate == nullptr) return fail(Errc::forbidden, "no client certificate");
  const auto uris = san_uris(certificate);
  X509_free(certificate);
  return caller_from(uris);
}

/// Percent-decoded: a reason may hold any UTF-8, a header may not.
std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() + 0 &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

HttpRequest request_of(const http::request<http::string_body>& message, const core::Caller& caller) {
  HttpRequest r;
  r.method = std::string(message.method_string());
  r.target = std::string(message.target());
  r.caller = caller;
  for (const char* name : kHeaders) {
    const auto it = message.find(name);
    if (it == message.end()) continue;
    const std::string value(it->value());
    r.headers[name] = std::string_view(name) == "bascule-reason" ? decoded(value) : value;
  }
  return r;
}

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  asio::any_io_executor executor;
  ServerOptions options;
  CellPort& cell;
  Router router;
  asio::ssl::context tls{asio::ssl::context::tls_server};
  tcp::acceptor acceptor;
  std::size_t connections{0}, handshakes{0}, streams{0}, uploads{0};
  bool stopping{false};

  Impl(asio::any_io_executor e, ServerOptions o, CellPort& c)
      : executor(e), options(std::move(o)), cell(c), router(c), acceptor(e) {}

  Result<> open();
  asio::awaitable<void> accept();
  asio::awaitable<void> serve(tcp::socket socket);
  asio::awaitable<void> requests(Stream& stream, core::Caller caller, Result<core::Caller> identity);
  asio::awaitable<bool> send(Stream& stream, HttpReply reply, bool keep, bool head);
  asio::awaitable<void> events(Stream& stream, HttpRequest request);
  asio::awaitable<HttpReply> upload(Stream& stream, beast::flat_buffer& buffer,
                                    http::request_parser<http::empty_body>& head, HttpRequest request);
  asio::awaitable<Result<>> receive(Stream& stream, beast::flat_buffer& buffer,
                                    http::request_parser<http::buffer_body>& parser, const std::string& path);
};

Result<> Server::Impl::open() {
  boost::system::error_code ec;
  tls.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1_2, ec);
  SSL_CTX_set_min_proto_version(tls.native_handle(), TLS1_3_VERSION);
  // A resumed session would skip the check of the certificate: none is kept, no ticket is given.
  SSL_CTX_set_session_cache_mode(tls.native_handle(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(tls.native_handle(), 0);
  tls.load_verify_file(options.tls.ca, ec);
  if (ec) return fail(Errc::invalid, "[api] ca: cannot read " + options.tls.ca);
  tls.use_certificate_chain_file(options.tls.cert, ec);
  if (ec) return fail(Errc::invalid, "[api] cert: cannot read " + options.tls.cert);
  tls.use_private_key_file(options.tls.key, asio::ssl::context::pem, ec);
  if (ec) return fail(Errc::invalid, "[api] key: cannot read " + options.tls.key + " or it does not fit the certificate");
  tls.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert, ec);
  SSL_CTX_set_client_CA_list(tls.native_handle(), SSL_load_client_CA_file(options.tls.ca.c_str()));

  const auto colon = options.listen.rfind(':');
  unsigned port = 0;
  const char* last = options.listen.data() + options.listen.size();
  if (colon == std::string::npos || std::from_chars(options.listen.data() + colon + 1, last, port).ptr != last || port > 65535) {
    return fail(Errc::invalid, "[api] listen is not ip:port");
  }
  const auto address = asio::ip::make_address(options.listen.substr(0, colon), ec);
  if (ec) return fail(Errc::invalid, "[api] listen is not ip:port");
  const tcp::endpoint endpoint(address, static_cast<std::uint16_t>(port));
  acceptor.open(endpoint.protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(endpoint, ec);
  if (!ec) acceptor.listen(1024, ec);
  if (ec) return fail(Errc::io, "cannot listen on " + options.listen + ": " + ec.message());
  return {};
}

asio::awaitable<bool> Server::Impl::send(Stream& stream, HttpReply reply, bool keep, bool head) {
  http::response<http::empty_body> message{static_cast<http::status>(reply.status), 11};
  message.set(http::field::server, "bascule");
  message.set(http::field::content_type, reply.content_type);
  message.set(http::field::cache_control, "no-store");
  message.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : reply.headers) message.set(name, value);
  static const auto kEmpty = std::make_shared<const std::string>();
  const auto body = reply.body ? reply.body : kEmpty;
  message.content_length(body->size());
  message.keep_alive(keep);
  std::ostringstream text;
  text << message.base();
  const std::string header = text.str();
  beast::get_lowest_layer(stream).expires_after(ServerLimits::write_time);
  // The body is shared and goes out as it is: no copy for the many readers of one list.
  std::array<asio::const_buffer, 2> buffers{asio::buffer(header), asio::buffer(*body)};
  if (head) buffers[1] = {};
  auto [ec, n] = co_await asio::async_write(stream, buffers, kToken);
  co_return !ec && keep;
}

asio::awaitable<void> Server::Impl::events(Stream& stream, HttpRequest request) {
  auto target = parse_target(request.target);
  core::Revision after = cell.view().revision;
  const auto last = request.headers.find("last-event-id");
  const std::string from = last != request.headers.end() ? last->second
                           : target && target->query.contains("after") ? target->query.at("after")
                                                                        : std::string();
  if (!from.empty()) {
    const auto [end, ec] = std::from_chars(from.data(), from.data() + from.size(), after);
    if (ec != std::errc{} || end != from.data() + from.size()) {
      auto reply = problem(fail(Errc::invalid, "Last-Event-ID is not an event's id"), request.target);
      co_await send(stream, std::move(reply), false, false);
      co_return;
    }
  }
  std::string out =
      "HTTP/1.1 200 OK\r\nServer: bascule\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
      "Connection: close\r\n\r\n: events of the cell\n\n";
  constexpr std::size_t kBatch = 200;
  while (!stopping) {
    beast::get_lowest_layer(stream).expires_after(ServerLimits::write_time);
    if (!out.empty()) {
      auto [ec, n] = co_await asio::async_write(stream, asio::buffer(out), kToken);
      if (ec) co_return;
      out.clear();
    }
    beast::get_lowest_layer(stream).expires_never();
    auto waited = co_await cell.wait_event(after, std::chrono::milliseconds(ServerLimits::heartbeat).count());
    auto batch = cell.events_after(after, kBatch);
    if (!batch) {
      after = cell.view().revision;
      out = "id: " + std::to_string(after) + "\nevent: reset\ndata: {\"detail\":\"events were missed; list again\"}\n\n";
      continue;
    }
    for (const auto& e : *batch) {
      after = e.revision;
      if (request.caller.role == core::Role::client && !Router::may_see(request.caller, e.project)) continue;
      out += "id: " + std::to_string(e.revision) + "\nevent: " + e.type + "\ndata: " + json::event(e) + "\n\n";
    }
    if (out.empty()) out = ": still here\n\n";
  }
}

asio::awaitable<Result<>> Server::Impl::receive(Stream& stream, beast::flat_buffer& buffer,
                                                http::request_parser<http::buffer_body>& parser, const std::string& path) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-vararg): POSIX
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) co_return fail(Errc::io, "cannot make " + path);
  std::vector<char> piece(std::size_t{256} * 1024);
  Result<> result;
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    beast::get_lowest_layer(stream).expires_after(ServerLimits::upload_piece);
    auto [ec, n] = co_await http::async_read(stream, buffer, parser, kToken);
    if (ec == http::error::need_buffer) ec = {};
    if (ec == http::error::body_limit) result = fail(Errc::exhausted, "the image is larger than this host takes");
    else if (ec) result = fail(Errc::invalid, "the upload ended early: " + ec.message());
    if (!result) break;
    const std::size_t got = piece.size() - parser.get().body().size;
    std::size_t written = 0;
    while (written < got) {
      const ssize_t w = ::write(fd, piece.data() + written, got - written);
      if (w <= 0) {
        result = fail(Errc::exhausted, "the image folder's disk is full");
        break;
      }
      written += static_cast<std::size_t>(w);
    }
    if (!result) break;
  }
  ::close(fd);
  co_return result;
}

asio::awaitable<HttpReply> Server::Impl::upload(Stream& stream, beast::flat_buffer& buffer,
                                                http::request_parser<http::empty_body>& head, HttpRequest request) {
  const auto no = [&](core::Error e) { return problem(e, request.target); };
  auto target = parse_target(request.target);
  if (!target) co_return no(target.error());
  const std::string name = target->segments.back();
  if (request.caller.role != core::Role::operator_) co_return no(fail(Errc::forbidden, "only an operator imports images"));
  if (auto ok = core::check_name("name", name); !ok) co_return no(ok.error());
  std::string reason = request.headers.contains("bascule-reason") ? request.headers["bascule-reason"] : std::string();
  if (auto ok = core::check_reason(reason); !ok) co_return no(ok.error());
  const auto length = head.content_length();
  if (!length) co_return no(fail(Errc::invalid, "an upload needs Content-Length"));
  if (*length > options.max_image_bytes) {
    auto reply = no(fail(Errc::exhausted, "the image is larger than this host takes ([images] limit_mib)"));
    reply.status = 413;
    co_return reply;
  }
  if (uploads >= ServerLimits::uploads) co_return no(fail(Errc::unavailable, "other uploads are at work; try again"));
  auto path = cell.image_upload_path(name, *length);
  if (!path) co_return no(path.error());
  ++uploads;
  http::request_parser<http::buffer_body> parser(std::move(head));
  parser.body_limit(options.max_image_bytes);
  if (parser.get()[http::field::expect] == "100-continue") {
    static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    auto [ec, n] = co_await asio::async_write(stream, asio::buffer(kContinue), kToken);
    static_cast<void>(ec);
  }
  auto received = co_await receive(stream, buffer, parser, *path);
  --uploads;
  if (!received) {
    std::error_code ignored;
    std::filesystem::remove(*path, ignored);
    co_return no(received.error());
  }
  beast::get_lowest_layer(stream).expires_never();
  const std::string key = request.headers.contains("idempotency-key") ? request.headers["idempotency-key"] : std::string();
  auto done = co_await cell.import_image(request.caller, name, *path, std::move(reason), key);
  if (!done) co_return no(done.error());
  HttpReply reply;
  reply.status = done->operation.empty() ? 200 : 202;
  if (!done->operation.empty()) reply.headers["Location"] = "/v1/operations/" + done->operation;
  reply.body = std::make_shared<const std::string>(json::submitted(*done));
  co_return reply;
}

asio::awaitable<void> Server::Impl::requests(Stream& stream, core::Caller caller, Result<core::Caller> identity) {
  beast::flat_buffer buffer(ServerLimits::header_bytes + std::size_t{512} * 1024);
  bool keep = true;
  bool first = true;
  while (keep && !stopping) {
    http::request_parser<http::empty_body> head;
    head.header_limit(ServerLimits::header_bytes);
    head.body_limit(options.max_image_bytes);
    beast::get_lowest_layer(stream).expires_after(first ? ServerLimits::request_time : ServerLimits::idle_time);
    first = false;
    auto [ec, n] = co_await http::async_read_header(stream, buffer, head, kToken);
    if (ec == http::error::header_limit) {
      auto reply = problem(fail(Errc::invalid, "the request's head is larger than 8 KiB"), "");
      reply.status = 431;
      co_await send(stream, std::move(reply), false, false);
      co_return;
    }
    if (ec) {
      const bool garbage = ec.category() == make_error_code(http::error::bad_method).category() &&
                           ec != http::error::end_of_stream && ec != http::error::partial_message;
      if (garbage) co_await send(stream, problem(fail(Errc::invalid, "this is not HTTP/1.1: " + ec.message()), ""), false, false);
      co_return;
    }
    const std::string target(head.get().target());
    const bool is_upload = head.get().method() == http::verb::put && target.starts_with("/v1/images/");
    const bool is_events = head.get().method() == http::verb::get && (target == "/v1/events" || target.starts_with("/v1/events?"));
    keep = head.get().keep_alive();
    http::request<http::string_body> shell;
    shell.base() = head.get().base();
    HttpRequest request = request_of(shell, caller);
    if (!identity) {
      co_await send(stream, problem(identity.error(), target), false, false);
      co_return;
    }
    if (is_events) {
      if (streams >= ServerLimits::streams) {
        co_await send(stream, problem(fail(Errc::unavailable, "too many event streams are open"), target), false, false);
        co_return;
      }
      ++streams;
      co_await events(stream, std::move(request));
      --streams;
      co_return;
    }
    HttpReply reply;
    if (is_upload) {
      reply = co_await upload(stream, buffer, head, std::move(request));
      if (reply.status >= 400) keep = false;  // the rest of the body was not read
    } else {
      http::request_parser<http::string_body> whole(std::move(head));
      whole.body_limit(ServerLimits::body_bytes);
      const auto length = whole.content_length();
      beast::get_lowest_layer(stream).expires_after(ServerLimits::request_time);
      boost::system::error_code body_ec;
      if (length && *length > ServerLimits::body_bytes) body_ec = http::error::body_limit;
      else if (!whole.is_done()) std::tie(body_ec, n) = co_await http::async_read(stream, buffer, whole, kToken);
      if (body_ec == http::error::body_limit) {
        reply = problem(fail(Errc::invalid, "the body is larger than 1 MiB; nothing was changed"), target);
        reply.status = 413;
        keep = false;
      } else if (body_ec) {
        co_return;
      } else {
        request.body = std::move(whole.get().body());
        beast::get_lowest_layer(stream).expires_never();
        reply = co_await router.handle(std::move(request));
      }
    }
    keep = co_await send(stream, std::move(reply), keep, false);
  }
}

asio::awaitable<void> Server::Impl::serve(tcp::socket socket) {
  const auto self = shared_from_this();
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  Stream stream(std::move(socket), tls);
  beast::get_lowest_layer(stream).expires_after(ServerLimits::handshake_time);
  ++handshakes;
  auto [ec] = co_await stream.async_handshake(asio::ssl::stream_base::server, kToken);
  --handshakes;
  if (ec) co_return;
  auto identity = caller_of(stream);
  core::Caller caller;
  if (identity) caller = *identity;
  co_await requests(stream, caller, identity);
  beast::get_lowest_layer(stream).expires_after(std::chrono::seconds(2));
  auto [end] = co_await stream.async_shutdown(kToken);
  static_cast<void>(end);
}

asio::awaitable<void> Server::Impl::accept() {
  const auto self = shared_from_this();
  asio::steady_timer pause(executor);
  while (!stopping) {
    if (handshakes >= ServerLimits::handshakes) {
      pause.expires_after(std::chrono::milliseconds(20));
      co_await pause.async_wait(kToken);
      continue;
    }
    auto [ec, socket] = co_await acceptor.async_accept(kToken);
    if (ec == asio::error::operation_aborted) co_return;
    if (ec) {  // out of descriptors: give others time to end
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(kToken);
      continue;
    }
    if (connections >= ServerLimits::connections) continue;  // closes it
    ++connections;
    auto task = serve(std::move(socket));
    asio::co_spawn(executor, std::move(task), [self](const std::exception_ptr& error) {
      --self->connections;
      if (error) {
        try {
          std::rethrow_exception(error);
        } catch (const std::exception& e) {
          spdlog::error("a connection ended by an exception: {}", e.what());
        }
      }
    });
  }
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::make(const asio::any_io_executor& executor, ServerOptions options, CellPort& cell) {
  auto impl = std::make_shared<Impl>(executor, std::move(options), cell);
  if (auto ok = impl->open(); !ok) return ok.error();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

asio::awaitable<void> Server::run() { co_await impl_->accept(); }
void Server::stop() {
  impl_->stopping = true;
  boost::system::error_code ignored;
  impl_->acceptor.close(ignored);
}
std::uint16_t Server::port() const {
  boost::system::error_code ec;
  return impl_->acceptor.local_endpoint(ec).port();
}

}  // namespace bascule::api
