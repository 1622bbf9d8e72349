// What the real store does when answers are dropped, or its members are not who they should be.
#include <gtest/gtest.h>

#include <memory>

#include "tests/contract/etcd_faults_fixture.hpp"

namespace bascule::testkit {
namespace {

TEST_F(EtcdFaults, HealthNamesTheMembersAndTheCluster) {
  const auto health = store_->health();
  ASSERT_EQ(health.members.size(), 3U);
  EXPECT_NE(health.cluster_id, 0U);
  EXPECT_GT(health.highest_revision, 0);
  for (const auto& member : health.members) {
    EXPECT_EQ(member.cluster_id, health.cluster_id);
    EXPECT_NE(member.member_id, 0U);
    EXPECT_GT(member.raft_term, 0U);
    EXPECT_TRUE(member.version.starts_with("3.")) << member.version;
    EXPECT_EQ(member.fault, "");
  }
  EXPECT_NE(health.members[0].member_id, health.members[1].member_id);
}

TEST_F(EtcdFaults, WithoutAQuorumAWriteIsUnknownAReadFailsAndBothComeBack) {
  const auto before = write("q", "before");
  ASSERT_TRUE(before) << sentence(before);
  const std::size_t stays = leader();
  for (std::size_t i = 0; i < 3; ++i) {
    if (i != stays) shared_cluster().freeze(i);
  }
  const auto asked = in(0ms);
  kv::Txn change = put(key("q"), "during");
  change.compares.push_back(kv::Compare::mod_revision(key("q"), before->revision));
  const auto during = txn(*store_, change, 1s);
  ASSERT_FALSE(during);
  EXPECT_TRUE(during.error().code == Errc::outcome_unknown || during.error().code == Errc::unavailable)
      << sentence(during);
  EXPECT_LT(in(0ms) - asked, 10s) << "its deadline was one second";
  kv::Txn get;
  get.success.emplace_back(kv::get(key("q")));
  const auto read_during = txn(*store_, get, 1s);
  ASSERT_FALSE(read_during);
  EXPECT_EQ(read_during.error().code, Errc::unavailable) << sentence(read_during);
  const auto listing = run(io_, runtime::range_all(*store_, base_, in(500ms)));
  EXPECT_FALSE(listing);
  EXPECT_TRUE(wait_for(io_, 20s, [this] { return !store_->health().usable(); })) << "no leader is left";

  shared_cluster().heal();
  // Rule U: a later write on the key settles what became of the first.
  const auto settled =
      run(io_, runtime::commit_guarded(*store_, guarded(key("q"), before->revision, "during"), {in(30s), 500ms}));
  ASSERT_TRUE(settled) << settled.error().what;
  EXPECT_EQ(read("q").value, "during");
  EXPECT_EQ(read("q").version, 2) << "it was made once";
}

TEST_F(EtcdFaults, AMemberThatRestartedIsUsedAgainAndNoWriteIsLostToItsOldConnections) {
  EtcdOptions options = shared_cluster().options();
  const std::size_t other = (leader() + 1) % 3;
  options.endpoints = {shared_cluster().url(other)};
  options.probe_every = 60s;  // nobody but the transaction notices
  const auto store = open(options);
  ASSERT_TRUE(txn(*store, put(key("a"), "1")));
  shared_cluster().kill(other);
  const auto refused = txn(*store, put(key("a"), "2"), 2s);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable)
      << "a closed connection is no unknown outcome: " << sentence(refused);
  EXPECT_EQ(read("a").value, "1");
  shared_cluster().start(other);
  const auto again = txn(*store, put(key("a"), "3"), 20s);
  EXPECT_TRUE(again) << sentence(again);
}

TEST_F(EtcdFaults, ADroppedAnswerIsUnknownAndTheGuardedWriteFindsItWasMade) {
  Proxy proxy(io_, shared_cluster().port(leader()));
  const auto store = open(through(proxy));
  const auto first = txn(*store, put(key("a"), "first"));
  ASSERT_TRUE(first) << sentence(first);

  proxy.set(Proxy::Mode::lose_answers);
  const auto lost = txn(*store, put(key("b"), "made"), 5s);
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().code, Errc::outcome_unknown) << sentence(lost);
  EXPECT_EQ(read("b").version, 1) << "it was made, and sent once";

