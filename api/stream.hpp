// The event stream of one subscriber. Knows no socket: it makes texts.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <string>

#include "api/handlers.hpp"
#include "hostd/runtime/signal.hpp"

namespace bascule::api {

/// What a subscriber asked for. Errors: invalid.
struct Subscription {
  core::Revision after{};
  bool from_oldest{};              ///< neither Last-Event-ID nor `after`
  std::vector<std::string> types;  ///< whole ("vm.changed") or kinds ("vm"); empty = all
  std::string object;              ///< empty = all

  static core::Result<Subscription> of(const Call& call);
  bool wants(const Event& event) const;
};

/// Makes the texts of one stream. Thread rule: io thread only.
class Follower {
 public:
  /// `call` must live as long.
  Follower(const Call& call, Subscription subscription, boost::asio::any_io_executor executor,
           std::chrono::milliseconds heartbeat);
  /// The next text to write: events, or a comment when there were none for a while. Empty: `leave` was called.
  boost::asio::awaitable<std::string> next();
  /// Nobody listens any more.
  void leave();

 private:
  const Call& call_;
  Subscription subscription_;
  std::chrono::milliseconds heartbeat_;
  runtime::Signal left_;
  bool gone_{};
  bool reset_;
  core::Revision after_;
  std::string out_;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace bascule::api
