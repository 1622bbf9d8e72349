#include "hostd/runtime/etcd/watch_cursor.hpp"

#include <utility>

namespace bascule::runtime::etcd {
namespace {

using Act = WatchCursor::Step::Act;

WatchCursor::Step say(Act act, WatchItem::Kind kind, core::kv::Revision revision, std::string detail) {
  return {act, {kind, revision, {}, std::move(detail)}};
}

}  // namespace

WatchCursor::Step WatchCursor::accept(WatchMessage message) {
  if (message.failed) return say(Act::reconnect, WatchItem::Kind::disconnected, next_ - 1, message.reason);
  if (message.compact_revision > 0) {
    return say(Act::finish, WatchItem::Kind::relist, next_ - 1,
               "Changes from revision " + std::to_string(next_) + " on were compacted away at " +
                   std::to_string(message.compact_revision) + "; list again.");
  }
  if (message.canceled) return say(Act::reconnect, WatchItem::Kind::disconnected, next_ - 1, message.reason);
  if (message.created && message.events.empty()) {
    return say(Act::deliver, WatchItem::Kind::connected, next_ - 1, {});
  }
  if (message.events.empty()) return {};  // progress; not trusted to advance: 3.4.23 may send it ahead of events
  core::kv::Revision last = next_;
  for (const core::kv::Event& event : message.events) {
    const core::kv::Revision revision = event.kv.mod_revision;
    if (revision < last || revision > message.header.revision) {
      return say(Act::finish, WatchItem::Kind::broken, next_ - 1,
                 "etcd sent a change of revision " + std::to_string(revision) + " where " + std::to_string(last) +
                     " to " + std::to_string(message.header.revision) + " was due; list again.");
    }
    last = revision;
  }
  next_ = last + 1;
  return {Act::deliver, {WatchItem::Kind::events, last, std::move(message.events), {}}};
}

}  // namespace bascule::runtime::etcd