  proxy.set(Proxy::Mode::pass);
  ASSERT_TRUE(txn(*store, put(key("c"), "warm")));
  proxy.set(Proxy::Mode::lose_one_answer);
  const auto commit =
      run(io_, runtime::commit_guarded(*store, guarded(key("a"), first->revision, "second"), {in(30s), 5s}));
  ASSERT_TRUE(commit) << commit.error().what;
  EXPECT_TRUE(commit->recognised);
  EXPECT_GT(commit->attempts, 1);
  EXPECT_EQ(read("a").value, "second");
  EXPECT_EQ(read("a").version, 2) << "made once";
  EXPECT_EQ(read("a").mod_revision, commit->revision);
}

TEST_F(EtcdFaults, AnAnswerThatNeverComesIsUnknownAtTheDeadline) {
  const std::size_t member = leader();
  Proxy proxy(io_, shared_cluster().port(member));
  const auto store = open(through(proxy));
  ASSERT_TRUE(txn(*store, put(key("a"), "1")));
  shared_cluster().freeze(member);
  const auto asked = in(0ms);
  const auto hung = txn(*store, put(key("a"), "2"), 2s);
  ASSERT_FALSE(hung);
  EXPECT_EQ(hung.error().code, Errc::outcome_unknown) << sentence(hung);
  EXPECT_LT(in(0ms) - asked, 10s) << "its deadline was two seconds";
}

TEST_F(EtcdFaults, ADelayedCopyOfAGuardedWriteNeverCommitsAfterItWasSettled) {
  Proxy proxy(io_, shared_cluster().port(leader()));
  const auto slow = open(through(proxy));
  const auto first = txn(*slow, put(key("a"), "first"));
  ASSERT_TRUE(first) << sentence(first);

  proxy.set(Proxy::Mode::hold_requests);
  kv::Txn delayed = put(key("a"), "mine");
  delayed.compares.push_back(kv::Compare::mod_revision(key("a"), first->revision));
  const auto unknown = txn(*slow, delayed, 2s);
  ASSERT_FALSE(unknown);
  ASSERT_EQ(unknown.error().code, Errc::outcome_unknown) << sentence(unknown);
  EXPECT_EQ(read("a").value, "first") << "reading shows the old value, and proves nothing";

  // Settled over another way; then somebody goes on from there; only then does the first copy
  // arrive.
  runtime::GuardedWrite same = guarded(key("a"), first->revision, "mine");
  same.sent_before = true;
  const auto settled = run(io_, runtime::commit_guarded(*store_, same, {in(20s)}));
  ASSERT_TRUE(settled) << settled.error().what;
  ASSERT_TRUE(write("a", "theirs"));
  proxy.release();
  wait_for(io_, 500ms, [] { return false; });
  EXPECT_EQ(read("a").value, "theirs");
  EXPECT_EQ(read("a").version, 3);
}

TEST_F(EtcdFaults, TheHeldCopyWouldHaveCommittedHadNobodySettledIt) {
  Proxy proxy(io_, shared_cluster().port(leader()));
  const auto slow = open(through(proxy));
  ASSERT_TRUE(txn(*slow, put(key("a"), "first")));
  proxy.set(Proxy::Mode::hold_requests);
  const auto unknown = txn(*slow, put(key("a"), "late"), 2s);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(read("a").value, "first");
  proxy.release();
  EXPECT_TRUE(wait_for(io_, 20s, [this] { return read("a").value == "late"; })) << "the proxy does not hold requests";
}

