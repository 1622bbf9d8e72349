#include "hostd/runtime/cell/store.hpp"

#include <algorithm>
#include <string_view>

#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::runtime {
namespace asio = boost::asio;
using core::Revision;

namespace {

constexpr std::chrono::seconds kListDeadline{10};
constexpr std::chrono::seconds kRelistPause{1};
constexpr std::chrono::seconds kWatchLook{1};
constexpr int kSilentLooks{3};                    // one after the other, without what this host has written long since
constexpr std::chrono::seconds kRefusedPause{5};  // a format that is not known does not go away by itself

/// Takes `prefix` off the front; false when it is not there.
bool eat(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

template <class T>
bool set(core::Versioned<T>& slot, const core::kv::Event& event) {
  if (event.kind == core::kv::Event::Kind::del) {
    slot = {};
    return true;
  }
  auto value = codec::decode<T>(event.kv.value);
  if (!value) {
    say(msg::record_unreadable, {}, "record {} cannot be read ({}); the last good one stays in use", event.kv.key,
        value.error().what);
    return false;
  }
  slot = {std::move(*value), event.kv.create_revision, event.kv.mod_revision};
  return true;
}

}  // namespace

CellStore::CellStore(asio::any_io_executor executor, KvStore& kv, const std::string& cell, std::string self,
                     std::string instance, std::chrono::milliseconds commit_within)
    : kv_(kv),
      root_(keys::root(cell)),
      self_(std::move(self)),
      instance_(std::move(instance)),
      commit_within_(commit_within),
      changed_(executor) {}

core::Writer CellStore::writer() { return {self_, instance_, ++number_}; }

void CellStore::note(Revision revision, std::string type, std::string object, std::string project) {
  events_.push_back({revision, std::move(type), std::move(object), std::move(project)});
  while (events_.size() > kEventsKept) {
    events_from_ = events_.front().revision;
    events_.pop_front();
  }
}

void CellStore::apply_host(std::string_view rest, const core::kv::Event& event) {
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos) return;
  const std::string id(rest.substr(0, slash));
  const auto field = rest.substr(slash + 1);
  auto& host = view_.hosts[id];
  if (field == "info") {
    set(host.info, event);
    note(event.kv.mod_revision, "host.changed", id, {});
    if (host.info.revision == 0) view_.hosts.erase(id);
  } else if (field == "lease") {
    set(host.lease, event);
    // A listing repeats what was known: only a change is a sign of life.
    if (lease_seen_[id].revision == host.lease.revision) return;
    lease_seen_[id].revision = host.lease.revision;
    // safety: S1. Timed from when this hostd saw it, so never from before it was started. [model: F_timer_from_start]
    lease_seen_[id].at = Clock::now();
    if (host.silent) {
      host.silent = false;
      say(msg::host_back, {.host = id}, "host {} renews its lease again", id);
      note(event.kv.mod_revision, "host.changed", id, {});
    }
  } else if (field == "fence") {
    set(host.fence, event);
    note(event.kv.mod_revision, "host.changed", id, {});
  } else if (field == "maintenance") {
    set(host.maintenance, event);
    note(event.kv.mod_revision, "host.changed", id, {});
  }
}

void CellStore::apply_vm(std::string_view rest, const core::kv::Event& event) {
  const auto slash = rest.find('/');
  if (slash == std::string_view::npos) return;
  const std::string name(rest.substr(0, slash));
  auto field = rest.substr(slash + 1);
  auto& vm = view_.vms[name];
  changed_vms_.insert(name);
  view_.vms_changed = std::max(view_.vms_changed, event.kv.mod_revision);
  const std::string project = vm.spec.value.project;
  if (field == "spec") {
    set(vm.spec, event);
  } else if (field == "layout") {
    set(vm.layout, event);
  } else if (field == "right") {
    set(vm.right, event);
  } else if (field == "restored") {
    set(vm.restored, event);
  } else if (field == "op") {
    vm.operation = event.kind == core::kv::Event::Kind::del
                       ? core::Versioned<std::string>{}
                       : core::Versioned<std::string>{event.kv.value, event.kv.create_revision, event.kv.mod_revision};
  } else if (eat(field, "status/")) {
    core::Versioned<core::VmStatus> status;
    if (set(status, event)) {
      if (status.revision == 0)
        vm.status.erase(std::string(field));
      else
        vm.status[std::string(field)] = std::move(status.value);
    }
  } else if (eat(field, "last/")) {
    core::Versioned<core::LastCare> last;
    if (set(last, event)) {
      if (last.revision == 0)
        vm.last.erase(std::string(field));
      else
        vm.last[std::string(field)] = std::move(last.value);
    }
  }
  const bool gone = vm.spec.revision == 0 && vm.layout.revision == 0 && vm.right.revision == 0 &&
                    vm.restored.revision == 0 && vm.operation.revision == 0 && vm.status.empty() && vm.last.empty();
  note(event.kv.mod_revision, vm.spec.revision == 0 ? "vm.removed" : "vm.changed", name,
       project.empty() ? vm.spec.value.project : project);
  if (gone) view_.vms.erase(name);
}

