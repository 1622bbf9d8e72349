// Turns of calls on the io thread, which hostd's lease needs too: a call takes milliseconds, and hundreds of
// connections can have one ready at the same moment. Between two of them everything else that is due gets its turn, and
// calls that take long are followed by a pause as long as they took: all of them together have half of the thread.
// Thread rule: io thread only.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "api/fair_queue.hpp"

namespace bascule::api {

class Turns {
 public:
  explicit Turns(boost::asio::any_io_executor executor);

  /// Waits for a turn; what the caller then does before it is suspended again is one. Names take turns, whoever has
  /// many calls; staff (who mend a cell) and all others take turns, too.
  boost::asio::awaitable<void> take(std::string name, bool staff);

 private:
  using Timer = boost::asio::steady_timer;
  struct Lines {
    explicit Lines(const boost::asio::any_io_executor& executor) : pause(executor) {}
    FairQueue<Timer*> staff, others;
    Timer pause;
    bool busy{};
    bool staff_was_last{};
    std::chrono::steady_clock::time_point began;
  };
  static void give(const std::shared_ptr<Lines>& lines);
  static void give_back(const std::shared_ptr<Lines>& lines);

  boost::asio::any_io_executor executor_;
  std::shared_ptr<Lines> lines_;
};

}  // namespace bascule::api
