#include "api/session.hpp"

#include <fmt/format.h>

#include <array>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <ctime>

#include "api/message.hpp"
#include "api/tls.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::api {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using core::Errc;
using core::fail;

namespace {

constexpr std::size_t kReadAhead = 64 * 1024;                // beside the head: the body, or requests sent ahead
constexpr std::chrono::milliseconds kShutdownTime{2000};     // for the peer's own close_notify
constexpr std::chrono::milliseconds kStopShutdownTime{200};  // the same when the server stops
constexpr int kKernelBytes = 256 * 1024;                     // of an answer, in the kernel

}  // namespace

const std::string& date() {
  static std::time_t made = 0;
  static std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != made) {
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    std::array<char, 40> out{};
    const std::size_t n = std::strftime(out.data(), out.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    text.assign(out.data(), n);
    made = now;
  }
  return text;
}

namespace {

std::string head_of(const HttpReply& reply, bool keep) {
  std::string out =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: {}\r\n"
                  "X-Content-Type-Options: nosniff\r\n",
                  reply.status, reason_phrase(reply.status), date(), reply.content_type,
                  reply.body ? reply.body->size() : 0, reply.cache);
  for (const auto& [name, value] : reply.headers) out += fmt::format("{}: {}\r\n", name, value);
  if (!keep) out += "Connection: close\r\n";
  return out += "\r\n";
}

/// On the io thread. What it works on is its own: the connection may be gone before it ends.
asio::awaitable<HttpReply> carry_out(std::shared_ptr<ServerState> state, std::shared_ptr<const Call> call,
                                     std::shared_ptr<const Welcome> welcome) {
  while (true) {
    // A host asks about its lease, briefly: it waits for nobody.
    if (call->route.access != Access::hosts_only) {
      auto turn = state->turns.take(name_of(call->caller), !is_other(call->caller.role));
      co_await std::move(turn);
    }
    if (welcome->word(state->generation) == Welcome::Word::yes) break;
    auto asking = still_welcome(state, welcome);
    if (auto ok = co_await std::move(asking); !ok) co_return Router::refusal(*call, ok.error());
  }
  auto handling = state->router.handle(*call);
  co_return co_await std::move(handling);
}

constexpr std::chrono::milliseconds kAskedAgain{5};  // the API's thread looks through all connections in some 50 ms
constexpr int kAskings = 400;

template <class Parser>
bool has_body(const Parser& head) {
  return head.chunked() || head.content_length().value_or(0) > 0;
}

}  // namespace

asio::awaitable<core::Result<>> still_welcome(std::shared_ptr<const ServerState> state,
                                              std::shared_ptr<const Welcome> welcome) {
  for (int i = 0; i < kAskings; ++i) {
    const auto word = welcome->word(state->generation);
    if (word == Welcome::Word::yes) co_return core::Result<>{};
    if (word == Welcome::Word::no)
      co_return fail(Errc::forbidden, "your certificate was withdrawn, or names somebody else now; nothing was done");
    co_await runtime::pause(kAskedAgain);
  }
  co_return fail(Errc::unavailable, "certificates are being read again; nothing was done, try again");
}

Session::Session(std::shared_ptr<ServerState> state, Guest guest)
    : state_(std::move(state)),
      address_(std::move(guest.address)),
      stream_(beast::tcp_stream(std::move(guest.socket)), state_->trust->context()),
      buffer_(limits().header_bytes + kReadAhead),
      identity_(fail(Errc::forbidden, "no handshake yet")),
      generation_(state_->trust->generation()) {
  state_->open.insert(this);
}
Session::~Session() {
  state_->open.erase(this);
  welcome_->left = true;
}

void Session::stop() {
  if (idle_) stream_.next_layer().cancel();
}
void Session::abort() { stream_.next_layer().close(); }

asio::awaitable<bool> Session::shake_hands() {
  const Standing stranger(state_->shaking, *this, address_);
  within(limits().handshake_time);
  auto [ec] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kToken);
  if (ec) {
    state_->router.metrics().handshake_failed();
    co_return false;
  }
  known_ = true;
  identity_ = peer_of(stream_.native_handle(), state_->trust->identities());
  // The files may have changed while hands were shaken.
  if (generation_ != state_->trust->generation() && !accepts(state_->trust->context(), stream_.native_handle())) {
    state_->router.metrics().handshake_failed();
    co_return false;
  }
  welcome_->asked = state_->trust->generation();
  co_return true;
}

bool Session::welcome_still() {
  if (!known_ || !identity_) return true;  // its handshake asks by itself; who is nobody gets nothing
  const auto now = peer_of(stream_.native_handle(), state_->trust->identities());
  if (accepts(state_->trust->context(), stream_.native_handle()) && now && *now == *identity_) {
    welcome_->asked = state_->trust->generation();
    return true;
  }
  welcome_->over = true;
  return false;
}