void CellStore::apply_alert(std::string_view rest, const core::kv::Event& event) {
  const std::string id(rest);
  set(alerts_[id], event);
  // One that never could be read has no revision either: it is left alone.
  if (alerts_[id].revision == 0) alerts_.erase(id);
  note(event.kv.mod_revision, "alert.changed", id, {});
}

void CellStore::apply(const core::kv::Event& event) {
  std::string_view key = event.kv.key;
  const Revision revision = event.kv.mod_revision;
  if (!eat(key, root_)) return;
  if (eat(key, "vms/")) return apply_vm(key, event);
  if (eat(key, "hosts/")) return apply_host(key, event);
  const bool deleted = event.kind == core::kv::Event::Kind::del;
  if (eat(key, "ops/")) {
    const std::string id(key);
    auto& op = view_.operations[id];
    const std::string project = op.value.project;
    view_.vms_changed = std::max(view_.vms_changed, revision);
    set(op, event);
    note(revision, deleted ? "operation.removed" : "operation.changed", id, deleted ? project : op.value.project);
    if (deleted || core::finished(op.value.state))
      active_.erase(id);
    else
      active_.insert(id);
    if (core::finished(op.value.state) && op.value.writer.host == self_) ended_here_ = true;
    if (deleted) view_.operations.erase(id);
  } else if (eat(key, "progress/")) {
    const std::string id(key);
    core::Versioned<core::Progress> progress;
    if (!set(progress, event)) return;
    if (deleted)
      view_.progress.erase(id);
    else
      view_.progress[id] = std::move(progress.value);
    const auto op = view_.operations.find(id);
    note(revision, "operation.progress", id, op == view_.operations.end() ? "" : op->second.value.project);
  } else if (eat(key, "images/")) {
    const std::string name(key);
    auto& image = view_.images[name];
    set(image, event);
    note(revision, "image.changed", name, {});
    if (deleted) view_.images.erase(name);
  } else if (eat(key, "alerts/")) {
    apply_alert(key, event);
  } else if (key == "ha-disarmed") {
    set(view_.disarmed, event);
    note(revision, "ha.changed", {}, {});
  } else if (key == "restore") {
    set(view_.restore, event);
  } else if (key == "format") {
    see_format(deleted ? std::nullopt : std::optional(event.kv.value));
  } else if (key == "audit-head") {
    set(view_.audit, event);
    note(revision, "audit.appended", std::to_string(view_.audit.value.sequence), {});
  }
}

asio::awaitable<core::Result<Revision>> CellStore::list() {
  auto listing = co_await range_all(kv_, root_, Clock::now() + kListDeadline);
  if (!listing) co_return listing.error();
  // Before anything is read: what is newer may mean something else.
  const auto format = std::ranges::find(listing->kvs, keys::format(root_), &core::kv::KeyValue::key);
  see_format(format == listing->kvs.end() ? std::nullopt : std::optional(format->value));
  if (!refusal_.empty()) {
    view_.synced = false;
    changed_.notify();
    co_return core::fail(core::Errc::refused, refusal_);
  }
  const auto hosts = std::move(view_.hosts);
  view_ = {};
  alerts_.clear();
  active_.clear();
  for (const auto& kv : listing->kvs) apply({core::kv::Event::Kind::put, kv});
  for (auto& [id, host] : view_.hosts) {
    // A listing is no sign of life: what was silent stays so until its lease changes.
    const auto before = hosts.find(id);
    if (before == hosts.end()) continue;
    host.silent = before->second.silent;
    host.steady = before->second.steady;
  }
  events_.clear();
  events_from_ = listing->revision;
  view_.revision = listing->revision;
  view_.synced = true;
  say(msg::etcd_back, {.host = self_}, "the cell is read from etcd at revision {}", listing->revision);
  changed_.notify();
  co_return listing->revision;
}

