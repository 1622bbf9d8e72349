// The contract of KvStore, kept by the fake and by etcd.
#include <gtest/gtest.h>

#include <memory>

#include "hostd/runtime/etcd/kv_store.hpp"
#include "hostd/runtime/etcd/recipes.hpp"
#include "tests/contract/etcd_cluster.hpp"
#include "tests/contract/etcd_shared_cluster.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {
namespace {

namespace kv = core::kv;
using core::Errc;
using core::Result;
using runtime::WatchItem;

enum class Kind : std::uint8_t { fake, etcd };

class KvContract : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    store_ = open_store(io_, GetParam() == Kind::etcd);
    if (!store_) return;
    // One cluster serves all tests: each has its own keys.
    static int number = 0;
    base_ = "test" + std::to_string(++number) + "/";
  }
  std::string key(const std::string& name) const { return base_ + name; }
  Result<kv::TxnReply> txn(kv::Txn txn) { return run(io_, store_->txn(std::move(txn), in(5s))); }
  kv::Revision write(const std::string& name, const std::string& value) {
    const auto reply = txn(put(key(name), value));
    EXPECT_TRUE(reply) << reply.error().what;
    return reply ? reply->revision : 0;
  }
  std::optional<kv::KeyValue> read(const std::string& name) {
    kv::Txn get;
    get.success.emplace_back(kv::get(key(name)));
    const auto reply = txn(std::move(get));
    EXPECT_TRUE(reply) << reply.error().what;
    if (!reply) return std::nullopt;
    const auto& range = std::get<kv::RangeReply>(reply->responses.at(0));
    return range.kvs.empty() ? std::nullopt : std::optional(range.kvs.at(0));
  }
  void compact(kv::Revision revision) {
    if (auto* fake = dynamic_cast<FakeKv*>(store_.get())) return fake->compact(revision);
    ASSERT_TRUE(shared_cluster().etcdctl({"compaction", std::to_string(revision)}));
  }
  /// Events until `count` came; other items are passed over.
  std::vector<kv::Event> events(runtime::KvWatch& watch, std::size_t count) {
    std::vector<kv::Event> all;
    while (all.size() < count) {
      const auto item = run(io_, watch.next(in(5s)));
      if (!item) break;
      EXPECT_TRUE(item->kind == WatchItem::Kind::events || item->kind == WatchItem::Kind::connected) << item->detail;
      all.insert(all.end(), item->events.begin(), item->events.end());
      if (item->kind == WatchItem::Kind::relist || item->kind == WatchItem::Kind::broken) break;
    }
    return all;
  }

  boost::asio::io_context io_;
  std::unique_ptr<runtime::KvStore> store_;
  std::string base_;
};

INSTANTIATE_TEST_SUITE_P(Stores, KvContract, testing::Values(Kind::fake, Kind::etcd),
                         [](const auto& param) { return param.param == Kind::fake ? "fake" : "etcd"; });

TEST_P(KvContract, KeepsWhatWasPutWithItsRevisions) {
  const kv::Revision first = write("a", "one");
  const kv::Revision second = write("a", "two");
  const auto found = read("a");
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, (kv::KeyValue{key("a"), "two", first, second, 2}));
  EXPECT_FALSE(read("never"));
}

TEST_P(KvContract, KeepsEveryByteOfAValueAndOfAKey) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  write("all\x01\x7f\xff", bytes);
  write("empty", "");
  EXPECT_EQ(read("all\x01\x7f\xff").value_or(kv::KeyValue{}).value, bytes);
  EXPECT_EQ(read("empty").value_or(kv::KeyValue{"", "x", 0, 0, 0}).value, "");
}

// etcd ignores fields it does not know: a misspelt one would let every one of these through.
TEST_P(KvContract, AFailingCompareOfEachKindKeepsTheWriteOut) {
  const kv::Revision revision = write("k", "v");
  const std::vector<std::pair<const char*, kv::Compare>> failing{
      {"mod revision", kv::Compare::mod_revision(key("k"), revision + 1)},
      {"create revision", kv::Compare::create_revision(key("k"), revision + 1)},
      {"version", kv::Compare::version_is(key("k"), 2)},
      {"value", kv::Compare::value_is(key("k"), "w")},
      {"absent", kv::Compare::absent(key("k"))},
      {"mod revision of an absent key", kv::Compare::mod_revision(key("none"), revision)},
  };
  for (const auto& [name, compare] : failing) {
    kv::Txn guarded = put(key("k"), "overwritten");
    guarded.compares = {kv::Compare::version_is(key("k"), 1), compare};
    const auto reply = txn(std::move(guarded));
    ASSERT_TRUE(reply) << name << ": " << reply.error().what;
    EXPECT_FALSE(reply->succeeded) << name;
    EXPECT_EQ(read("k").value_or(kv::KeyValue{}).value, "v") << name;
  }
}

