#include "tests/testkit/fake_kv.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "tests/testkit/kv_state.hpp"

namespace bascule::testkit {

namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::fail;
using core::Result;
using runtime::Deadline;
using runtime::WatchItem;

namespace {

auto quiet() { return asio::as_tuple(asio::use_awaitable); }

}  // namespace

struct FakeKv::Store : KvState {
  std::uint64_t breaks{0};
  std::vector<asio::steady_timer*> sleepers;  // watches that wait for something to happen

  void wake() {
    for (asio::steady_timer* sleeper : sleepers) sleeper->cancel();
  }
  Result<kv::TxnReply> apply(const kv::Txn& txn) {
    auto reply = KvState::apply(txn);
    wake();
    return reply;
  }
};

struct FakeKv::Knobs {
  int lose_answers{0};
  int lose_writes{0};
  int hold_writes{0};
  std::vector<kv::Txn> held;
  bool unavailable{false};
  std::chrono::milliseconds latency{0};
};

class FakeKv::Watch final : public runtime::KvWatch {
 public:
  Watch(const asio::any_io_executor& executor, std::shared_ptr<Store> store, std::string prefix, kv::Revision from)
      : store_(std::move(store)), prefix_(std::move(prefix)), next_(std::max<kv::Revision>(from, 1)), timer_(executor) {
    store_->sleepers.push_back(&timer_);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() override { std::erase(store_->sleepers, &timer_); }

  asio::awaitable<std::optional<WatchItem>> next(Deadline deadline) override {
    while (true) {
      if (std::optional<WatchItem> item = take()) co_return item;
      if (Deadline::clock::now() >= deadline) co_return std::nullopt;
      timer_.expires_at(deadline);
      co_await timer_.async_wait(quiet());
    }
  }

 private:
  std::optional<WatchItem> take() {
    if (final_) return final_;
    if (breaks_ != store_->breaks) {
      breaks_ = store_->breaks;
      connected_ = false;
      return WatchItem{WatchItem::Kind::disconnected, next_ - 1, {}, "the stream was broken"};
    }
    if (next_ < store_->compacted && !connected_) {
      return final_ = WatchItem{WatchItem::Kind::relist, next_ - 1, {}, "compacted; list again"};
    }
    if (!connected_) {
      connected_ = true;
      return WatchItem{WatchItem::Kind::connected, next_ - 1, {}, {}};
    }
    WatchItem item;
    for (const kv::Event& event : store_->history) {
      if (event.kv.mod_revision >= next_ && event.kv.key.starts_with(prefix_)) item.events.push_back(event);
    }
    if (item.events.empty()) return std::nullopt;
    item.revision = item.events.back().kv.mod_revision;
    next_ = item.revision + 1;
    return item;
  }

  std::shared_ptr<Store> store_;
  std::string prefix_;
  kv::Revision next_;
  asio::steady_timer timer_;
  bool connected_{false};
  std::uint64_t breaks_{store_->breaks};
  std::optional<WatchItem> final_;
};

FakeKv::FakeKv(asio::any_io_executor executor) : FakeKv(std::move(executor), std::make_shared<Store>()) {}
FakeKv::FakeKv(asio::any_io_executor executor, std::shared_ptr<Store> store)
    : executor_(std::move(executor)), store_(std::move(store)), knobs_(std::make_unique<Knobs>()) {}
FakeKv::~FakeKv() = default;

std::unique_ptr<FakeKv> FakeKv::another() { return std::unique_ptr<FakeKv>(new FakeKv(executor_, store_)); }

asio::awaitable<Result<kv::TxnReply>> FakeKv::txn(kv::Txn txn, Deadline deadline) {
  if (const auto good = kv::check_limits(txn); !good) co_return good.error();
  const bool writes = !kv::read_only(txn);
  asio::steady_timer timer(executor_);
  timer.expires_after(knobs_->latency);  // always at least one turn of the loop, as with a real one
  const bool late = timer.expiry() > deadline;
  if (late) timer.expires_at(deadline);
  co_await timer.async_wait(quiet());
  if (knobs_->unavailable) co_return fail(Errc::unavailable, "no member of the store can be reached");
  if (!writes) {
    if (late) co_return fail(Errc::unavailable, "no answer in time");
    co_return store_->apply(txn);
  }
  const auto unknown = fail(Errc::outcome_unknown, "the write was sent and not answered");
  if (knobs_->lose_writes > 0) {
    --knobs_->lose_writes;
    co_return unknown;
  }
  if (knobs_->hold_writes > 0) {
    --knobs_->hold_writes;
    knobs_->held.push_back(std::move(txn));
    co_return unknown;
  }
  Result<kv::TxnReply> reply = store_->apply(txn);
  if (late) co_return unknown;
  if (knobs_->lose_answers > 0) {
    --knobs_->lose_answers;
    co_return unknown;
  }
  co_return reply;
}

std::unique_ptr<runtime::KvWatch> FakeKv::watch(std::string prefix, kv::Revision from) {
  return std::make_unique<Watch>(executor_, store_, std::move(prefix), from);
}

runtime::StoreHealth FakeKv::health() const {
  runtime::MemberHealth member;
  member.endpoint = "fake";
  member.reachable = member.has_leader = member.leads = !knobs_->unavailable;
  member.version = "3.4.23";
  member.cluster_id = member.member_id = member.raft_term = 1;
  member.revision = store_->revision;
  return {{member}, 1, store_->revision};
}

void FakeKv::lose_answers(int count) { knobs_->lose_answers = count; }
void FakeKv::lose_writes(int count) { knobs_->lose_writes = count; }
void FakeKv::hold_writes(int count) { knobs_->hold_writes = count; }
void FakeKv::release_held() {
  for (const kv::Txn& txn : std::exchange(knobs_->held, {})) static_cast<void>(store_->apply(txn));
}
void FakeKv::be_unavailable(bool unavailable) { knobs_->unavailable = unavailable; }
void FakeKv::answer_after(std::chrono::milliseconds latency) { knobs_->latency = latency; }
void FakeKv::compact(kv::Revision revision) {
  store_->compacted = std::max(store_->compacted, revision);
  store_->wake();
}
void FakeKv::break_watches() {
  ++store_->breaks;
  store_->wake();
}
kv::Revision FakeKv::revision() const { return store_->revision; }
Result<kv::TxnReply> FakeKv::apply_now(const kv::Txn& txn) { return store_->apply(txn); }

}  // namespace bascule::testkit
