#include "tests/sim/etcd.hpp"

#include <algorithm>

namespace bascule::sim {
namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using runtime::WatchItem;

namespace {
constexpr Us kElectionLeast = 1000 * kMs, kElectionMost = 1900 * kMs;  // etcd's --election-timeout, randomized
constexpr Us kRaftPatience = 7 * kSecond;                              // etcd gives up a proposal after this long
constexpr Us kWatchNotices = 2500 * kMs;  // a dead stream is noticed by hostd's own time-out
constexpr Us kRefused = 250 * kMs;        // trying every member once
}  // namespace

SimEtcd::SimEtcd(Engine& engine, Net& net, std::vector<std::string> members)
    : engine_(engine), net_(net), members_(std::move(members)), leader_(members_.front()) {
  refresh();
  elected_at_ = 0;
}

bool SimEtcd::in_majority(const std::string& member) const { return majority_.contains(member); }

void SimEtcd::refresh() {
  majority_.clear();
  for (const auto& one : members_) {
    std::set<std::string> group;
    for (const auto& other : members_) {
      if (!stopped_.contains(other) && !stopped_.contains(one) && net_.both_ways(Lan::management, one, other))
        group.insert(other);
    }
    if (group.size() * 2 > members_.size() && group.size() > majority_.size()) majority_ = std::move(group);
  }
  if (majority_.empty() || majority_.contains(leader_)) return;
  leader_ = *majority_.begin();
  elected_at_ = engine_.now_us() + engine_.rng().in(kElectionLeast, kElectionMost);
}

void SimEtcd::stop_member(const std::string& member, bool stopped) {
  if (stopped)
    stopped_.insert(member);
  else
    stopped_.erase(member);
  refresh();
}

void SimEtcd::stop_all(bool stopped) {
  for (const auto& member : members_) stop_member(member, stopped);
}

bool SimEtcd::serves(const std::string& place) const {
  if (majority_.empty() || engine_.now_us() < elected_at_) return false;
  return std::ranges::any_of(majority_,
                             [&](const std::string& member) { return net_.both_ways(Lan::management, place, member); });
}

void SimEtcd::compact() { state_.compacted = state_.revision; }

void SimEtcd::roll_back(kv::Revision to) {
  testkit::KvState old;
  old.revision = 1;
  for (const auto& event : state_.history) {
    if (event.kv.mod_revision > to) break;
    if (event.kind == kv::Event::Kind::del)
      old.keys.erase(event.kv.key);
    else
      old.keys[event.kv.key] = event.kv;
    old.history.push_back(event);
    old.revision = event.kv.mod_revision;
  }
  state_ = std::move(old);
}

void SimEtcd::lose_all() {
  ++cluster_;
  state_ = {};
}

class SimWatch final : public runtime::KvWatch {
 public:
  SimWatch(SimEtcd& etcd, Process& process, std::string place, std::string prefix, kv::Revision from)
      : etcd_(etcd),
        process_(process),
        place_(std::move(place)),
        prefix_(std::move(prefix)),
        cluster_(etcd.cluster_),
        next_(from) {
    etcd_.watches_.push_back(this);
    const auto& history = etcd_.state_.history;
    seen_ = static_cast<std::size_t>(
        std::ranges::lower_bound(history, from, {}, [](const kv::Event& e) { return e.kv.mod_revision; }) -
        history.begin());
  }
  SimWatch(const SimWatch&) = delete;
  SimWatch& operator=(const SimWatch&) = delete;
  ~SimWatch() override { std::erase(etcd_.watches_, this); }

  asio::awaitable<std::optional<WatchItem>> next(runtime::Deadline) override {
    while (true) {
      if (auto item = take()) co_return item;
      auto started = [this](Process::Token token) {
        token_ = token;
        look_in(connected_ ? kWatchNotices : 200 * kMs);
      };
      auto parked = process_.park(started);
      co_await std::move(parked);
      token_ = 0;
    }
  }

  /// A change was made: it arrives a moment later.
  void changed() {
    if (token_ == 0 || woken_ || !connected_) return;
    woken_ = true;
    look_in(etcd_.net_.delay() + etcd_.watch_lag);
  }

 private:
  void look_in(Us length) {
    etcd_.engine_.after(length, [handle = process_.handle(), token = token_] {
      if (const auto alive = handle.lock()) (*alive)->resume(token);
    });
  }

  std::optional<WatchItem> take() {
    woken_ = false;
    if (over_) return over_;
    const bool served = etcd_.serves(place_) && etcd_.cluster_ == cluster_;
    const Us now = etcd_.engine_.now_us();
    if (served) heard_ = now;
    if (connected_ && now - heard_ >= kWatchNotices) {
      connected_ = false;
      return WatchItem{WatchItem::Kind::disconnected, next_ - 1, {}, "no word from any member"};
    }
    if (!served) return std::nullopt;
    const auto& state = etcd_.state_;
    if (!connected_) {
      if (next_ <= state.compacted) return over_ = WatchItem{WatchItem::Kind::relist, next_ - 1, {}, "compacted"};
      if (next_ > state.revision + 1) return over_ = WatchItem{WatchItem::Kind::broken, next_ - 1, {}, "went back"};
      connected_ = true;
      return WatchItem{WatchItem::Kind::connected, next_ - 1, {}, {}};
    }
    WatchItem item;
    for (; seen_ < state.history.size(); ++seen_) {
      const auto& event = state.history[seen_];
      if (event.kv.mod_revision >= next_ && event.kv.key.starts_with(prefix_)) item.events.push_back(event);
    }
    if (item.events.empty()) return std::nullopt;
    item.revision = item.events.back().kv.mod_revision;
    next_ = item.revision + 1;
    return item;
  }