TEST_P(KvContract, AHoldingCompareOfEachKindLetsTheWriteIn) {
  const kv::Revision revision = write("k", "v");
  const std::vector<kv::Compare> holding{
      kv::Compare::mod_revision(key("k"), revision), kv::Compare::create_revision(key("k"), revision),
      kv::Compare::version_is(key("k"), 1), kv::Compare::value_is(key("k"), "v"), kv::Compare::absent(key("none"))};
  for (std::size_t i = 0; i < holding.size(); ++i) {
    kv::Txn guarded = put(key("out" + std::to_string(i)), "in");
    guarded.compares = {holding[i]};
    const auto reply = txn(std::move(guarded));
    ASSERT_TRUE(reply) << i << ": " << reply.error().what;
    EXPECT_TRUE(reply->succeeded) << i;
    EXPECT_TRUE(read("out" + std::to_string(i))) << i;
  }
}

TEST_P(KvContract, TheFailureBranchIsCarriedOutAndAnswered) {
  write("k", "v");
  kv::Txn txn1 = put(key("k"), "no");
  txn1.compares = {kv::Compare::absent(key("k"))};
  txn1.failure = {kv::get(key("k")), kv::Put{key("other"), "yes"}};
  const auto reply = txn(std::move(txn1));
  ASSERT_TRUE(reply) << reply.error().what;
  EXPECT_FALSE(reply->succeeded);
  ASSERT_EQ(reply->responses.size(), 2U);
  EXPECT_EQ(std::get<kv::RangeReply>(reply->responses[0]).kvs.at(0).value, "v");
  EXPECT_TRUE(read("other"));
}

TEST_P(KvContract, AllOperationsOfATransactionHaveOneRevision) {
  write("gone", "x");
  kv::Txn both = put(key("a"), "1");
  both.success.emplace_back(kv::Put{key("b"), "2"});
  both.success.emplace_back(kv::Delete{key("gone")});
  both.success.emplace_back(kv::Delete{key("never")});
  const auto reply = txn(std::move(both));
  ASSERT_TRUE(reply) << reply.error().what;
  EXPECT_EQ(read("a").value_or(kv::KeyValue{}).mod_revision, reply->revision);
  EXPECT_EQ(read("b").value_or(kv::KeyValue{}).mod_revision, reply->revision);
  EXPECT_FALSE(read("gone"));
  EXPECT_EQ(std::get<kv::DeleteReply>(reply->responses.at(2)).deleted, 1);
  EXPECT_EQ(std::get<kv::DeleteReply>(reply->responses.at(3)).deleted, 0);
}

TEST_P(KvContract, ARangeHeedsItsEndLimitKeysOnlyAndRevision) {
  for (const char* name : {"r/1", "r/2", "r/3", "s"}) write(name, "old");
  const kv::Revision before = write("r/0", "old");
  write("r/1", "new");
  const auto range = [this](kv::Range asked) {
    kv::Txn one;
    one.success.emplace_back(std::move(asked));
    const auto reply = txn(std::move(one));
    EXPECT_TRUE(reply) << reply.error().what;
    return reply ? std::get<kv::RangeReply>(reply->responses.at(0)) : kv::RangeReply{};
  };
  const kv::Range all = kv::all_under(key("r/"));
  EXPECT_EQ(range(all).kvs.size(), 4U);
  EXPECT_FALSE(range(all).more);
  kv::Range limited = all;
  limited.limit = 2;
  EXPECT_EQ(range(limited).kvs.size(), 2U);
  EXPECT_EQ(range(limited).kvs.at(1).key, key("r/1"));
  EXPECT_TRUE(range(limited).more);
  kv::Range keys = all;
  keys.keys_only = true;
  EXPECT_EQ(range(keys).kvs.at(0).value, "");
  kv::Range past = all;
  past.revision = before;
  EXPECT_EQ(range(past).kvs.at(1).value, "old");
  EXPECT_EQ(range(all).kvs.at(1).value, "new");
}

