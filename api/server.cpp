#include "api/server.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <optional>
#include <thread>
#include <vector>

#include "api/crossing.hpp"
#include "api/state.hpp"
#include "hostd/runtime/background.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::api {
namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using core::Errc;
using core::fail;
using core::Result;

namespace {
constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr int kQueue = 1024;  // connections the kernel keeps for us
constexpr std::chrono::milliseconds kNoDescriptors{100};
constexpr int kNice = 5;  // of the API's thread
constexpr std::chrono::seconds kAbortTime{1};
constexpr std::int64_t kLastPort = 65535;

Result<tcp::endpoint> endpoint_of(const std::string& listen) {
  const auto bad = fail(Errc::invalid, "[api] listen: ip:port is needed, not '" + listen + "'");
  const auto colon = listen.rfind(':');
  if (colon == std::string::npos) return bad;
  const auto port = parse_number(std::string_view(listen).substr(colon + 1));
  std::string host = listen.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  boost::system::error_code ec;
  const auto address = asio::ip::make_address(host, ec);
  if (ec || !port || *port > kLastPort) return bad;
  return tcp::endpoint(address, static_cast<std::uint16_t>(*port));
}

/// A host serves its API with or without the console: guests depend on it.
ConsoleFiles console_of(const std::string& folder) {
  if (folder.empty()) return ConsoleFiles();
  auto files = ConsoleFiles::load(folder);
  if (files) return std::move(*files);
  say(msg::console_missing, {}, "the web console is not served: {}", files.error().what);
  return ConsoleFiles(files.error().what);
}

/// Whom a limit before the handshake is kept for: an IPv4 address, or the half of an IPv6 address that one customer
/// has.
std::string address_of(const tcp::socket& socket) {
  boost::system::error_code ec;
  auto address = socket.remote_endpoint(ec).address();
  if (ec) return {};
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  if (address.is_v4()) return address.to_string();
  auto bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + bytes.size() / 2, bytes.end(), std::uint8_t{0});
  return asio::ip::address_v6(bytes).to_string();
}

asio::awaitable<void> wait_until_empty(ServerState& state, std::chrono::steady_clock::time_point deadline) {
  while (state.connections > 0 && std::chrono::steady_clock::now() < deadline) {
    co_await state.ended.wait(state.ended.count(), deadline);
  }
}
}  // namespace

std::string name_of(const core::Caller& caller) {
  static constexpr std::string_view kRoles[] = {"operator", "client", "auditor", "host"};
  return std::string(kRoles[static_cast<std::size_t>(caller.role)]) + '/' + caller.project + '/' + caller.name;
}

struct Server::Impl {
  Impl(const asio::any_io_executor& io, ServerOptions options, CellPort& cell, ConsoleFiles files)
      : io_thread(io),
        state(std::make_shared<ServerState>(own->get_executor(), io, std::move(options), cell, std::move(files))),
        acceptor(std::make_unique<tcp::acceptor>(*own)),
        over(std::make_shared<Over>(io)) {}
  ~Impl() { end(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  /// On the io thread: the API's thread has nothing left to do.
  struct Over {
    explicit Over(const asio::any_io_executor& io) : told(io) {}
    runtime::Signal told;
    bool yes{};
  };

  asio::any_io_executor io_thread;
  std::unique_ptr<asio::io_context> own = std::make_unique<asio::io_context>(1);
  std::shared_ptr<ServerState> state;
  std::unique_ptr<tcp::acceptor> acceptor;
  std::shared_ptr<Over> over;
  std::uint16_t port{};
  std::thread thread;

  Result<> open();
  void begin();  ///< the API's thread
  void end();

  // On the API's thread.
  asio::awaitable<void> serve_all();
  asio::awaitable<void> accept();
  asio::awaitable<void> let_in();
  void come(Guest guest);
  void stop();
  Result<> reload(bool asked);
  asio::awaitable<Result<>> reload_here();
  asio::awaitable<void> watch_files();
  bool shaking_is_full() const { return state->shaking.size() >= state->limits().handshakes; }
  std::size_t shaking_of(const std::string& address) const;
  std::optional<Guest> next();
  const Stranger* gives_way() const;
};

Result<> Server::Impl::open() {
  auto trust = Trust::make(state->options.tls, state->options.allow_tls12, state->options.identities);
  if (!trust) return trust.error();
  state->trust = std::move(*trust);
  state->router.set_trust(state->trust->status());
  for (const auto& warning : state->trust->status().warnings(std::time(nullptr))) {
    say(msg::trust_warning, {}, "{}", warning);
  }
  const auto endpoint = endpoint_of(state->options.listen);
  if (!endpoint) return endpoint.error();
  boost::system::error_code ec;
  acceptor->open(endpoint->protocol(), ec);
  if (!ec) acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor->bind(*endpoint, ec);
  if (!ec) acceptor->listen(kQueue, ec);
  if (!ec) port = acceptor->local_endpoint(ec).port();
  if (ec) return fail(Errc::io, "cannot listen on " + state->options.listen + ": " + ec.message());
  return {};
}

void Server::Impl::begin() {
  runtime::run_in_background(own->get_executor(), "the API", serve_all());
  thread = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "api");
    // Where hostd has one processor with all this, the thread that renews the lease comes first.
    static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice));
    own->run();
  });
}