/// Whether one more connection is within its role's and its name's limits.
std::optional<core::Error> Session::admit() {
  if (!identity_) return identity_.error();
  const char* what = nullptr;
  if (is_other(identity_->role) && state_->others >= limits().others) what = "connections";
  if (identity_->role == core::Role::client && state_->clients >= limits().clients) what = "clients";
  const auto named = state_->connections_of.find(name_of(*identity_));
  if (named != state_->connections_of.end() && named->second >= limits().per_name) what = "name";
  if (what == nullptr) return std::nullopt;
  state_->router.metrics().refused(what);
  return fail(Errc::unavailable, "this host has as many connections as it takes; use fewer, or ask another host");
}

asio::awaitable<void> Session::run() {
  const Place place(state_->connections);
  if (!co_await shake_hands()) co_return;
  state_->ended.notify();  // room for another handshake
  auto refused = admit();
  if (refused) identity_ = *refused;
  auto serving = refused ? turn_away() : welcome();
  co_await std::move(serving);
}

asio::awaitable<void> Session::welcome() {
  std::size_t uncounted = 0;
  const auto role = identity_->role;
  const Place other(is_other(role) ? state_->others : uncounted);
  const Place client(role == core::Role::client ? state_->clients : uncounted);
  const NamedPlace named(state_->connections_of, name_of(*identity_));
  state_->router.metrics().connections(role, 1);
  co_await requests();
  state_->router.metrics().connections(role, -1);
}

/// It counts for none of the limits it is over: otherwise one client could use up what is kept for others.
asio::awaitable<void> Session::turn_away() {
  const Standing stranger(state_->refused, *this, address_);
  co_await requests();
}

asio::awaitable<void> Session::requests() {
  while (!state_->stopping) {
    if (!co_await one()) break;
  }
  idle_ = false;
  if (wrote_too_slowly_) co_return;
  within(state_->stopping ? kStopShutdownTime : kShutdownTime);
  auto [ec] = co_await stream_.async_shutdown(kToken);
  static_cast<void>(ec);
}

asio::awaitable<bool> Session::wait_for_request() {
  if (buffer_.size() > 0) co_return true;  // sent ahead
  within(identity_ ? limits().idle_time : limits().header_time);
  idle_ = true;
  auto [ec, n] = co_await stream_.async_read_some(buffer_.prepare(limits().header_bytes), kToken);
  idle_ = false;
  if (ec) co_return false;
  buffer_.commit(n);
  co_return true;
}

asio::awaitable<bool> Session::bad_head(boost::system::error_code ec) {
  const auto began = Clock::now();
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
    auto reply = problem(431, "The head is too large",
                         fmt::format("a request's head has at most {} bytes", limits().header_bytes), "/");
    co_return co_await answer_and_drain(nullptr, std::move(reply), true, began);
  }
  // Anything of another category is the connection's own end: nobody is there to be told.
  const bool garbage = ec.category() == http::make_error_code(http::error::bad_method).category() &&
                       ec != http::error::end_of_stream && ec != http::error::partial_message;
  if (!garbage) co_return false;
  auto reply = problem(fail(Errc::invalid, "this is not HTTP/1.1: " + ec.message()), "/");
  co_return co_await answer_and_drain(nullptr, std::move(reply), true, began);
}

asio::awaitable<bool> Session::one() {
  if (!co_await wait_for_request()) co_return false;
  HeadParser head;
  head.header_limit(limits().header_bytes);
  head.body_limit(boost::none);  // each kind of body has its own, below
  within(limits().header_time);
  auto [ec, n] = co_await http::async_read_header(stream_, buffer_, head, kToken);
  if (ec) co_return co_await bad_head(ec);
  const auto began = Clock::now();
  auto request = request_of(head.get().base());
  if (!request) {
    auto reply = problem(request.error(), "/");
    co_return co_await answer_and_drain(nullptr, std::move(reply), has_body(head), began);
  }
  auto opened = state_->router.open(std::move(*request), identity_);
  if (auto* call = std::get_if<Call>(&opened)) co_return co_await dispatch(head, std::move(*call), began);
  auto& refusal = std::get<HttpReply>(opened);
  if (identity_ && head.keep_alive() && !has_body(head)) {
    co_return co_await answer(nullptr, std::move(refusal), true, began);
  }
  co_return co_await answer_and_drain(nullptr, std::move(refusal), has_body(head), began);
}

/// Answers that nobody takes are memory: who leaves too much unread is told so before anything is made for it.
bool Session::unsent_is_too_much() const {
  if (!is_other(identity_->role)) return false;
  const auto own = state_->unsent_of.find(name_of(*identity_));
  return state_->unsent >= limits().unsent_bytes ||
         (own != state_->unsent_of.end() && own->second >= limits().unsent_per_name);
}

asio::awaitable<HttpReply> Session::handled(SharedCall call) {
  stream_.next_layer().expires_never();  // the cell has deadlines of its own
  if (unsent_is_too_much()) {
    state_->router.metrics().refused("unsent");
    const auto full = fail(Errc::unavailable, "too many answers wait to be read; read them, then ask again");
    co_return Router::refusal(*call, full);
  }
  auto work = carry_out(state_, call, welcome_);
  auto reply = co_await carry_out_on<HttpReply>(state_->io_thread, "an API call", std::move(work));
  if (reply) co_return std::move(*reply);
  co_return Router::refusal(*call, fail(Errc::internal, "the call's connection was ended"));
}