  SimEtcd& etcd_;
  Process& process_;
  std::string place_, prefix_;
  std::uint64_t cluster_;
  kv::Revision next_;
  std::size_t seen_{};
  Process::Token token_{};
  bool connected_{}, woken_{};
  Us heard_{};
  std::optional<WatchItem> over_;
};

Result<kv::TxnReply> SimEtcd::apply(const kv::Txn& txn) {
  const auto before = state_.history.size();
  auto reply = state_.apply(txn);
  for (auto i = before; committed && i < state_.history.size(); ++i) committed(state_.history[i]);
  for (SimWatch* watch : watches_) watch->changed();
  return reply;
}

std::unique_ptr<runtime::KvWatch> SimKv::watch(std::string prefix, kv::Revision from) {
  return std::make_unique<SimWatch>(etcd_, process_, place_, std::move(prefix), from);
}

bool SimKv::served() {
  if (!etcd_.serves(place_)) return false;
  if (cluster_ == 0) cluster_ = etcd_.cluster_;
  return cluster_ == etcd_.cluster_;
}

runtime::StoreHealth SimKv::health() const {
  runtime::MemberHealth member;
  member.reachable = member.has_leader = etcd_.serves(place_) && cluster_ == etcd_.cluster_;
  member.revision = etcd_.state_.revision;
  return {{member}, cluster_, etcd_.state_.revision};
}

asio::awaitable<void> SimKv::wait_until(runtime::Deadline deadline) {
  const Us until = process_.clock().until(deadline);
  auto rest = process_.sleep(std::max<Us>(0, until - etcd_.engine_.now_us()));
  co_await std::move(rest);
}

asio::awaitable<Result<kv::TxnReply>> SimKv::txn(kv::Txn txn, runtime::Deadline deadline) {
  auto& engine = etcd_.engine_;
  auto& rng = engine.rng();
  const auto unavailable = fail(Errc::unavailable, "no member of etcd with a leader answers");
  const auto unknown = fail(Errc::outcome_unknown, "the write was sent to etcd and not answered in time");
  if (const auto good = kv::check_limits(txn); !good) co_return good.error();
  const bool reads = kv::read_only(txn);
  const Us until = process_.clock().until(deadline);
  auto way = process_.sleep(etcd_.net_.delay());
  co_await std::move(way);
  if (!served()) {
    if (reads || rng.chance(0.5)) {  // every member says that it has no leader, or cannot be connected to
      auto refused = process_.sleep(std::min(kRefused, std::max<Us>(0, until - engine.now_us())));
      co_await std::move(refused);
      co_return unavailable;
    }
    // A member took it and can tell nobody. It may still hand it to a leader before it gives up.
    if (rng.chance(0.5)) {
      const Us give_up = engine.now_us() + kRaftPatience;
      const Us when = engine.now_us() + rng.in(0, kRaftPatience);
      engine.at(when, [etcd = &etcd_, place = place_, txn = std::move(txn), give_up, cluster = cluster_] {
        if (etcd->cluster_ != cluster) return;
        if (etcd->engine_.now_us() <= give_up && etcd->serves(place)) static_cast<void>(etcd->apply(txn));
      });
    }
    co_await wait_until(deadline);
    co_return unknown;
  }
  if (etcd_.slow > 0) {
    const Us work = rng.in(etcd_.slow / 2, etcd_.slow);
    if (engine.now_us() + work > until) {  // carried out, and nobody hears of it
      if (!reads) {
        engine.after(work, [etcd = &etcd_, txn = std::move(txn), cluster = cluster_] {
          if (etcd->cluster_ == cluster) static_cast<void>(etcd->apply(txn));
        });
      }
      co_await wait_until(deadline);
      co_return reads ? unavailable : unknown;
    }
    auto busy = process_.sleep(work);
    co_await std::move(busy);
    if (!served()) co_return reads ? unavailable : unknown;
  }
  auto reply = etcd_.apply(txn);
  const bool lost = (!reads && rng.chance(etcd_.lose_answer)) || !etcd_.serves(place_);
  const Us back = etcd_.net_.delay();
  if (lost || engine.now_us() + back > until) {
    co_await wait_until(deadline);
    co_return reads ? unavailable : unknown;
  }
  auto home = process_.sleep(back);
  co_await std::move(home);
  if (!etcd_.net_.both_ways(Lan::management, place_, place_)) co_return reads ? unavailable : unknown;
  co_return reply;
}

}  // namespace bascule::sim