TEST_P(KvContract, ALimitPassedIsRefusedHereAndChangesNothing) {
  const std::vector<kv::Txn> over{put(key("k"), std::string(kv::kMaxValueBytes + 1, 'x')),
                                  put(key(std::string(kv::kMaxKeyBytes, 'x')), "v"), put("", "v"), [this] {
                                    kv::Txn many;
                                    for (std::size_t i = 0; i <= kv::kMaxOpsPerTxn; ++i) {
                                      many.success.emplace_back(kv::Put{key(std::to_string(i)), "v"});
                                    }
                                    return many;
                                  }()};
  for (const kv::Txn& txn1 : over) {
    const auto reply = txn(txn1);
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::invalid) << reply.error().what;
    EXPECT_TRUE(reply.error().what.ends_with("nothing was sent.")) << reply.error().what;
  }
  EXPECT_FALSE(read("k"));
  EXPECT_FALSE(read("0"));
}

TEST_P(KvContract, TheLargestTransactionAllowedIsCarriedOut) {
  kv::Txn many;
  for (std::size_t i = 0; i < kv::kMaxOpsPerTxn; ++i) {
    many.compares.push_back(kv::Compare::absent(key(std::to_string(i))));
    many.success.emplace_back(kv::Put{key(std::to_string(i)), std::string(i < 3 ? kv::kMaxValueBytes : 8, 'x')});
  }
  const auto reply = txn(std::move(many));
  ASSERT_TRUE(reply) << reply.error().what;
  EXPECT_EQ(reply->responses.size(), kv::kMaxOpsPerTxn);
  const auto listing = run(io_, runtime::range_all(*store_, base_, in(5s)));
  ASSERT_TRUE(listing) << listing.error().what;
  EXPECT_EQ(listing->kvs.size(), kv::kMaxOpsPerTxn);
}

TEST_P(KvContract, AKeyWrittenTwiceInOneTransactionIsRefused) {
  kv::Txn twice = put(key("k"), "1");
  twice.success.emplace_back(kv::Put{key("k"), "2"});
  const auto reply = txn(std::move(twice));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Errc::refused);
  EXPECT_FALSE(read("k"));
}

/// Makes one of its changes after each request of the code under test.
class WritesBetween final : public runtime::KvStore {
 public:
  WritesBetween(runtime::KvStore& inner, std::vector<kv::Txn> changes) : inner_(inner), changes_(std::move(changes)) {}
  boost::asio::awaitable<Result<kv::TxnReply>> txn(kv::Txn txn, runtime::Deadline deadline) override {
    ++requests;
    Result<kv::TxnReply> reply = co_await inner_.txn(std::move(txn), deadline);
    if (changes_.empty()) co_return reply;
    kv::Txn change = std::move(changes_.back());
    changes_.pop_back();
    const auto changed = co_await inner_.txn(std::move(change), deadline);
    EXPECT_TRUE(changed);
    co_return reply;
  }
  std::unique_ptr<runtime::KvWatch> watch(std::string prefix, kv::Revision from) override {
    return inner_.watch(std::move(prefix), from);
  }
  [[nodiscard]] runtime::StoreHealth health() const override { return inner_.health(); }
  int requests{0};

 private:
  runtime::KvStore& inner_;
  std::vector<kv::Txn> changes_;
};

TEST_P(KvContract, AListingIsOfOneRevisionAlthoughWritesComeBetweenItsPages) {
  for (int i = 0; i < 7; ++i) write("l/" + std::to_string(i), "old");
  std::vector<kv::Txn> changes;
  for (const char* name : {"l/5", "l/0", "l/9"}) changes.push_back(put(key(name), "new"));
  WritesBetween store(*store_, std::move(changes));
  const auto listing = run(io_, runtime::range_all(store, key("l/"), in(5s), 2));
  ASSERT_TRUE(listing) << listing.error().what;
  EXPECT_EQ(store.requests, 4);
  ASSERT_EQ(listing->kvs.size(), 7U);
  for (const kv::KeyValue& pair : listing->kvs) {
    EXPECT_EQ(pair.value, "old") << pair.key;
    EXPECT_LE(pair.mod_revision, listing->revision);
  }
  // And a watch from the revision after it misses none of them.
  const auto watch = store_->watch(key("l/"), listing->revision + 1);
  EXPECT_EQ(events(*watch, 3).size(), 3U);
}

