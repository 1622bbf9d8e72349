#include <gtest/gtest.h>

#include "hostd/runtime/etcd/watch_cursor.hpp"

namespace bascule::runtime::etcd {
namespace {

namespace kv = core::kv;
using Act = WatchCursor::Step::Act;

WatchMessage events(kv::Revision store, std::vector<kv::Revision> revisions) {
  WatchMessage message;
  message.header.revision = store;
  for (const kv::Revision revision : revisions) {
    message.events.push_back({kv::Event::Kind::put, {"k", "v", revision, revision, 1}});
  }
  return message;
}

TEST(WatchCursor, ResumesAfterTheLastRevisionDelivered) {
  WatchCursor cursor(5);
  EXPECT_EQ(cursor.next(), 5);
  const auto step = cursor.accept(events(9, {5, 7, 7}));
  EXPECT_EQ(step.act, Act::deliver);
  EXPECT_EQ(step.item.kind, WatchItem::Kind::events);
  EXPECT_EQ(step.item.revision, 7);
  EXPECT_EQ(step.item.events.size(), 3U);
  EXPECT_EQ(cursor.next(), 8);
}

TEST(WatchCursor, ARevisionDeliveredBeforeOrGoingBackBreaksTheWatch) {
  for (const auto& bad : {events(9, {7}), events(9, {6}), events(12, {9, 8}), events(9, {10})}) {
    WatchCursor cursor(5);
    static_cast<void>(cursor.accept(events(9, {5, 7})));
    const auto step = cursor.accept(bad);
    EXPECT_EQ(step.act, Act::finish);
    EXPECT_EQ(step.item.kind, WatchItem::Kind::broken);
    EXPECT_TRUE(step.item.events.empty()) << "nothing of a broken message is handed out";
    EXPECT_EQ(cursor.next(), 8);
  }
}

TEST(WatchCursor, CompactionAsksForANewListing) {
  WatchCursor cursor(5);
  WatchMessage message;
  message.canceled = true;
  message.compact_revision = 20;
  const auto step = cursor.accept(message);
  EXPECT_EQ(step.act, Act::finish);
  EXPECT_EQ(step.item.kind, WatchItem::Kind::relist);
}

TEST(WatchCursor, AnErrorOrACancelOnlyMovesTheStream) {
  WatchCursor cursor(5);
  WatchMessage failed;
  failed.failed = true;
  failed.reason = "no leader";
  EXPECT_EQ(cursor.accept(failed).act, Act::reconnect);
  WatchMessage canceled;
  canceled.canceled = true;
  canceled.created = true;
  EXPECT_EQ(cursor.accept(canceled).act, Act::reconnect);
  EXPECT_EQ(cursor.next(), 5);
}

TEST(WatchCursor, ProgressIsNotTakenForDelivery) {
  WatchCursor cursor(5);
  EXPECT_EQ(cursor.accept(events(90, {})).act, Act::nothing);
  EXPECT_EQ(cursor.next(), 5) << "3.4.23 may announce a revision before its events";
}

TEST(WatchCursor, StartsAtTheBeginningRatherThanNow) {
  EXPECT_EQ(WatchCursor(0).next(), 1);
  EXPECT_EQ(WatchCursor(-4).next(), 1);
}

TEST(WatchCursor, ANewStreamIsAnnounced) {
  WatchCursor cursor(5);
  WatchMessage created;
  created.created = true;
  created.header.revision = 100;
  const auto step = cursor.accept(created);
  EXPECT_EQ(step.act, Act::deliver);
  EXPECT_EQ(step.item.kind, WatchItem::Kind::connected);
  EXPECT_EQ(step.item.revision, 4) << "what was delivered so far";
}

}  // namespace
}  // namespace bascule::runtime::etcd