TEST_F(EtcdFaults, AWatchCutOffWhileItsPlaceIsCompactedAsksForANewListing) {
  Proxy proxy(io_, shared_cluster().port(leader()));
  const auto store = open(through(proxy));
  const auto start = write("w/0", "0");
  ASSERT_TRUE(start) << sentence(start);
  const auto watch = store->watch(key("w/"), start->revision);
  std::optional<WatchItem> item;
  do {
    item = run(io_, watch->next(in(20s)));
  } while (item && item->kind != WatchItem::Kind::events);
  ASSERT_TRUE(item);
  proxy.set(Proxy::Mode::refuse);
  kv::Revision last = 0;
  for (int i = 0; i < 5; ++i) {
    const auto made = write("w/" + std::to_string(i), "again");
    ASSERT_TRUE(made) << sentence(made);
    last = made->revision;
  }
  ASSERT_TRUE(shared_cluster().etcdctl({"compaction", std::to_string(last)}));
  proxy.set(Proxy::Mode::pass);
  std::vector<WatchItem::Kind> kinds;
  do {
    item = run(io_, watch->next(in(30s)));
    if (item) kinds.push_back(item->kind);
  } while (item && item->kind != WatchItem::Kind::relist);
  ASSERT_TRUE(item);
  EXPECT_EQ(kinds.front(), WatchItem::Kind::disconnected);
  EXPECT_TRUE(item->events.empty());
}

TEST_F(EtcdFaults, AForeignCertificateIsTurnedAway) {
  EtcdOptions options = shared_cluster().options();
  options.tls.cert = shared_cluster().file("foreign.pem");
  options.tls.key = shared_cluster().file("foreign.key");
  const auto store = open(options);
  const auto reply = txn(*store, put(key("a"), "intruder"), 3s);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Errc::unavailable) << sentence(reply);
  EXPECT_NE(reply.error().what.find("certificate"), std::string::npos) << sentence(reply);
  EXPECT_EQ(read("a").value, "");
}

TEST_F(EtcdFaults, AServerOfAnotherCaOrAnotherNameIsNotTrusted) {
  EtcdOptions wrong_ca = shared_cluster().options();
  wrong_ca.tls.ca = shared_cluster().file("foreign-ca.pem");
  EtcdOptions wrong_name = shared_cluster().options();
  for (std::string& url : wrong_name.endpoints) url.replace(url.find("127.0.0.1"), 9, "localhost");
  for (const EtcdOptions& options : {wrong_ca, wrong_name}) {
    const auto store = open(options);
    const auto reply = txn(*store, put(key("a"), "secret"), 3s);
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::unavailable) << sentence(reply);
    EXPECT_NE(reply.error().what.find("certificate verify failed"), std::string::npos) << sentence(reply);
  }
  EXPECT_EQ(read("a").value, "");
}

TEST_F(EtcdFaults, AnotherClusterThanTheOneKnownIsNotUsed) {
  EtcdOptions options = shared_cluster().options();
  options.cluster_id = 1;
  const auto store = open(options);
  const auto reply = txn(*store, put(key("a"), "1"), 10s);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, Errc::refused) << sentence(reply);
  EXPECT_NE(reply.error().what.find("cluster"), std::string::npos);
  EXPECT_EQ(read("a").value, "") << "the write reached it";
  for (const auto& member : store->health().members) EXPECT_NE(member.fault, "");
}

TEST_F(EtcdFaults, AStoreThatWentBackInTimeIsNotUsed) {
  EtcdOptions options = shared_cluster().options();
  options.revision = store_->health().highest_revision + 1'000'000;
  const auto store = open(options);
  kv::Txn get;
  get.success.emplace_back(kv::get(key("a")));
  const auto old = txn(*store, get, 3s);
  ASSERT_FALSE(old);
  EXPECT_NE(old.error().what.find("is behind"), std::string::npos) << sentence(old);
  std::vector<Errc> codes;
  for (int i = 0; i < 4; ++i) {
    const auto reply = txn(*store, put(key("a"), "1"), 10s);
    ASSERT_FALSE(reply);
    codes.push_back(reply.error().code);
  }
  // One write to each member shows it; then there is none left to ask.
  EXPECT_EQ(codes,
            (std::vector<Errc>{Errc::outcome_unknown, Errc::outcome_unknown, Errc::outcome_unknown, Errc::refused}));
}