TEST_P(KvContract, AWatchTellsEveryChangeUnderItsPrefixInOrder) {
  const kv::Revision start = write("w/before", "1");
  const auto watch = store_->watch(key("w/"), start + 1);
  const kv::Revision first = write("w/a", "1");
  write("v/a", "not ours");
  const kv::Revision second = write("w/a", "2");
  kv::Txn remove;
  remove.success.emplace_back(kv::Delete{key("w/a")});
  const auto removed = txn(std::move(remove));
  ASSERT_TRUE(removed);
  const auto seen = events(*watch, 3);
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_EQ(seen[0].kv, (kv::KeyValue{key("w/a"), "1", first, first, 1}));
  EXPECT_EQ(seen[1].kv, (kv::KeyValue{key("w/a"), "2", first, second, 2}));
  EXPECT_EQ(seen[2].kind, kv::Event::Kind::del);
  EXPECT_EQ(seen[2].kv.key, key("w/a"));
  EXPECT_EQ(seen[2].kv.mod_revision, removed->revision);
  EXPECT_FALSE(run(io_, watch->next(in(100ms))));
}

TEST_P(KvContract, AWatchStartsInThePast) {
  const kv::Revision first = write("w/a", "1");
  write("w/b", "2");
  const auto watch = store_->watch(key("w/"), first);
  EXPECT_EQ(events(*watch, 2).size(), 2U);
  const auto later = store_->watch(key("w/"), first + 1);
  EXPECT_EQ(events(*later, 1).at(0).kv.key, key("w/b"));
}

TEST_P(KvContract, AWatchFromACompactedRevisionAsksForANewListing) {
  const kv::Revision first = write("w/a", "1");
  write("w/a", "2");
  const kv::Revision last = write("w/a", "3");
  compact(last);
  const auto watch = store_->watch(key("w/"), first);
  std::optional<WatchItem> item;
  do {
    item = run(io_, watch->next(in(5s)));
  } while (item && item->kind == WatchItem::Kind::connected);
  ASSERT_TRUE(item);
  EXPECT_EQ(item->kind, WatchItem::Kind::relist) << item->detail;
  item = run(io_, watch->next(in(1s)));
  EXPECT_TRUE(item && item->kind == WatchItem::Kind::relist) << "a final item stays";
}

TEST_P(KvContract, AReadOfACompactedRevisionIsStale) {
  const kv::Revision first = write("a", "1");
  compact(write("a", "2"));
  kv::Txn past;
  kv::Range range = kv::get(key("a"));
  range.revision = first;
  past.success.emplace_back(range);
  const auto reply = txn(std::move(past));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Errc::stale) << reply.error().what;
}

TEST_P(KvContract, AGuardedWriteIsMadeOnceAndTellsItsRevision) {
  const kv::Revision revision = write("g", "0");
  const auto commit = run(io_, runtime::commit_guarded(*store_, guarded(key("g"), revision, "mine"), {in(5s)}));
  ASSERT_TRUE(commit) << commit.error().what;
  EXPECT_EQ(read("g").value_or(kv::KeyValue{}).mod_revision, commit->revision);
  EXPECT_FALSE(commit->recognised);
  // The same write again finds its own value: it is the same success, not a second write.
  const auto again = run(io_, runtime::commit_guarded(*store_, guarded(key("g"), revision, "mine"), {in(5s)}));
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_TRUE(again->recognised);
  EXPECT_EQ(again->revision, commit->revision);
  EXPECT_EQ(read("g").value_or(kv::KeyValue{}).version, 2);
}

TEST_P(KvContract, AGuardedWriteThatComesSecondIsStaleAndShowsWhatIsThere) {
  const kv::Revision revision = write("g", "0");
  write("g", "theirs");
  runtime::Found found;
  const auto commit = run(io_, runtime::commit_guarded(*store_, guarded(key("g"), revision, "mine"), {in(5s)}, &found));
  ASSERT_FALSE(commit);
  EXPECT_EQ(commit.error().code, Errc::stale) << commit.error().what;
  ASSERT_EQ(found.size(), 1U);
  ASSERT_TRUE(found[0]);
  EXPECT_EQ(found[0]->value, "theirs");
}

TEST_P(KvContract, AReadForADecisionGoesThroughTheLog) {
  const kv::Revision revision = write("d", "1");
  const auto reply =
      run(io_, runtime::read_decision(*store_, key("probe"), {kv::get(key("d")), kv::get(key("no"))}, {in(5s)}));
  ASSERT_TRUE(reply) << reply.error().what;
  EXPECT_GT(reply->revision, revision) << "it did not write its probe";
  ASSERT_EQ(reply->responses.size(), 2U);
  EXPECT_EQ(std::get<kv::RangeReply>(reply->responses[0]).kvs.at(0).mod_revision, revision);
}

}  // namespace
}  // namespace bascule::testkit