/// Whatever is still under way on the io thread finds nobody here any more.
void Server::Impl::end() {
  if (!own) return;
  own->stop();
  if (thread.joinable()) thread.join();
  state->files.join();
  while (state->door.drop()) {
  }
  acceptor.reset();
  own.reset();
}

std::size_t Server::Impl::shaking_of(const std::string& address) const {
  return static_cast<std::size_t>(std::ranges::count(state->shaking, address, &Stranger::address));
}

/// The next one whose handshake may begin; nullopt: nobody waits, or there is no room.
std::optional<Guest> Server::Impl::next() {
  if (state->connections >= state->limits().connections || shaking_is_full()) return std::nullopt;
  return state->door.pop_if(
      [&](const std::string& address) { return shaking_of(address) < state->limits().handshakes_per_address; });
}

/// The one that makes room for those at the door; nullptr: there is none. Of those in their handshake it is the oldest
/// of the address that has most of them.
const Stranger* Server::Impl::gives_way() const {
  if (state->connections >= state->limits().connections && !shaking_is_full() && !state->refused.empty()) {
    return &state->refused.front();
  }
  const Stranger* out = nullptr;
  std::size_t most = 0;
  for (const auto& stranger : state->shaking) {
    if (out != nullptr && stranger.address == out->address) continue;
    const std::size_t all = shaking_of(stranger.address);
    if (all > most) out = &stranger;
    most = std::max(most, all);
  }
  return out;
}

/// Anybody can connect and say nothing, and can do it hundreds of times: whoever was let in keeps its place, but the
/// others do not keep out those who come after them.
asio::awaitable<void> Server::Impl::let_in() {
  using Clock = std::chrono::steady_clock;
  while (!state->stopping) {
    const auto seen = state->ended.count();
    while (auto guest = next()) {
      if (Clock::now() - guest->since > state->limits().handshake_time) continue;
      auto task = serve(state, std::move(*guest));
      runtime::run_in_background(state->executor, "an API connection", std::move(task));
      co_await asio::post(state->executor, kToken);  // it counts itself when it begins
    }
    auto until = Clock::time_point::max();
    const auto* stranger = state->door.empty() ? nullptr : gives_way();
    if (stranger != nullptr) {
      until = stranger->since + state->limits().patience;
      if (Clock::now() >= until) {
        stranger->connection->abort();
        until = Clock::time_point::max();  // its end is told
      }
    }
    co_await state->ended.wait(seen, until);
  }
}

void Server::Impl::come(Guest guest) {
  const auto& limits = state->limits();
  if (state->door.size_of(guest.address) >= limits.waiting_per_address) {
    return state->router.metrics().refused("address");
  }
  const std::string address = guest.address;
  state->door.push(address, std::move(guest));
  if (state->door.size() > limits.waiting) {
    state->router.metrics().refused("waiting");
    state->door.drop();
  }
  state->ended.notify();
}

asio::awaitable<void> Server::Impl::accept() {
  asio::steady_timer pause(state->executor);
  while (!state->stopping) {
    auto [ec, socket] = co_await acceptor->async_accept(kToken);
    if (state->stopping) co_return;
    if (ec) {  // out of descriptors, or the peer has gone already
      pause.expires_after(kNoDescriptors);
      co_await pause.async_wait(kToken);
      continue;
    }
    std::string address = address_of(socket);
    come({std::move(socket), std::move(address), std::chrono::steady_clock::now()});
  }
}

