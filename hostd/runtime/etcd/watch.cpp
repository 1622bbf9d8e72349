#include "hostd/runtime/etcd/watch.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>

#include "hostd/runtime/background.hpp"
#include "hostd/runtime/etcd/encode.hpp"
#include "hostd/runtime/etcd/watch_cursor.hpp"

namespace bascule::runtime::etcd {
namespace {

namespace asio = boost::asio;
using core::Errc;
using core::Result;
using std::chrono::milliseconds;

constexpr std::string_view kWatchPath = "/v3/watch";
constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{1000};

auto quiet() { return asio::as_tuple(asio::use_awaitable); }

/// Shared by the reader coroutine and the handle.
struct State {
  State(std::shared_ptr<Members> all, std::string keys, core::kv::Revision from)
      : members(std::move(all)),
        prefix(std::move(keys)),
        cursor(from),
        readable(members->executor()),
        writable(members->executor()),
        timer(members->executor()) {}

  void stop() {
    stopped = true;
    timer.cancel();
    readable.cancel();
    writable.cancel();
    if (connection) connection->close();
  }
  [[nodiscard]] bool over() const { return stopped || members->stopped(); }

  std::shared_ptr<Members> members;
  std::string prefix;
  WatchCursor cursor;
  std::deque<WatchItem> queue;  // at most kWatchQueue
  asio::steady_timer readable;  // cancelled when an item was added
  asio::steady_timer writable;  // cancelled when one was taken
  asio::steady_timer timer;     // between two streams
  std::shared_ptr<Connection> connection;
  bool stopped{false};
  bool done{false};              // the reader has ended, the queue gets nothing more
  bool told_disconnected{true};  // a new watch is not connected yet
};

asio::awaitable<void> put(std::shared_ptr<State> state, WatchItem item) {
  while (state->queue.size() >= kWatchQueue && !state->over()) {
    state->writable.expires_at(Deadline::max());
    co_await state->writable.async_wait(quiet());
  }
  state->queue.push_back(std::move(item));
  state->readable.cancel();
}

/// Reads one stream to its end. True: the watch is over.
asio::awaitable<bool> follow(std::shared_ptr<State> state, std::string& why) {
  using Act = WatchCursor::Step::Act;
  while (!state->over()) {
    const Result<std::string> line = co_await state->connection->next_line();
    if (!line && line.error().code == Errc::exhausted) {
      WatchItem item{WatchItem::Kind::relist, state->cursor.next() - 1, {}, "Too many changes at once; list again."};
      co_await put(state, std::move(item));
      co_return true;
    }
    why = line ? std::string() : line.error().what;
    if (!line) co_return false;
    Result<WatchMessage> message = decode_watch(*line);
    if (!message) {
      why = message.error().what;
      co_return false;
    }
    WatchCursor::Step step = state->cursor.accept(*std::move(message));
    why = step.item.detail;
    if (step.act == Act::reconnect) co_return false;
    if (step.act == Act::nothing) continue;
    if (step.item.kind == WatchItem::Kind::connected) state->told_disconnected = false;
    co_await put(state, std::move(step.item));
    if (step.act == Act::finish) co_return true;
  }
  co_return true;
}

/// Opens a stream on one member and follows it. True: the watch is over.
asio::awaitable<bool> serve(std::shared_ptr<State> state, std::size_t member, std::string& why) {
  const Deadline deadline = Deadline::clock::now() + state->members->options().connect_timeout;
  auto opened = co_await state->members->open_for_watch(member, deadline);
  if (!opened) {
    why = opened.error().what;
    if (opened.error().code == Errc::unavailable) state->members->failed(member, why);
    co_return false;
  }
  if (state->over()) co_return true;
  state->connection = *std::move(opened);
  const std::string body = encode_watch(state->prefix, state->cursor.next());
  const Result<> begun = co_await state->connection->begin_stream(kWatchPath, body, deadline);
  if (!begun) {
    why = begun.error().what;
    state->members->failed(member, why);
    co_return false;
  }
  co_return co_await follow(state, why);
}

asio::awaitable<void> run(std::shared_ptr<State> state) {
  milliseconds pause = kFirstPause;
  for (std::size_t turn = 0; !state->over(); ++turn) {
    const std::vector<std::size_t> order = state->members->order();
    const core::kv::Revision before = state->cursor.next();
    std::string why = "no member may be used";
    if (!order.empty()) {
      const bool over = co_await serve(state, order[turn % order.size()], why);
      if (state->connection) state->connection->close();
      state->connection.reset();
      if (over) co_return;
    }
    if (state->over()) break;
    if (!state->told_disconnected) {
      state->told_disconnected = true;
      turn = 0;
      pause = kFirstPause;
      WatchItem item{WatchItem::Kind::disconnected, before - 1, {}, std::move(why)};
      item.revision = state->cursor.next() - 1;
      co_await put(state, std::move(item));
    }
    state->timer.expires_after(pause);
    co_await state->timer.async_wait(quiet());
    pause = std::min(pause * 2, kLongestPause);
  }
  state->done = true;
  state->readable.cancel();
}

class EtcdWatch final : public KvWatch {
 public:
  explicit EtcdWatch(std::shared_ptr<State> state) : state_(std::move(state)) {}
  EtcdWatch(const EtcdWatch&) = delete;
  EtcdWatch& operator=(const EtcdWatch&) = delete;
  ~EtcdWatch() override { state_->stop(); }

  asio::awaitable<std::optional<WatchItem>> next(Deadline deadline) override {
    const std::shared_ptr<State> state = state_;  // may outlive this handle while it waits
    if (final_) co_return final_;
    while (state->queue.empty()) {
      if (state->over() || state->done) {
        co_return WatchItem{WatchItem::Kind::broken, state->cursor.next() - 1, {}, "The watch was closed."};
      }
      if (Deadline::clock::now() >= deadline) co_return std::nullopt;
      state->readable.expires_at(deadline);
      co_await state->readable.async_wait(quiet());
    }
    WatchItem item = std::move(state->queue.front());
    state->queue.pop_front();
    state->writable.cancel();
    if (item.kind == WatchItem::Kind::relist || item.kind == WatchItem::Kind::broken) final_ = item;
    co_return item;
  }

 private:
  std::shared_ptr<State> state_;
  std::optional<WatchItem> final_;
};

}  // namespace

std::unique_ptr<KvWatch> start_watch(std::shared_ptr<Members> members, std::string prefix, core::kv::Revision from) {
  auto state = std::make_shared<State>(std::move(members), std::move(prefix), from);
  run_in_background(state->members->executor(), "an etcd watch", run(state));
  return std::make_unique<EtcdWatch>(std::move(state));
}

}  // namespace bascule::runtime::etcd
