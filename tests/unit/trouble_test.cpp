// What is wrong with a host's VMs, as it is told: once when it lasts, once when it is over, by the holder alone.
#include "hostd/trouble.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <boost/asio/detached.hpp>
#include <sstream>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "running_cell.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {
namespace {

namespace keys = runtime::keys;
using core::Mono;
using testing::HasSubstr;
using testing::IsEmpty;

class Trouble : public testing::TestWithParam<std::string> {
 protected:
  Trouble() {
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text_)));
    spdlog::default_logger()->set_level(spdlog::level::off);  // until the cell is read
    running_cell(root_, [this](const std::string& key, const auto& record) { set(key, record); });
    boost::asio::co_spawn(io_, cell_.run(), boost::asio::detached);
    EXPECT_TRUE(wait_for(io_, 10s, [this] { return cell_.view().synced; }));
    spdlog::default_logger()->set_level(spdlog::level::info);
  }
  ~Trouble() override { spdlog::set_default_logger(before_); }
  template <class T>
  void set(const std::string& key, const T& record) {
    auto done = kv_.apply_now(put(key, codec::encode(record)));
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_TRUE(wait_for(io_, 5s, [&] { return !cell_.view().synced || cell_.view().revision >= kv_.revision(); }));
  }
  /// The holder's own word of its link.
  void connection(const std::string& state) {
    auto status = core::test::running_vm().status.at("a1");
    status.connection = state;
    set(keys::vm_status(root_, "vm1", "a1"), status);
  }
  std::string told() { return std::exchange(text_, std::ostringstream()).str(); }

  std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
  std::ostringstream text_;
  boost::asio::io_context io_{1};
  FakeKv kv_{io_.get_executor()};
  runtime::CellStore cell_{io_.get_executor(), kv_, "test", GetParam(), "instance"};
  core::AlertRules rules_;
  std::string root_ = keys::root("test");
};

using TroubleOfTheHolder = Trouble;
TEST_P(TroubleOfTheHolder, ASplitBrainIsToldOnceWhenItLastsAndOnceWhenItIsOver) {
  TroubleTeller teller(cell_, rules_);
  teller.look(Mono(1'000));
  connection("StandAlone");
  teller.look(Mono(2'000));
  EXPECT_THAT(told(), IsEmpty()) << "a link that hostd connects by itself is none";
  teller.look(Mono(63'000));
  EXPECT_THAT(told(), HasSubstr("DRBD refuses the link"));
  teller.look(Mono(70'000));
  EXPECT_THAT(told(), IsEmpty()) << "once";
  connection("Connected");
  teller.look(Mono(75'000));
  EXPECT_THAT(told(), HasSubstr("split-brain-vm1 is over"));
  teller.look(Mono(80'000));
  EXPECT_THAT(told(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(A1, TroubleOfTheHolder, testing::Values("a1"));

using TroubleOfAnother = Trouble;
TEST_P(TroubleOfAnother, TheOtherHostSaysNothingOfIt) {
  TroubleTeller teller(cell_, rules_);
  connection("StandAlone");
  teller.look(Mono(2'000));
  teller.look(Mono(63'000));
  EXPECT_THAT(told(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(B1, TroubleOfAnother, testing::Values("b1"));

}  // namespace
}  // namespace bascule::testkit
