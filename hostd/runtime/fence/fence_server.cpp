#include "hostd/runtime/fence/fence_server.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <map>

#include "hostd/runtime/background.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using Socket = asio::local::stream_protocol::socket;

namespace {

constexpr std::chrono::seconds kLineDeadline{5};  // from the connection to the whole question
constexpr std::string_view kQuestion = "fence-peer ";
constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

bool good_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 &&
         std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
}

/// The resource that is asked about; empty when the line is not a question or does not come in time.
asio::awaitable<std::string> question(Socket& socket) {
  using namespace asio::experimental::awaitable_operators;
  std::string line;
  asio::steady_timer timer(socket.get_executor(), kLineDeadline);
  auto buffer = asio::dynamic_buffer(line, FenceServer::max_line);
  auto got = co_await (asio::async_read_until(socket, buffer, '\n', kNoThrow) || timer.async_wait(kNoThrow));
  if (got.index() != 0) co_return std::string{};
  const auto& [error, size] = std::get<0>(got);
  if (error || !line.starts_with(kQuestion)) co_return std::string{};
  std::string name = line.substr(kQuestion.size(), size - kQuestion.size() - 1);
  co_return good_name(name) ? name : std::string{};
}

}  // namespace

struct FenceServerState {
  FenceServerState(asio::any_io_executor executor, std::string where, FenceServer::Decide how)
      : acceptor(executor), path(std::move(where)), decide(std::move(how)) {}
  asio::local::stream_protocol::acceptor acceptor;
  std::string path;
  FenceServer::Decide decide;
  std::size_t open{};
  std::map<std::string, std::size_t> waiting;  // by resource: helpers that are there
  bool stopped{};
};

FenceServer::FenceServer(std::shared_ptr<FenceServerState> state) : state_(std::move(state)) {}
FenceServer::~FenceServer() { stop(); }

Result<std::unique_ptr<FenceServer>> FenceServer::make(asio::any_io_executor executor, std::string path,
                                                       Decide decide) {
  auto state = std::make_shared<FenceServerState>(executor, path, std::move(decide));
  boost::system::error_code ec;
  if (path.size() >= 100) return fail(Errc::invalid, "the path of the fence socket is too long: " + path);
  ::unlink(path.c_str());
  state->acceptor.open({}, ec);
  const auto mask = ::umask(0177);
  if (!ec) state->acceptor.bind(path, ec);
  ::umask(mask);
  if (!ec) state->acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec) {
    return fail(Errc::io, fmt::format("the socket {} for DRBD's questions cannot be made: {}", path, ec.message()));
  }
  return std::unique_ptr<FenceServer>(new FenceServer(std::move(state)));
}

void FenceServer::stop() {
  if (state_->stopped) return;
  state_->stopped = true;
  boost::system::error_code ec;
  state_->acceptor.close(ec);
}

std::size_t FenceServer::waiting(const std::string& resource) const {
  const auto it = state_->waiting.find(resource);
  return it == state_->waiting.end() ? 0 : it->second;
}

namespace {

/// A helper says nothing after its question: what comes is its end, or that of `serve`, which cancels the read.
asio::awaitable<void> until_gone(std::shared_ptr<FenceServerState> state, std::shared_ptr<Socket> socket,
                                 std::string resource) {
  char more = 0;
  const auto ended = co_await socket->async_read_some(asio::buffer(&more, 1), kNoThrow);
  static_cast<void>(ended);
  if (--state->waiting[resource] == 0) state->waiting.erase(resource);
}

asio::awaitable<void> serve(std::shared_ptr<FenceServerState> state, std::shared_ptr<Socket> socket) {
  auto resource = co_await question(*socket);
  if (!resource.empty()) {
    ++state->waiting[resource];  // before hostd decides, which asks for it
    auto there = until_gone(state, socket, resource);
    run_in_background(socket->get_executor(), "a helper of DRBD's", std::move(there));
    auto asked = state->decide(std::move(resource));
    const FenceAnswer answer = co_await std::move(asked);
    const std::string line = fmt::format("{}\n", static_cast<int>(answer));
    const auto sent = co_await asio::async_write(*socket, asio::buffer(line), kNoThrow);
    static_cast<void>(sent);
    boost::system::error_code ec;
    socket->cancel(ec);
  }
  --state->open;
}
}  // namespace

asio::awaitable<void> FenceServer::run() {
  const auto state = state_;
  const auto executor = co_await asio::this_coro::executor;
  while (!state->stopped) {
    auto socket = std::make_shared<Socket>(executor);
    const auto [error] = co_await state->acceptor.async_accept(*socket, kNoThrow);
    if (state->stopped) co_return;
    if (error || state->open >= max_questions) {
      // Refused by closing: the helper asks again.
      asio::steady_timer timer(executor, std::chrono::milliseconds(100));
      const auto waited = co_await timer.async_wait(kNoThrow);
      static_cast<void>(waited);
      continue;
    }
    ++state->open;
    run_in_background(executor, "a question of DRBD's", serve(state, std::move(socket)));
  }
}

}  // namespace bascule::runtime
