// Turns of calls on the io thread, which hostd's lease needs too: a call takes milliseconds, and hundreds of
// connections can have one ready at the same moment. Between two of them everything else that is due gets its turn.
// Thread rule: io thread only.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

namespace bascule::api {

class Turns {
 public:
  explicit Turns(boost::asio::any_io_executor executor)
      : executor_(executor), next_(std::make_shared<Channel>(executor, 1)) {
    next_->try_send(boost::system::error_code());
  }

  /// First come, first served. Whoever comes after waits for a round of the io thread, not for this one's answer.
  boost::asio::awaitable<void> take() {
    auto turn = next_->async_receive(boost::asio::as_tuple(boost::asio::use_awaitable));
    co_await std::move(turn);
    boost::asio::post(executor_, [next = next_] { next->try_send(boost::system::error_code()); });
  }

 private:
  using Channel = boost::asio::experimental::channel<void(boost::system::error_code)>;
  boost::asio::any_io_executor executor_;
  std::shared_ptr<Channel> next_;
};

}  // namespace bascule::api
