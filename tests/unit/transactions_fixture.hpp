// A cell before the fake store: one host, and whatever comes between its decisions and its writes.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "running_cell.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {

namespace keys = runtime::keys;
namespace kv = core::kv;
using core::Errc;

/// The store of one host, whose next transaction something else comes before, and whose watches can be deaf.
class Beaten final : public runtime::KvStore {
 public:
  explicit Beaten(boost::asio::any_io_executor executor) : kv(executor), executor_(executor) {}
  boost::asio::awaitable<core::Result<kv::TxnReply>> txn(kv::Txn txn, runtime::Deadline deadline) override {
    if (before) std::exchange(before, {})();
    co_return co_await kv.txn(std::move(txn), deadline);
  }
  std::unique_ptr<runtime::KvWatch> watch(std::string prefix, kv::Revision from) override {
    return std::make_unique<Watch>(*this, kv.watch(std::move(prefix), from));
  }
  [[nodiscard]] runtime::StoreHealth health() const override { return kv.health(); }

  FakeKv kv;
  std::function<void()> before;
  bool deaf = false;  ///< nothing comes from a watch until it is false again
  bool mute = false;  ///< what comes from a watch is lost

 private:
  struct Watch final : runtime::KvWatch {
    Watch(Beaten& store, std::unique_ptr<runtime::KvWatch> real) : store_(store), real_(std::move(real)) {}
    boost::asio::awaitable<std::optional<runtime::WatchItem>> next(runtime::Deadline deadline) override {
      auto item = co_await real_->next(deadline);
      boost::asio::steady_timer timer(store_.executor_);
      if (store_.mute) {
        timer.expires_at(deadline);
        co_await timer.async_wait(boost::asio::use_awaitable);
        co_return std::nullopt;
      }
      while (store_.deaf) {
        timer.expires_after(1ms);
        co_await timer.async_wait(boost::asio::use_awaitable);
      }
      co_return item;
    }
    Beaten& store_;
    std::unique_ptr<runtime::KvWatch> real_;
  };
  boost::asio::any_io_executor executor_;
};

inline core::HostLease lease(std::uint64_t number) { return {"instance", number, "boot-1"}; }

class Transactions : public testing::Test {
 protected:
  Transactions() {
    running_cell(root_, [this](const std::string& key, const auto& record) { set(key, record); });
    boost::asio::co_spawn(io_, cell_.run(), boost::asio::detached);
    EXPECT_TRUE(wait_for(io_, 10s, [this] { return cell_.view().synced; }));
  }
  void set_text(const std::string& key, const std::string& text) {
    auto done = store_.kv.apply_now(put(key, text));
    ASSERT_TRUE(done) << done.error().what;
  }
  template <class T>
  void set(const std::string& key, const T& record) {
    set_text(key, codec::encode(record));
  }
  template <class T>
  std::optional<T> get(const std::string& key) {
    kv::Txn read;
    read.success.emplace_back(kv::get(key));
    const auto reply = store_.kv.apply_now(read);
    const auto& kvs = std::get<kv::RangeReply>(reply->responses.front()).kvs;
    if (kvs.empty()) return {};
    return codec::decode<T>(kvs.front().value).value();
  }
  std::vector<core::AuditRecord> audit() { return run(io_, cell_.audit(1, 500)).value(); }
  std::size_t operations() { return run(io_, runtime::range_all(store_, root_ + "ops/", in(5s))).value().kvs.size(); }
  void settle() {
    const auto at = store_.kv.revision();
    ASSERT_TRUE(wait_for(io_, 5s, [&] { return cell_.view().revision >= at; }));
  }
  void make_silent() {
    wait_for(io_, 5ms, [] { return false; });
    cell_.mark_hosts(core::Mono(1), core::Mono(1));
    ASSERT_TRUE(cell_.view().host("a1")->silent);
  }
  const core::VmView& vm() { return *cell_.view().vm("vm1"); }
  core::Request request(core::Verb verb, const std::string& key = {}) {
    core::Request r;
    r.verb = std::move(verb);
    r.caller = {core::Role::operator_, "olga", {}};
    r.reason = "a reason";
    r.idempotency_key = key;
    return r;
  }
  /// An operation of this host with one step, which stands in the journal.
  core::Work journal(core::StepState state = core::StepState::pending) {
    core::Operation op;
    op.id = "op-1";
    op.kind = core::OpKind::vm_failover;
    op.vm = "vm1";
    op.author = {"b1", "host", {}};
    op.reason = "a1 is lost";
    op.steps.push_back({.kind = core::StepKind::take_right, .host = "b1"});
    op.steps.push_back({.kind = core::StepKind::promote, .host = "b1"});
    op.steps.front().state = state;
    set(keys::op(root_, op.id), op);
    set_text(keys::vm_op(root_, "vm1"), op.id);
    settle();
    return {core::Work::Kind::run, 0};
  }
  core::Outcome taken() {
    core::Outcome out;
    out.ok = true;
    out.right = vm().right.value;
    out.right->host = "b1";
    out.right_revision = vm().right.revision;
    out.lease_of = "a1";
    out.lease_revision = cell_.view().host("a1")->lease.revision;
    return out;
  }
  std::string holder() { return get<core::Right>(keys::vm_right(root_, "vm1"))->host; }

  const std::string root_ = keys::root("c");
  boost::asio::io_context io_;
  Beaten store_{io_.get_executor()};
  runtime::CellStore cell_{io_.get_executor(), store_, "c", "b1", "instance", 200ms};
};

}  // namespace bascule::testkit
