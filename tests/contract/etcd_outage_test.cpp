// Writes and watches go on while a member of the real store is killed or hangs.
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "tests/contract/etcd_faults_fixture.hpp"

namespace bascule::testkit {
namespace {

/// Writes w/0, w/1, ... by guarded writes until told to stop; how many were made.
boost::asio::awaitable<int> keep_writing(KvStore& store, std::string base, const bool& stop) {
  int made = 0;
  while (!stop) {
    runtime::GuardedWrite next = guarded(base + std::to_string(made), 0, "v" + std::to_string(made));
    const runtime::GuardTiming timing{in(60s), 500ms};
    const auto commit = co_await runtime::commit_guarded(store, std::move(next), timing);
    EXPECT_TRUE(commit) << commit.error().what;
    if (!commit) break;
    ++made;
    boost::asio::steady_timer rest(co_await boost::asio::this_coro::executor, 5ms);
    co_await rest.async_wait(boost::asio::use_awaitable);
  }
  co_return made;
}

struct Followed {
  std::vector<std::string> keys;
  int disconnects{0};
  bool ended{false};
};
boost::asio::awaitable<void> follow(runtime::KvWatch& watch, Followed& followed) {
  kv::Revision last = 0;
  while (true) {
    const auto item = co_await watch.next();
    followed.disconnects += item->kind == WatchItem::Kind::disconnected ? 1 : 0;
    for (const kv::Event& event : item->events) {
      EXPECT_GE(event.kv.mod_revision, last);
      last = event.kv.mod_revision;
      followed.keys.push_back(event.kv.key);
    }
    if (item->kind == WatchItem::Kind::relist || item->kind == WatchItem::Kind::broken) break;
  }
  followed.ended = true;
}

/// Runs writers and a watch while `harm` is done to the leader and, later, undone: every write is
/// seen once, in order.
class EtcdOutage : public EtcdFaults {
 protected:
  void outlive(const std::function<void(std::size_t)>& harm, const std::function<void(std::size_t)>& undo) {
    const auto start = write("start", "1");
    ASSERT_TRUE(start) << sentence(start);
    Followed followed;
    auto watch = store_->watch(key("w/"), start->revision + 1);
    boost::asio::co_spawn(io_, follow(*watch, followed), boost::asio::detached);
    bool stop = false;
    int made = -1;
    boost::asio::co_spawn(io_, keep_writing(*store_, key("w/"), stop),
                          [&made](const std::exception_ptr&, int count) { made = count; });
    ASSERT_TRUE(wait_for(io_, 60s, [&] { return followed.keys.size() >= 10; }));
    const std::size_t victim = leader();
    harm(victim);
    const std::size_t before = followed.keys.size();
    const auto harmed = in(0ms);
    EXPECT_TRUE(wait_for(io_, 60s, [&] { return followed.keys.size() >= before + 20; })) << "writes did not go on";
    RecordProperty("outage_ms", static_cast<int>((in(0ms) - harmed) / 1ms));
    undo(victim);
    EXPECT_TRUE(wait_for(io_, 60s, [&] { return followed.keys.size() >= before + 40; }));
    stop = true;
    ASSERT_TRUE(wait_for(io_, 60s, [&] { return made >= 0; }));
    EXPECT_TRUE(wait_for(io_, 60s, [&] { return followed.keys.size() >= static_cast<std::size_t>(made); }));
    ASSERT_EQ(followed.keys.size(), static_cast<std::size_t>(made));
    for (std::size_t i = 0; i < followed.keys.size(); ++i) {
      EXPECT_EQ(followed.keys[i], key("w/") + std::to_string(i));
    }
    EXPECT_FALSE(followed.ended);
    store_->watch(key("x"), 1).reset();  // ends at once, whatever it is doing
    watch.reset();
    ASSERT_TRUE(wait_for(io_, 20s, [&] { return followed.ended; }));
  }
};

TEST_F(EtcdOutage, WritesGoOnAndAWatchMissesNothingWhenTheLeaderIsKilled) {
  outlive([](std::size_t m) { shared_cluster().kill(m); }, [](std::size_t m) { shared_cluster().start(m); });
}

TEST_F(EtcdOutage, WritesGoOnAndAWatchMissesNothingWhenTheLeaderHangs) {
  outlive([](std::size_t m) { shared_cluster().freeze(m); }, [](std::size_t m) { shared_cluster().thaw(m); });
}

TEST_F(EtcdFaults, AWatchLeavesAMemberThatHangsWithoutAWord) {
  // Followers serve this one; it must be the check of the member, not the stream, that notices.
  EtcdOptions options = shared_cluster().options();
  const std::size_t victim = (leader() + 1) % 3;
  options.endpoints = {options.endpoints[victim], options.endpoints[(victim + 1) % 3]};
  if ((victim + 1) % 3 == leader())
    options.endpoints = {shared_cluster().url(victim), shared_cluster().url((victim + 2) % 3)};
  const auto store = open(options);
  const auto start = write("start", "1");
  ASSERT_TRUE(start) << sentence(start);
  const auto watch = store->watch(key("w/"), start->revision + 1);
  auto item = run(io_, watch->next(in(30s)));
  ASSERT_TRUE(item && item->kind == WatchItem::Kind::connected);
  shared_cluster().freeze(victim);
  ASSERT_TRUE(write("w/1", "1"));
  do {
    item = run(io_, watch->next(in(30s)));
  } while (item && item->kind != WatchItem::Kind::events);
  ASSERT_TRUE(item) << "the watch stayed with the member that hangs";
  EXPECT_EQ(item->events.at(0).kv.key, key("w/1"));
}

}  // namespace
}  // namespace bascule::testkit
