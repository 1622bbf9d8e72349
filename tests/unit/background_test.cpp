#include "hostd/runtime/background.hpp"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <stdexcept>

namespace bascule::runtime {
namespace {

namespace asio = boost::asio;

asio::awaitable<void> set(bool* done) {
  *done = true;
  co_return;
}
asio::awaitable<void> throws() {
  throw std::logic_error("a bug");
  co_return;
}

TEST(Background, ATaskThatEndsWellIsForgotten) {
  asio::io_context io;
  bool done = false;
  run_in_background(io.get_executor(), "a task", set(&done));
  io.run();
  EXPECT_TRUE(done);
}

TEST(BackgroundDeathTest, AnExceptionThatLeavesATaskEndsTheProcess) {
  EXPECT_DEATH(
      {
        asio::io_context io;
        run_in_background(io.get_executor(), "a task", throws());
        io.run();
      },
      "");
}

}  // namespace
}  // namespace bascule::runtime