asio::awaitable<bool> Session::dispatch(HeadParser& head, Call call, Clock::time_point began) {
  if (call.route.kind == Kind::change) co_return co_await change(head, std::move(call), began);
  const auto shared = std::make_shared<const Call>(std::move(call));
  if (shared->route.kind == Kind::upload) co_return co_await upload(head, shared, began);
  if (has_body(head)) {
    auto reply = problem(fail(Errc::invalid, "this request takes no body"), shared->request.target);
    co_return co_await answer_and_drain(&shared->route, std::move(reply), true, began);
  }
  if (shared->route.kind == Kind::events) co_return co_await subscribe(shared, began);
  auto reply = co_await handled(shared);
  co_return co_await answer(&shared->route, std::move(reply), head.keep_alive(), began);
}

/// Tells a client that waits for it (Expect: 100-continue) to send the body.
asio::awaitable<bool> Session::go_on_sending(const HeadParser& head) {
  const auto& fields = head.get();
  if (!beast::iequals(fields[http::field::expect], "100-continue")) co_return true;
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  within(limits().write_time);
  auto [ec, n] = co_await asio::async_write(stream_, asio::buffer(kContinue), kToken);
  co_return !ec;
}

asio::awaitable<bool> Session::change(HeadParser& head, Call call, Clock::time_point began) {
  const auto refuse = [&](int status, const char* title, std::string detail) {
    return answer_and_drain(&call.route, problem(status, title, std::move(detail), call.request.target), true, began);
  };
  const std::string too_large =
      fmt::format("the body has more than {} bytes; nothing was changed", limits().body_bytes);
  const bool keep = head.keep_alive();
  if (has_body(head)) {
    if (!has_content_type(call.request, "application/json")) {
      co_return co_await refuse(415, "Unsupported type", "the body must be application/json; nothing was changed");
    }
    if (head.content_length().value_or(0) > limits().body_bytes) co_return co_await refuse(413, "Too large", too_large);
    if (!co_await go_on_sending(head)) co_return false;
    http::request_parser<http::string_body> whole(std::move(head));
    whole.body_limit(limits().body_bytes);
    within(limits().body_time);
    auto [ec, n] = co_await http::async_read(stream_, buffer_, whole, kToken);
    if (ec == http::error::body_limit) co_return co_await refuse(413, "Too large", too_large);
    if (ec) co_return co_await bad_head(ec);
    call.request.body = std::move(whole.get().body());
  }
  const auto shared = std::make_shared<const Call>(std::move(call));
  auto reply = co_await handled(shared);
  co_return co_await answer(&shared->route, std::move(reply), keep, began);
}

asio::awaitable<bool> Session::answer(const Route* route, HttpReply reply, bool keep, Clock::time_point began) {
  keep = keep && identity_ && !state_->stopping;
  state_->router.metrics().answered(route, reply.status, Clock::now() - began);
  const std::string head = head_of(reply, keep);
  // The body is shared and goes out as it is: no copy for the many readers of one list.
  const bool send = reply.body && !reply.body_stays;
  std::array<asio::const_buffer, 2> buffers{asio::buffer(head),
                                            send ? asio::buffer(*reply.body) : asio::const_buffer()};
  const bool counted = send && identity_ && is_other(identity_->role);
  std::size_t uncounted = 0;
  const std::size_t size = counted ? reply.body->size() : 0;
  const Place unsent(counted ? state_->unsent : uncounted, size);
  const NamedPlace unsent_of(state_->unsent_of, counted ? name_of(*identity_) : std::string(), size);
  within(limits().write_time);
  auto [ec, n] = co_await asio::async_write(stream_, buffers, kToken);
  wrote_too_slowly_ = ec == beast::error::timeout;
  co_return !ec && keep;
}

asio::awaitable<bool> Session::answer_and_drain(const Route* route, HttpReply reply, bool body,
                                                Clock::time_point began) {
  auto sending = answer(route, std::move(reply), false, began);
  co_await std::move(sending);
  if (!body || wrote_too_slowly_) co_return false;
  within(limits().body_time);
  std::array<char, 16384> sink{};
  std::uint64_t left = limits().drain_bytes;
  while (left > 0) {
    auto [ec, n] = co_await stream_.async_read_some(asio::buffer(sink), kToken);
    if (ec) break;
    left -= std::min<std::uint64_t>(left, n);
  }
  co_return false;
}

asio::awaitable<void> serve(std::shared_ptr<ServerState> state, Guest guest) {
  boost::system::error_code ignored;
  guest.socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  // What the kernel holds for a reader that does not read; it would grow to megabytes by itself.
  guest.socket.set_option(asio::socket_base::send_buffer_size(kKernelBytes), ignored);
  try {
    Session session(state, std::move(guest));
    co_await session.run();
  } catch (const std::exception& e) {
    say(msg::api_failed, {}, "an API connection ended by an exception: {}", e.what());
  }
  state->ended.notify();
}

}  // namespace bascule::api
