// The worker pool, and the accelerator probe with QEMU itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "hostd/runtime/libvirt/accel_probe.hpp"
#include "hostd/runtime/libvirt/worker_pool.hpp"

namespace bascule::runtime::libvirt {
namespace {
using std::chrono::milliseconds;

TEST(WorkerPool, RunsJobsInThreadsOfItsName) {
  WorkerPool pool("lv-test", 2, 10);
  std::promise<std::string> name;
  ASSERT_TRUE(pool.post([&] {
    // The creator gives the name just after the start of the thread.
    char text[16] = "";
    for (int i = 0; i < 200 && std::string(text) != "lv-test"; ++i) {
      pthread_getname_np(pthread_self(), text, sizeof text);
      usleep(1000);
    }
    name.set_value(text);
  }));
  EXPECT_EQ(name.get_future().get(), "lv-test");
  EXPECT_TRUE(pool.close(milliseconds(2000)));
}

TEST(WorkerPool, RefusesWhatDoesNotFitAndWhatComesAfterTheEnd) {
  WorkerPool pool("lv-test", 1, 2);
  std::promise<void> hold;
  const auto held = hold.get_future().share();
  std::promise<void> busy;
  ASSERT_TRUE(pool.post([&busy, held] {
    busy.set_value();
    held.wait();
  }));
  busy.get_future().wait();
  EXPECT_TRUE(pool.post([] {}));
  EXPECT_TRUE(pool.post([] {}));
  EXPECT_FALSE(pool.post([] {})) << "the queue has no limit";
  hold.set_value();
  EXPECT_TRUE(pool.close(milliseconds(2000)));
  EXPECT_FALSE(pool.post([] {}));
}

TEST(WorkerPool, RunsAsManyJobsAtOnceAsItHasThreads) {
  WorkerPool pool("lv-test", 3, 10);
  std::atomic<int> inside{0};
  std::promise<void> all;
  const auto together = all.get_future().share();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(pool.post([&, together] {
      if (++inside == 3) all.set_value();
      together.wait_for(std::chrono::seconds(5));
    }));
  }
  EXPECT_EQ(together.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_TRUE(pool.close(milliseconds(2000)));
}

TEST(WorkerPool, AStuckJobDoesNotHoldUpTheEnd) {
  auto hold = std::make_shared<std::promise<void>>();
  const auto held = hold->get_future().share();
  auto done = std::make_shared<std::promise<void>>();
  auto ended = done->get_future();
  {
    WorkerPool pool("lv-test", 1, 2);
    ASSERT_TRUE(pool.post([held, done] {
      held.wait();
      done->set_value();
    }));
    usleep(20000);
    EXPECT_FALSE(pool.close(milliseconds(20)));
  }
  hold->set_value();
  ended.wait();
}

template <class T>
T get(boost::asio::awaitable<T> call) {
  boost::asio::io_context io;
  auto future = boost::asio::co_spawn(io, std::move(call), boost::asio::use_future);
  io.run();
  return future.get();
}

TEST(AccelProbe, TheProbeGuestComesToItsEndUnderTcg) {
  if (access(qemu_path, X_OK) != 0) GTEST_SKIP() << "QEMU is not installed";
  const auto ran = get(run_probe_guest(core::Accel::tcg, qemu_path, milliseconds(20000)));
  EXPECT_TRUE(ran) << ran.error().what;
}

TEST(AccelProbe, WithoutProofItIsTcg) {
  // A QEMU that ends well but never ran the guest, and one that hangs.
  const auto ended = get(run_probe_guest(core::Accel::kvm, "/bin/true", milliseconds(2000)));
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, core::Errc::refused);
  EXPECT_THAT(ended.error().what, ::testing::HasSubstr("status 0"));
  EXPECT_EQ(get(probe_accel("/bin/true", milliseconds(2000))).accel, core::Accel::tcg);
  const auto missing = get(probe_accel("/no/such/qemu", milliseconds(2000)));
  EXPECT_EQ(missing.accel, core::Accel::tcg);
  EXPECT_FALSE(missing.sentence.empty());
}

TEST(AccelProbe, ThisMachineAnswersWithinTheLimit) {
  if (access(qemu_path, X_OK) != 0) GTEST_SKIP() << "QEMU is not installed";
  const auto begin = std::chrono::steady_clock::now();
  const auto probe = get(probe_accel());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, probe_limit + milliseconds(3000));
  RecordProperty("accel", std::string(core::to_string(probe.accel)));
  std::cout << probe.sentence << "\n";
}

}  // namespace
}  // namespace bascule::runtime::libvirt
