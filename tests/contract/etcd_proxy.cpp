#include "tests/contract/etcd_proxy.hpp"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <vector>

namespace bascule::testkit {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

auto quiet() { return asio::as_tuple(asio::use_awaitable); }

struct Pair {
  explicit Pair(tcp::socket from) : client(std::move(from)), server(client.get_executor()) {}
  void close() {
    boost::system::error_code ignored;
    client.close(ignored);
    server.close(ignored);
  }
  tcp::socket client;
  tcp::socket server;
};

}  // namespace

struct Proxy::Shared {
  Shared(asio::io_context& io, std::uint16_t to)
      : target(asio::ip::address_v4::loopback(), to),
        acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
        released(io) {
    released.expires_at(asio::steady_timer::time_point::max());
  }
  tcp::endpoint target;
  tcp::acceptor acceptor;
  asio::steady_timer released;  // cancelled by release()
  Mode mode{Mode::pass};
  std::vector<std::weak_ptr<Pair>> pairs;
};

namespace {

template <class Shared>
asio::awaitable<void> requests(std::shared_ptr<Shared> shared, std::shared_ptr<Pair> pair) {
  std::array<char, 16384> bytes{};
  while (true) {
    const auto [error, size] = co_await pair->client.async_read_some(asio::buffer(bytes), quiet());
    if (error) break;
    while (shared->mode == Proxy::Mode::hold_requests) co_await shared->released.async_wait(quiet());
    const auto [unsent, sent] = co_await asio::async_write(pair->server, asio::buffer(bytes, size), quiet());
    if (unsent) break;
  }
  // What was held back must be carried out by the server although its client has left: close a
  // moment later.
  asio::steady_timer moment(pair->client.get_executor(), std::chrono::milliseconds(300));
  co_await moment.async_wait(quiet());
  pair->close();
}

template <class Shared>
asio::awaitable<void> answers(std::shared_ptr<Shared> shared, std::shared_ptr<Pair> pair) {
  std::array<char, 16384> bytes{};
  while (true) {
    const auto [error, size] = co_await pair->server.async_read_some(asio::buffer(bytes), quiet());
    if (error || shared->mode == Proxy::Mode::lose_answers) break;
    if (shared->mode == Proxy::Mode::lose_one_answer) {
      shared->mode = Proxy::Mode::pass;
      break;
    }
    const auto [unsent, sent] = co_await asio::async_write(pair->client, asio::buffer(bytes, size), quiet());
    if (unsent) break;
  }
  pair->close();
}

template <class Shared>
asio::awaitable<void> accept(std::shared_ptr<Shared> shared) {
  while (true) {
    auto [error, socket] = co_await shared->acceptor.async_accept(quiet());
    if (error) co_return;
    if (shared->mode == Proxy::Mode::refuse) continue;
    auto pair = std::make_shared<Pair>(std::move(socket));
    const auto [failed] = co_await pair->server.async_connect(shared->target, quiet());
    if (failed) continue;
    pair->client.set_option(tcp::no_delay(true));
    pair->server.set_option(tcp::no_delay(true));
    shared->pairs.push_back(pair);
    asio::co_spawn(shared->acceptor.get_executor(), requests(shared, pair), asio::detached);
    asio::co_spawn(shared->acceptor.get_executor(), answers(shared, pair), asio::detached);
  }
}

}  // namespace

Proxy::Proxy(asio::io_context& io, std::uint16_t target) : shared_(std::make_shared<Shared>(io, target)) {
  asio::co_spawn(io, accept(shared_), asio::detached);
}

Proxy::~Proxy() {
  shared_->acceptor.close();
  set(Mode::refuse);
  release();
}

std::string Proxy::url() const {
  return "https://127.0.0.1:" + std::to_string(shared_->acceptor.local_endpoint().port());
}

void Proxy::set(Mode mode) {
  shared_->mode = mode;
  if (mode != Mode::refuse) return;
  for (const auto& weak : shared_->pairs) {
    if (const auto pair = weak.lock()) pair->close();
  }
  shared_->pairs.clear();
}

void Proxy::release() {
  if (shared_->mode == Mode::hold_requests) shared_->mode = Mode::pass;
  shared_->released.cancel();
}

}  // namespace bascule::testkit
