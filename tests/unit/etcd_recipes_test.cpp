// Rule U and listings, over the fake store and its faults.
#include <gtest/gtest.h>

#include <boost/asio/steady_timer.hpp>

#include "hostd/runtime/etcd/recipes.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::testkit {
namespace {

namespace kv = core::kv;
using core::Errc;
using core::Result;
using runtime::Commit;
using runtime::GuardedWrite;

class Recipes : public testing::Test {
 protected:
  Result<Commit> commit(GuardedWrite write, std::chrono::milliseconds limit = 2s, runtime::Found* found = nullptr) {
    return run(io_, runtime::commit_guarded(store_, std::move(write), {in(limit), 200ms}, found));
  }
  kv::Revision set(const std::string& key, const std::string& value) {
    const auto reply = store_.apply_now(put(key, value));
    return reply ? reply->revision : 0;
  }
  kv::KeyValue get(const std::string& key) {
    kv::Txn txn;
    txn.success.emplace_back(kv::get(key));
    const auto reply = store_.apply_now(txn);
    const auto& range = std::get<kv::RangeReply>(reply->responses.at(0));
    return range.kvs.empty() ? kv::KeyValue{} : range.kvs.at(0);
  }
  boost::asio::io_context io_;
  FakeKv store_{io_.get_executor()};
};

TEST_F(Recipes, ALostAnswerIsRecognisedAndTheWriteMadeOnce) {
  const kv::Revision revision = set("k", "0");
  store_.lose_answers(1);
  const auto made = commit(guarded("k", revision, "mine"));
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_TRUE(made->recognised);
  EXPECT_EQ(made->attempts, 2);
  EXPECT_EQ(get("k").version, 2);
  EXPECT_EQ(get("k").mod_revision, made->revision);
}

TEST_F(Recipes, ALostWriteIsSentAgain) {
  const kv::Revision revision = set("k", "0");
  store_.lose_writes(2);
  const auto made = commit(guarded("k", revision, "mine"));
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_FALSE(made->recognised);
  EXPECT_EQ(made->attempts, 3);
}

TEST_F(Recipes, ADelayedCopyFailsItsCompareAfterTheWriteWasSettled) {
  const kv::Revision revision = set("k", "0");
  store_.hold_writes(1);
  const auto made = commit(guarded("k", revision, "mine"));
  ASSERT_TRUE(made) << made.error().what;
  set("k", "later");
  store_.release_held();
  EXPECT_EQ(get("k").value, "later");
}

TEST_F(Recipes, AnotherWritersValueIsStaleEvenAfterAnUnknownOutcome) {
  const kv::Revision revision = set("k", "0");
  store_.hold_writes(1);
  auto other = store_.another();
  // The other one writes while ours is on its way.
  kv::Txn theirs = put("k", "theirs");
  theirs.compares.push_back(kv::Compare::mod_revision("k", revision));
  boost::asio::co_spawn(io_, other->txn(std::move(theirs), in(1s)),
                        [](const std::exception_ptr&, const Result<kv::TxnReply>& reply) { EXPECT_TRUE(reply); });
  runtime::Found found;
  const auto made = commit(guarded("k", revision, "mine"), 2s, &found);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::stale);
  ASSERT_TRUE(found.size() == 1 && found[0]);
  EXPECT_EQ(found[0]->value, "theirs");
  store_.release_held();
  EXPECT_EQ(get("k").value, "theirs") << "stale said that no copy can commit";
}

TEST_F(Recipes, AFailedGuardOnAnotherKeyIsStaleOnlyWhenItCanNeverHoldAgain) {
  const kv::Revision revision = set("k", "0");
  const kv::Revision lease = set("lease", "1");
  set("lease", "2");
  GuardedWrite takeover = guarded("k", revision, "mine");
  takeover.txn.compares.push_back(kv::Compare::mod_revision("lease", lease));
  takeover.sent_before = true;
  auto made = commit(takeover);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::stale);

  // "lease is absent" fails now, but a copy on its way could still find it gone.
  GuardedWrite absent = guarded("k", revision, "mine");
  absent.txn.compares.push_back(kv::Compare::absent("lease"));
  made = commit(absent);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::stale) << "nothing is on its way";
  absent.sent_before = true;
  made = commit(absent, 200ms);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::outcome_unknown);
}

TEST_F(Recipes, WithoutAnAnswerItStaysUnknownAndNeverBecomesUnavailable) {
  const kv::Revision revision = set("k", "0");
  store_.lose_writes(1);
  boost::asio::steady_timer later(io_, 5ms);
  later.async_wait([this](const auto&) { store_.be_unavailable(true); });
  auto made = commit(guarded("k", revision, "mine"), 300ms);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::outcome_unknown);
  made = commit(guarded("k", revision, "mine"), 300ms);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::unavailable) << "no copy was ever sent";
}