asio::awaitable<void> CellStore::follow(Revision from) {
  const auto watch = kv_.watch(root_, from);
  int silent = 0;
  while (true) {
    auto next = co_await watch->next(Clock::now() + kWatchLook);
    if (!next) {
      silent = view_.revision < renewed_at_ ? silent + 1 : 0;
      if (silent < kSilentLooks) continue;
      // Its member answers, and its stream says nothing: etcd has been seen to starve one for long.
      say(msg::etcd_away, {.host = self_}, "the watch on etcd does not tell what this host has written; listing again");
      view_.synced = false;
      changed_.notify();
      co_return;
    }
    silent = 0;
    auto& item = *next;
    switch (item.kind) {
      case WatchItem::Kind::events:
        for (const auto& event : item.events) {
          apply(event);
          if (!refusal_.empty()) break;  // what comes with it may mean something else
        }
        if (!refusal_.empty()) {
          view_.synced = false;
          changed_.notify();
          co_return;
        }
        if (item.revision > view_.revision) {
          for (const auto& id : std::exchange(marked_, {})) note(item.revision, "host.changed", id, {});
          view_.revision = item.revision;
        }
        break;
      case WatchItem::Kind::connected:
        if (!view_.synced) say(msg::etcd_back, {.host = self_}, "the watch on etcd goes on");
        view_.synced = true;
        break;
      case WatchItem::Kind::disconnected:
        say(msg::etcd_away, {.host = self_}, "the watch on etcd is cut; changes are refused until it is back");
        view_.synced = false;
        break;
      case WatchItem::Kind::relist:
      case WatchItem::Kind::broken:
        say(msg::etcd_away, {.host = self_}, "the watch on etcd ended ({}); listing again", item.detail);
        view_.synced = false;
        changed_.notify();
        co_return;
    }
    changed_.notify();
  }
}

asio::awaitable<void> CellStore::run() {
  while (true) {
    auto revision = co_await list();
    if (revision) {
      co_await follow(*revision + 1);
    } else if (refusal_.empty()) {
      say(msg::etcd_away, {.host = self_}, "cannot list the cell: {}", revision.error().what);
    }
    co_await pause(refusal_.empty() ? kRelistPause : kRefusedPause);
  }
}

std::map<std::string, core::Mono> CellStore::absences() const {
  std::map<std::string, core::Mono> out;
  const auto now = Clock::now();
  for (const auto& [id, seen] : lease_seen_) {
    if (id != self_) out[id] = std::chrono::duration_cast<core::Mono>(now - seen.at);
  }
  return out;
}

void CellStore::heard(const std::string& host) { lease_seen_[host].at = Clock::now(); }

void CellStore::restart_absences() {
  for (auto& [id, seen] : lease_seen_) seen.at = Clock::now();
}

bool CellStore::mark_hosts(core::Mono after, core::Mono steady_after) {
  bool any = false;
  const auto now = Clock::now();
  for (auto& [id, seen] : lease_seen_) {
    const auto host = view_.hosts.find(id);
    if (host == view_.hosts.end()) continue;
    const bool absent = id != self_ && now - seen.at > after;
    if (absent)
      seen.steady_since.reset();
    else if (!seen.steady_since)
      seen.steady_since = now;
    const bool steady = seen.steady_since && now - *seen.steady_since >= steady_after;
    const bool silent = host->second.silent || absent;  // its end is told by the lease itself
    if (silent == host->second.silent && steady == host->second.steady) continue;
    if (silent && !host->second.silent) {
      say(msg::host_silent, {.host = id}, "host {} has not renewed its lease for {} ms", id, after.count());
    }
    host->second.silent = silent;
    host->second.steady = steady;
    any = true;
    // Who follows may stand at this revision already, and hears of later ones only. This host's own lease brings one.
    marked_.insert(id);
  }
  if (any) changed_.notify();
  return any;
}

asio::awaitable<core::Result<>> CellStore::caught_up(Revision revision, Deadline deadline) {
  while (view_.revision < revision) {
    if (Clock::now() >= deadline) {
      co_return core::fail(core::Errc::unavailable, "the watch on etcd lags behind; nothing is lost, try again");
    }
    co_await changed_.wait(changed_.count(), deadline);
  }
  co_return core::Result<>{};
}

}  // namespace bascule::runtime
