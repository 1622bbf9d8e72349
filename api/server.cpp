#include "api/server.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <vector>

#include "api/state.hpp"
#include "hostd/runtime/background.hpp"

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
  spdlog::warn("the web console is not served: {}", files.error().what);
  return ConsoleFiles(files.error().what);
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
  explicit Impl(const asio::any_io_executor& executor, ServerOptions options, CellPort& cell, ConsoleFiles files)
      : state(std::make_shared<ServerState>(executor, std::move(options), cell, std::move(files))),
        acceptor(executor) {}

  std::shared_ptr<ServerState> state;
  tcp::acceptor acceptor;

  Result<> open();
  asio::awaitable<void> accept();
  asio::awaitable<void> room();
  Result<> reload();
  bool shaking_is_full() const { return state->shaking.size() >= state->limits().handshakes; }
  bool full() const { return state->connections >= state->limits().connections || shaking_is_full(); }
  const Stranger* oldest() const;
};

Result<> Server::Impl::open() {
  auto trust = Trust::make(state->options.tls, state->options.allow_tls12, state->options.identities);
  if (!trust) return trust.error();
  state->trust = std::move(*trust);
  state->router.set_trust(state->trust->status());
  for (const auto& warning : state->trust->status().warnings(std::time(nullptr))) spdlog::warn("{}", warning);
  const auto endpoint = endpoint_of(state->options.listen);
  if (!endpoint) return endpoint.error();
  boost::system::error_code ec;
  acceptor.open(endpoint->protocol(), ec);
  if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  if (!ec) acceptor.bind(*endpoint, ec);
  if (!ec) acceptor.listen(kQueue, ec);
  if (ec) return fail(Errc::io, "cannot listen on " + state->options.listen + ": " + ec.message());
  return {};
}

/// The one that gives way to a newcomer; nullptr: there is none.
const Stranger* Server::Impl::oldest() const {
  const auto& line = shaking_is_full() || state->refused.empty() ? state->shaking : state->refused;
  return line.empty() ? nullptr : &line.front();
}

/// Waits until another connection can be taken. Anybody can connect and say nothing, and a client can do it hundreds of
/// times: whoever was let in keeps its place, but the others do not keep out those who come after them.
asio::awaitable<void> Server::Impl::room() {
  using Clock = std::chrono::steady_clock;
  while (!state->stopping && full()) {
    auto until = Clock::time_point::max();
    if (const auto* stranger = oldest()) {
      until = stranger->since + state->limits().patience;
      if (Clock::now() >= until) {
        stranger->connection->abort();
        until = Clock::time_point::max();  // its end is told
      }
    }
    co_await state->ended.wait(state->ended.count(), until);
  }
}

asio::awaitable<void> Server::Impl::accept() {
  asio::steady_timer pause(state->executor);
  while (!state->stopping) {
    co_await room();
    if (state->stopping) co_return;
    auto [ec, socket] = co_await acceptor.async_accept(kToken);
    if (state->stopping) co_return;
    if (ec) {  // out of descriptors, or the peer has gone already
      pause.expires_after(kNoDescriptors);
      co_await pause.async_wait(kToken);
      continue;
    }
    auto task = serve(state, std::move(socket));
    runtime::run_in_background(state->executor, "an API connection", std::move(task));
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
  if (ended > 0) spdlog::warn("{} API connections are ended: their certificates are not accepted any more", ended);
}
}  // namespace

Result<> Server::Impl::reload() {
  auto done = state->trust->reload();
  state->router.set_trust(state->trust->status());
  if (!done) {
    spdlog::error("{}", state->trust->status().problem);
    return done;
  }
  spdlog::info("certificates, revocation lists and identities are read again");
  for (const auto& warning : state->trust->status().warnings(std::time(nullptr))) spdlog::warn("{}", warning);
  auto task = look_through(state);
  runtime::run_in_background(state->executor, "looking through the API's connections", std::move(task));
  return done;
}

asio::awaitable<void> Server::watch_files(std::shared_ptr<Impl> impl) {
  auto& state = *impl->state;
  while (!state.stopping) {
    co_await state.stop.wait(state.stop.count(), std::chrono::steady_clock::now() + state.limits().files_time);
    if (!state.stopping && state.trust->files_changed()) static_cast<void>(impl->reload());
  }
}

Result<> Server::reload() { return impl_->reload(); }

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::make(const asio::any_io_executor& executor, ServerOptions options,
                                             CellPort& cell) {
  auto files = console_of(options.console);
  auto impl = std::make_shared<Impl>(executor, std::move(options), cell, std::move(files));
  if (auto ok = impl->open(); !ok) return ok.error();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

asio::awaitable<void> Server::run() {
  const auto impl = impl_;
  auto& state = *impl->state;
  auto watching = watch_files(impl);
  runtime::run_in_background(state.executor, "watching certificates", std::move(watching));
  co_await impl->accept();
  co_await wait_until_empty(state, std::chrono::steady_clock::now() + state.limits().stop_time);
  if (state.connections == 0) co_return;
  spdlog::warn("{} API connections did not end in time and are cut", state.connections);
  const std::vector<Stoppable*> left(state.open.begin(), state.open.end());
  for (auto* connection : left) connection->abort();
  co_await wait_until_empty(state, std::chrono::steady_clock::now() + kAbortTime);
}

void Server::stop() {
  auto& state = *impl_->state;
  if (state.stopping) return;
  state.stopping = true;
  boost::system::error_code ignored;
  impl_->acceptor.close(ignored);
  state.stop.notify();
  state.ended.notify();
  const std::vector<Stoppable*> all(state.open.begin(), state.open.end());
  for (auto* connection : all) connection->stop();
}

std::uint16_t Server::port() const {
  boost::system::error_code ec;
  return impl_->acceptor.local_endpoint(ec).port();
}

}  // namespace bascule::api
