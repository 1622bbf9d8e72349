// Records of a format that this hostd does not know: it leaves the cell alone, and comes back when they are gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>

#include "core_fixture.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/format.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {
namespace {

namespace keys = runtime::keys;
namespace kv = core::kv;
using core::Errc;
using testing::HasSubstr;

const std::string kNewer = std::to_string(runtime::kCellFormat + 1);

class Format : public testing::Test {
 protected:
  Format() {
    const core::VmView vm = core::test::running_vm();
    set(keys::vm_spec(root_, "vm1"), codec::encode(vm.spec.value));
    set(keys::vm_layout(root_, "vm1"), codec::encode(vm.layout.value));
    set(keys::vm_right(root_, "vm1"), codec::encode(vm.right.value));
  }
  void set(const std::string& key, const std::string& text) {
    auto done = store_.apply_now(put(key, text));
    ASSERT_TRUE(done) << done.error().what;
  }
  std::optional<std::string> format() {
    kv::Txn read;
    read.success.emplace_back(kv::get(keys::format(root_)));
    const auto reply = store_.apply_now(read);
    const auto& kvs = std::get<kv::RangeReply>(reply->responses.front()).kvs;
    return kvs.empty() ? std::nullopt : std::optional(kvs.front().value);
  }
  void follow() { boost::asio::co_spawn(io_, cell_.run(), boost::asio::detached); }
  bool synced(std::chrono::milliseconds limit = 10s) {
    return wait_for(io_, limit, [this] { return cell_.view().synced; });
  }
  core::Result<core::Revision> commit() {
    const auto* vm = cell_.view().vm("vm1");
    core::Right right = core::test::running_vm().right.value;
    return run(io_, cell_.commit_right("vm1", right, vm == nullptr ? 0 : vm->right.revision, "a reason", 1));
  }

  const std::string root_ = keys::root("c");
  boost::asio::io_context io_;
  FakeKv store_{io_.get_executor()};
  runtime::CellStore cell_{io_.get_executor(), store_, "c", "a1", "instance"};
};

TEST(FormatRefusal, TakesUpToItsOwnAndRefusesWhatItDoesNotKnow) {
  EXPECT_FALSE(runtime::format_refusal("1"));
  EXPECT_FALSE(runtime::format_refusal(std::to_string(runtime::kCellFormat)));
  for (const std::string& bad : {kNewer, std::string("0"), std::string("-1"), std::string(""), std::string("1 "),
                                 std::string("one"), std::string("99999999999999999999")}) {
    const auto why = runtime::format_refusal(bad);
    ASSERT_TRUE(why) << bad;
    EXPECT_THAT(*why, HasSubstr("reads up to " + std::to_string(runtime::kCellFormat))) << bad;
  }
  EXPECT_THAT(*runtime::format_refusal(kNewer), HasSubstr("format " + kNewer + ","));
}

TEST_F(Format, IsWrittenOnceWhereNoneStands) {
  follow();
  ASSERT_TRUE(synced());
  EXPECT_EQ(format(), std::nullopt) << "looking at a cell does not change it";
  ASSERT_TRUE(run(io_, cell_.mark_format()));
  EXPECT_EQ(format(), std::to_string(runtime::kCellFormat));
  const auto at = store_.revision();
  ASSERT_TRUE(run(io_, cell_.mark_format()));
  EXPECT_EQ(store_.revision(), at) << "a second time changes nothing";
  EXPECT_TRUE(cell_.refusal().empty());
}

TEST_F(Format, ANewerOneIsRefusedBeforeAnythingIsRead) {
  set(keys::format(root_), kNewer);
  follow();
  EXPECT_FALSE(synced(500ms));
  EXPECT_THAT(cell_.refusal(), HasSubstr("format " + kNewer));
  EXPECT_TRUE(cell_.view().vms.empty());
  const auto at = store_.revision();
  const auto refused = commit();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::refused);
  EXPECT_EQ(refused.error().what, cell_.refusal());
  EXPECT_FALSE(run(io_, cell_.mark_format()));
  EXPECT_EQ(store_.revision(), at) << "nothing was written";
  EXPECT_EQ(format(), kNewer);
  EXPECT_FALSE(run(io_, cell_.put_info({})));
  EXPECT_FALSE(run(io_, cell_.write_alerts({{"host-silent-a2", 0, core::Alert{}}})));
  EXPECT_EQ(store_.revision(), at) << "nor by a write that no decision stands behind";
  // It lives, and guards its guests: the others must not take them over.
  EXPECT_TRUE(run(io_, cell_.renew_lease({"instance", 1, "boot-1"}, false, in(3s))));
}

TEST_F(Format, OneThatBecomesNewerStopsThisHostAndItComesBack) {
  follow();
  ASSERT_TRUE(synced());
  ASSERT_TRUE(commit());
  set(keys::format(root_), kNewer);
  ASSERT_TRUE(wait_for(io_, 5s, [this] { return !cell_.view().synced; }));
  EXPECT_FALSE(commit());
  EXPECT_FALSE(run(io_, cell_.put_status("vm1", {})));
  set(keys::format(root_), "1");
  ASSERT_TRUE(synced(15s));
  EXPECT_TRUE(cell_.refusal().empty());
  EXPECT_TRUE(commit());
}

TEST_F(Format, WhatComesWithANewerOneIsNotRead) {
  follow();
  ASSERT_TRUE(synced());
  core::Right right = core::test::running_vm().right.value;
  right.epoch += 7;
  kv::Txn both = put(keys::format(root_), kNewer);
  both.success.push_back(put(keys::vm_right(root_, "vm1"), codec::encode(right)).success.front());
  ASSERT_TRUE(store_.apply_now(both));
  ASSERT_TRUE(wait_for(io_, 5s, [this] { return !cell_.view().synced; }));
  EXPECT_NE(cell_.view().vm("vm1")->right.value.epoch, right.epoch);
}

}  // namespace
}  // namespace bascule::testkit
