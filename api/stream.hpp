// The event stream of one subscriber. Knows no socket: it writes to a sink.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <string>

#include "api/handlers.hpp"
#include "hostd/runtime/signal.hpp"

namespace bascule::api {

class EventSink {
 public:
  virtual ~EventSink() = default;
  /// False: the reader has gone, or is too slow.
  virtual boost::asio::awaitable<bool> write(std::string text) = 0;
};

/// What a subscriber asked for. Errors: invalid.
struct Subscription {
  core::Revision after{};
  bool from_oldest{};              ///< neither Last-Event-ID nor `after`
  std::vector<std::string> types;  ///< whole ("vm.changed") or kinds ("vm"); empty = all
  std::string object;              ///< empty = all

  static core::Result<Subscription> of(const Call& call);
  bool wants(const Event& event) const;
};

/// Writes events until the sink or `stop` ends it.
boost::asio::awaitable<void> follow_events(const Call& call, Subscription subscription, EventSink& sink,
                                           runtime::Signal& stop, const bool& stopping,
                                           std::chrono::milliseconds heartbeat);

}  // namespace bascule::api