TEST_F(EtcdFaults, AnAddressWhereNobodyAnswersDoesNotStopTheOthers) {
  // Accepts connections and never says a word: the worst of members.
  boost::asio::ip::tcp::acceptor silent(io_, {boost::asio::ip::address_v4::loopback(), 0});
  EtcdOptions options = shared_cluster().options();
  options.endpoints.insert(options.endpoints.begin(),
                           "https://127.0.0.1:" + std::to_string(silent.local_endpoint().port()));
  options.endpoints.insert(options.endpoints.begin(), "https://127.0.0.1:" + std::to_string(free_port()));
  const auto store = open(options);
  const auto reply = txn(*store, put(key("a"), "1"), 10s);
  EXPECT_TRUE(reply) << sentence(reply);
}

TEST_F(EtcdFaults, AFullStoreSaysADefiniteNoAndShowsItsAlarm) {
  EtcdCluster small({"--quota-backend-bytes", "100000"});
  const auto store = open(small.options());
  ASSERT_TRUE(wait_for(io_, 60s, [&store] { return store->health().usable(); }));
  Result<kv::TxnReply> reply{};
  for (int i = 0; i < 20 && reply; ++i) reply = txn(*store, put(key("a"), std::string(50'000, 'x')));
  ASSERT_FALSE(reply) << "the quota was not heeded";
  EXPECT_EQ(reply.error().code, Errc::exhausted) << sentence(reply);
  EXPECT_NE(reply.error().what.find("space exceeded"), std::string::npos) << sentence(reply);
  EXPECT_TRUE(wait_for(io_, 20s, [&store] { return !store->health().members.at(0).alarms.empty(); }));
}

TEST_F(EtcdFaults, AListingTooLargeForOneAnswerComesInSmallerPages) {
  constexpr int kValues = 40;  // 10 MiB, 13 as base64
  for (int i = 0; i < kValues; ++i) {
    const auto made = write("big/" + std::to_string(i), std::string(kv::kMaxValueBytes, 'x'));
    ASSERT_TRUE(made) << sentence(made);
  }
  kv::Txn all;
  all.success.emplace_back(kv::all_under(key("big/")));
  const auto at_once = txn(*store_, all);
  ASSERT_FALSE(at_once);
  EXPECT_EQ(at_once.error().code, Errc::exhausted) << sentence(at_once);
  const auto listing = run(io_, runtime::range_all(*store_, key("big/"), in(30s)));
  ASSERT_TRUE(listing) << listing.error().what;
  EXPECT_EQ(listing->kvs.size(), static_cast<std::size_t>(kValues));
}

TEST_F(EtcdFaults, ManyTransactionsAtOnceShareTheConnections) {
  constexpr int kMany = 100;
  int made = 0;
  int done = 0;
  for (int i = 0; i < kMany; ++i) {
    boost::asio::co_spawn(io_, store_->txn(put(key(std::to_string(i)), "v"), in(30s)),
                          [&](const std::exception_ptr&, const Result<kv::TxnReply>& reply) {
                            ++done;
                            made += reply ? 1 : 0;
                          });
  }
  EXPECT_TRUE(wait_for(io_, 40s, [&] { return done == kMany; }));
  EXPECT_EQ(made, kMany);
}

TEST_F(EtcdFaults, ClosingTheStoreEndsWhatIsUnderWay) {
  Proxy proxy(io_, shared_cluster().port(leader()));
  auto store = open(through(proxy));
  ASSERT_TRUE(txn(*store, put(key("a"), "1")));
  auto watch = store->watch(key("w/"), 1);
  proxy.set(Proxy::Mode::hold_requests);
  std::optional<Result<kv::TxnReply>> reply;
  bool watch_ended = false;
  boost::asio::co_spawn(io_, store->txn(put(key("a"), "2"), in(60s)),
                        [&](const std::exception_ptr&, const Result<kv::TxnReply>& got) { reply = got; });
  boost::asio::co_spawn(io_, watch->next(),
                        [&](const std::exception_ptr&, const std::optional<WatchItem>&) { watch_ended = true; });
  wait_for(io_, 2s, [] { return false; });  // both are sent
  store.reset();
  EXPECT_TRUE(wait_for(io_, 20s, [&] { return reply.has_value() && watch_ended; }));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error().code, Errc::outcome_unknown) << sentence(*reply);
}

}  // namespace
}  // namespace bascule::testkit
