// One at a time: coroutines of one thread wait for their turn. Internal to this folder.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <utility>

namespace bascule::storage {

class Turn {
  struct State {
    explicit State(const boost::asio::any_io_executor& executor) : wake(executor) {
      wake.expires_at(boost::asio::steady_timer::time_point::max());
    }
    boost::asio::steady_timer wake;
    bool busy{};
  };

 public:
  explicit Turn(const boost::asio::any_io_executor& executor) : state_(std::make_shared<State>(executor)) {}

  /// Held until destroyed.
  class Hold {
   public:
    explicit Hold(std::shared_ptr<State> state) : state_(std::move(state)) { state_->busy = true; }
    Hold(Hold&&) = default;
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    Hold& operator=(Hold&&) = delete;
    ~Hold() {
      if (!state_) return;
      state_->busy = false;
      state_->wake.cancel_one();
    }

   private:
    std::shared_ptr<State> state_;
  };

  boost::asio::awaitable<Hold> take() {
    const auto state = state_;
    while (state->busy) {
      const auto [error] = co_await state->wake.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
      static_cast<void>(error);
    }
    co_return Hold(state);
  }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace bascule::storage