namespace {
constexpr std::size_t kAtOnce = 16;  // certificates checked in one turn of the io thread, some 0.1 ms each

/// Ends the connections of those who are not welcome any more.
asio::awaitable<void> look_through(std::shared_ptr<ServerState> state) {
  const std::vector<Stoppable*> all(state->open.begin(), state->open.end());
  std::size_t checked = 0;
  std::size_t ended = 0;
  for (auto* connection : all) {
    if (!state->open.contains(connection)) continue;  // it has gone meanwhile
    if (!connection->welcome_still()) {
      connection->abort();
      ++ended;
    }
    if (++checked % kAtOnce == 0) co_await asio::post(state->executor, asio::use_awaitable);
  }
  if (ended > 0) {
    say(msg::connections_ended, {}, "{} API connections are ended: their certificates are not accepted any more",
        ended);
  }
}
}  // namespace

/// On the API's thread, where whoever uses what is read again runs. What is wrong is told once, or to whoever asks.
Result<> Server::Impl::reload(bool asked) {
  const std::string before = state->trust->status().problem;
  auto done = state->trust->reload();
  state->generation = state->trust->generation();
  const auto now = state->trust->status();
  asio::post(io_thread, [state = state, now] { state->router.set_trust(now); });
  if (!done) {
    if (asked || now.problem != before) say(msg::trust_refused, {}, "{}", now.problem);
    return done;
  }
  say(msg::trust_reloaded, {}, "certificates, revocation lists and identities are read again");
  for (const auto& warning : now.warnings(std::time(nullptr))) say(msg::trust_warning, {}, "{}", warning);
  auto task = look_through(state);
  runtime::run_in_background(state->executor, "looking through the API's connections", std::move(task));
  return done;
}

asio::awaitable<Result<>> Server::Impl::reload_here() { co_return reload(true); }

asio::awaitable<void> Server::Impl::watch_files() {
  while (!state->stopping) {
    co_await state->stop.wait(state->stop.count(), std::chrono::steady_clock::now() + state->limits().files_time);
    if (!state->stopping && state->trust->files_changed()) static_cast<void>(reload(false));
  }
}

asio::awaitable<Result<>> Server::reload() {
  if (!impl_->own) co_return fail(Errc::unavailable, "the API is stopping");
  auto task = impl_->reload_here();
  auto done =
      co_await carry_out_on<Result<>>(impl_->own->get_executor(), "reading certificates again", std::move(task));
  if (!done) co_return fail(Errc::unavailable, "the API is stopping");
  co_return *done;
}

asio::awaitable<void> Server::Impl::serve_all() {
  runtime::run_in_background(state->executor, "the API's door", let_in());
  runtime::run_in_background(state->executor, "watching certificates", watch_files());
  co_await accept();
  co_await wait_until_empty(*state, std::chrono::steady_clock::now() + state->limits().stop_time);
  if (state->connections > 0) {
    say(msg::api_cut, {}, "{} API connections did not end in time and are cut", state->connections);
    const std::vector<Stoppable*> left(state->open.begin(), state->open.end());
    for (auto* connection : left) connection->abort();
    co_await wait_until_empty(*state, std::chrono::steady_clock::now() + kAbortTime);
  }
  asio::post(io_thread, [over = over] {
    over->yes = true;
    over->told.notify();
  });
}

void Server::Impl::stop() {
  if (state->stopping) return;
  state->stopping = true;
  boost::system::error_code ignored;
  acceptor->close(ignored);
  while (state->door.drop()) {
  }
  state->stop.notify();
  state->ended.notify();
  const std::vector<Stoppable*> all(state->open.begin(), state->open.end());
  for (auto* connection : all) connection->stop();
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { impl_->end(); }

Result<std::unique_ptr<Server>> Server::make(const asio::any_io_executor& executor, ServerOptions options,
                                             CellPort& cell) {
  auto files = console_of(options.console);
  auto impl = std::make_shared<Impl>(executor, std::move(options), cell, std::move(files));
  if (auto ok = impl->open(); !ok) return ok.error();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

asio::awaitable<void> Server::run() {
  const auto over = impl_->over;
  impl_->begin();
  while (!over->yes) co_await over->told.wait(over->told.count(), std::chrono::steady_clock::time_point::max());
}

void Server::stop() {
  if (!impl_->own) return;
  asio::post(*impl_->own, [impl = impl_.get()] { impl->stop(); });
}

std::uint16_t Server::port() const { return impl_->port; }

}  // namespace bascule::api
