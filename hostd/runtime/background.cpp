#include "hostd/runtime/background.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <cstdlib>
#include <exception>

#include "hostd/runtime/say.hpp"

namespace bascule::runtime {

void run_in_background(const boost::asio::any_io_executor& executor, std::string what,
                       boost::asio::awaitable<void> task) {
  auto ended = [what = std::move(what)](const std::exception_ptr& error) {
    if (!error) return;
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& e) {
      say(msg::hostd_broke, {}, "{}: an exception that nobody expected: {}; hostd ends and is started anew", what,
          e.what());
    } catch (...) {
      say(msg::hostd_broke, {}, "{}: an exception of no known kind; hostd ends and is started anew", what);
    }
    spdlog::default_logger()->flush();
    std::abort();
  };
  boost::asio::co_spawn(executor, std::move(task), std::move(ended));
}

}  // namespace bascule::runtime