TEST_F(Recipes, ADeleteIsRecognisedByTheAbsence) {
  const kv::Revision revision = set("k", "0");
  GuardedWrite removal;
  removal.key = "k";
  removal.txn.compares.push_back(kv::Compare::mod_revision("k", revision));
  removal.txn.success.emplace_back(kv::Delete{"k"});
  removal.ours = [](const kv::KeyValue* there) { return there == nullptr; };
  store_.lose_answers(1);
  const auto made = commit(removal);
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_TRUE(made->recognised);
}

TEST_F(Recipes, AWriteThatIsNotGuardedIsNotSent) {
  std::vector<GuardedWrite> bad(6, guarded("k", 0, "v"));
  bad[0].txn.compares.clear();
  bad[1].txn.compares = {kv::Compare::mod_revision("other", 0)};
  bad[2].txn.compares = {kv::Compare::version_is("k", 0)};
  bad[3].txn.success = {kv::Put{"other", "v"}};
  bad[4].txn.failure = {kv::get("k")};
  bad[5].ours = nullptr;
  for (std::size_t i = 0; i < bad.size(); ++i) {
    const auto made = commit(bad[i]);
    ASSERT_FALSE(made) << i;
    EXPECT_EQ(made.error().code, Errc::invalid) << i;
  }
  EXPECT_EQ(store_.revision(), 1);
}

TEST_F(Recipes, ADecisionReadIsRepeatedAfterALostAnswer) {
  set("k", "v");
  store_.lose_answers(2);
  const auto reply = run(io_, runtime::read_decision(store_, "probe", {kv::get("k")}, {in(2s), 200ms}));
  ASSERT_TRUE(reply) << reply.error().what;
  EXPECT_EQ(reply->responses.size(), 1U);
  store_.be_unavailable(true);
  const auto none = run(io_, runtime::read_decision(store_, "probe", {kv::get("k")}, {in(200ms), 100ms}));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::unavailable);
}

TEST_F(Recipes, ADecisionReadMayNotWrite) {
  const auto reply = run(io_, runtime::read_decision(store_, "probe", {kv::Put{"k", "v"}}, {in(1s)}));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Errc::invalid);
  EXPECT_EQ(get("k").version, 0);
}

TEST_F(Recipes, AListingWhoseRevisionIsCompactedOnTheWayBeginsAgain) {
  for (int i = 0; i < 5; ++i) set("l/" + std::to_string(i), "v");
  class Compacts final : public runtime::KvStore {
   public:
    explicit Compacts(FakeKv& inner) : inner_(inner) {}
    boost::asio::awaitable<Result<kv::TxnReply>> txn(kv::Txn txn, runtime::Deadline deadline) override {
      ++requests;
      Result<kv::TxnReply> reply = co_await inner_.txn(std::move(txn), deadline);
      if (requests != 2) co_return reply;
      EXPECT_TRUE(inner_.apply_now(put("l/x", "new")));
      inner_.compact(inner_.revision());
      co_return reply;
    }
    std::unique_ptr<runtime::KvWatch> watch(std::string prefix, kv::Revision from) override {
      return inner_.watch(std::move(prefix), from);
    }
    [[nodiscard]] runtime::StoreHealth health() const override { return inner_.health(); }
    int requests{0};

   private:
    FakeKv& inner_;
  } store(store_);
  const auto listing = run(io_, runtime::range_all(store, "l/", in(2s), 2));
  ASSERT_TRUE(listing) << listing.error().what;
  EXPECT_EQ(listing->kvs.size(), 6U);
  EXPECT_EQ(listing->revision, store_.revision());
}

TEST_F(Recipes, AFakeWatchReportsABreakAndGoesOn) {
  const auto watch = store_.watch("w/", 1);
  set("w/1", "a");
  using Kind = runtime::WatchItem::Kind;
  std::vector<Kind> kinds;
  for (int i = 0; i < 2; ++i) kinds.push_back(run(io_, watch->next(in(1s)))->kind);
  store_.break_watches();
  set("w/2", "b");
  for (int i = 0; i < 3; ++i) kinds.push_back(run(io_, watch->next(in(1s)))->kind);
  EXPECT_EQ(kinds,
            (std::vector<Kind>{Kind::connected, Kind::events, Kind::disconnected, Kind::connected, Kind::events}));
}

}  // namespace
}  // namespace bascule::testkit
