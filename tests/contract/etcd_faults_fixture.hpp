// The fixture for tests that harm the real store: afterwards every member runs again.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "hostd/runtime/etcd/etcd_store.hpp"
#include "hostd/runtime/etcd/recipes.hpp"
#include "tests/contract/etcd_cluster.hpp"
#include "tests/contract/etcd_proxy.hpp"
#include "tests/contract/etcd_shared_cluster.hpp"
#include "tests/contract/etcd_testing.hpp"

namespace bascule::testkit {

namespace kv = core::kv;
using core::Errc;
using core::Result;
using runtime::KvStore;
using runtime::WatchItem;
using runtime::etcd::EtcdOptions;

class EtcdFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (!EtcdCluster::available()) GTEST_SKIP() << "etcd or openssl is not installed";
    static int number = 0;
    base_ = "fault" + std::to_string(++number) + "/";
    store_ = open(shared_cluster().options());
    ASSERT_TRUE(whole()) << "the cluster did not start";
  }
  void TearDown() override {
    if (!store_) return;
    shared_cluster().heal();
    EXPECT_TRUE(whole()) << "the cluster did not heal";
  }

  std::unique_ptr<KvStore> open(EtcdOptions options) {
    auto made = runtime::etcd::make_etcd_store(io_.get_executor(), std::move(options));
    EXPECT_TRUE(made) << made.error().what;
    return made ? *std::move(made) : nullptr;
  }
  bool whole() {
    return wait_for(io_, 60s, [this] {
      int good = 0;
      int leaders = 0;
      for (const auto& member : store_->health().members) {
        good += member.reachable && member.has_leader ? 1 : 0;
        leaders += member.leads ? 1 : 0;
      }
      return good == 3 && leaders == 1;
    });
  }
  std::size_t leader() {
    const auto members = store_->health().members;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (members[i].leads) return i;
    }
    return 0;
  }
  std::string key(const std::string& name) const { return base_ + name; }
  Result<kv::TxnReply> txn(KvStore& store, kv::Txn txn, std::chrono::milliseconds limit = 20s) {
    return run(io_, store.txn(std::move(txn), in(limit)));
  }
  Result<kv::TxnReply> write(const std::string& name, const std::string& value, std::chrono::milliseconds limit = 20s) {
    return txn(*store_, put(key(name), value), limit);
  }
  kv::KeyValue read(const std::string& name) {
    kv::Txn get;
    get.success.emplace_back(kv::get(key(name)));
    const auto reply = txn(*store_, std::move(get));
    EXPECT_TRUE(reply) << reply.error().what;
    if (!reply) return {};
    const auto& range = std::get<kv::RangeReply>(reply->responses.at(0));
    return range.kvs.empty() ? kv::KeyValue{} : range.kvs.at(0);
  }
  /// Options for a store that knows the cluster only through this proxy, and is left alone by
  /// checks.
  static EtcdOptions through(const Proxy& proxy) {
    EtcdOptions options = shared_cluster().options();
    options.endpoints = {proxy.url()};
    options.probe_every = 60s;
    return options;
  }
  static std::string sentence(const Result<kv::TxnReply>& reply) {
    return reply ? "it succeeded" : std::string(core::to_string(reply.error().code)) + ": " + reply.error().what;
  }

  boost::asio::io_context io_;
  std::unique_ptr<KvStore> store_;
  std::string base_;
};

}  // namespace bascule::testkit
