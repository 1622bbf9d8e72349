// Event streams: their texts are made on the io thread and written here.
#include <fmt/format.h>

#include <array>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "api/session.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::api {
namespace asio = boost::asio;
using core::Errc;
using core::fail;

namespace {

constexpr std::size_t kChatter = 4096;  // bytes a subscriber may send without being cut

/// A stream's texts with all they are made of; used on the io thread, but for its making and its end.
struct Following {
  std::shared_ptr<ServerState> state;
  std::shared_ptr<const Call> call;
  Subscription subscription;
  std::optional<Follower> follower;
  bool left{};  ///< io thread
};

/// On the io thread. Whatever goes wrong ends this stream alone.
asio::awaitable<std::string> next_text(std::shared_ptr<Following> f) try {
  auto turn = f->state->turns.take(name_of(f->call->caller), !is_other(f->call->caller.role));
  co_await std::move(turn);
  if (f->left) co_return std::string();
  if (!f->follower) {
    f->follower.emplace(*f->call, std::move(f->subscription), f->state->io_thread, f->state->limits().heartbeat);
  }
  auto text = f->follower->next();
  co_return co_await std::move(text);
} catch (const std::exception& e) {
  say(msg::api_failed, {}, "an event stream ends: {}", e.what());
  co_return std::string();
}

/// Whatever ends a stream, nothing goes on for it on the io thread.
class Leaving {
 public:
  explicit Leaving(std::shared_ptr<Following> following) : following_(std::move(following)) {}
  ~Leaving() {
    asio::post(following_->state->io_thread, [f = following_] {
      f->left = true;
      if (f->follower) f->follower->leave();
    });
  }
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;

 private:
  std::shared_ptr<Following> following_;
};

}  // namespace

asio::awaitable<void> Session::follow(SharedCall call, Subscription subscription) {
  const auto following =
      std::make_shared<Following>(Following{state_, std::move(call), std::move(subscription), std::nullopt});
  const Leaving leaving(following);
  while (true) {
    auto making = next_text(following);
    auto text = co_await carry_out_on<std::string>(state_->io_thread, "an event stream", std::move(making));
    if (!text || text->empty()) co_return;
    if (!co_await write(std::move(*text))) co_return;
  }
}

asio::awaitable<bool> Session::subscribe(SharedCall call, Clock::time_point began) {
  auto subscription = Subscription::of(*call);
  if (!subscription) co_return co_await answer(&call->route, Router::refusal(*call, subscription.error()), true, began);
  auto& metrics = state_->router.metrics();
  const Place place(state_->streams);
  const NamedPlace named(state_->streams_of, name_of(call->caller));
  if (state_->streams > limits().streams || state_->streams_of[name_of(call->caller)] > limits().streams_per_name) {
    metrics.refused("streams");
    const auto full =
        fail(Errc::unavailable, "this host has as many event streams as it takes; end some, or ask another host");
    co_return co_await answer(&call->route, Router::refusal(*call, full), true, began);
  }
  metrics.answered(&call->route, 200, Clock::now() - began);
  std::string head =
      fmt::format("HTTP/1.1 200 OK\r\nDate: {}\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                  "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
                  date());
  if (!co_await write(std::move(head)) || state_->stopping) co_return false;
  metrics.streams(1);
  using namespace asio::experimental::awaitable_operators;
  auto following = follow(call, std::move(*subscription));
  auto leaving = until_peer_leaves();
  auto stopping = state_->stop.wait(state_->stop.count(), Clock::time_point::max());
  auto either = std::move(leaving) || std::move(following) || std::move(stopping);
  co_await std::move(either);
  metrics.streams(-1);
  if (wrote_too_slowly_) metrics.stream_dropped();
  co_return false;
}

/// A subscriber has nothing to say: whatever it sends is thrown away until it hangs up.
asio::awaitable<void> Session::until_peer_leaves() {
  std::array<char, 256> sink{};
  for (std::size_t heard = 0; heard < kChatter;) {
    // A read takes the deadline that stands when it begins: a write's would end the stream.
    stream_.next_layer().expires_never();
    auto [ec, n] = co_await stream_.async_read_some(asio::buffer(sink), kToken);
    if (ec) co_return;
    heard += n;
  }
}

asio::awaitable<bool> Session::write(std::string text) {
  const auto began = Clock::now();
  within(limits().write_time);
  auto [ec, n] = co_await asio::async_write(stream_, asio::buffer(text), kToken);
  // The timeout closes the socket, and the read beside this write may be told first.
  wrote_too_slowly_ = ec && Clock::now() - began >= limits().write_time;
  stream_.next_layer().expires_never();
  co_return !ec;
}

}  // namespace bascule::api
