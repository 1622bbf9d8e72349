#include "hostd/runtime/etcd/etcd_store.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "hostd/runtime/background.hpp"
#include "hostd/runtime/etcd/encode.hpp"
#include "hostd/runtime/etcd/members.hpp"
#include "hostd/runtime/etcd/watch.hpp"

namespace bascule::runtime::etcd {
namespace {

namespace asio = boost::asio;
namespace kv = core::kv;
using core::Errc;
using core::Error;
using core::fail;
using core::Result;
using std::chrono::milliseconds;

constexpr std::string_view kTxnPath = "/v3/kv/txn";
constexpr int kMaxRounds = 200;  // over all members; the deadline comes first
constexpr milliseconds kFirstPause{20};
constexpr milliseconds kLongestPause{250};

Deadline::clock::time_point now() { return Deadline::clock::now(); }

/// One transaction on its way: what is sent, and what became of it so far.
struct Request {
  kv::Txn txn;
  std::string body;
  bool writes{false};
  Deadline deadline;
  std::vector<std::string> reasons;  // for each member, why it gave no answer
};

enum class Next : std::uint8_t { answer, another_member };
struct Attempt {
  Next next{Next::another_member};
  Result<kv::TxnReply> result{fail(Errc::unavailable, "")};
};

constexpr std::string_view kInTime = "in time";  // how the reason of every ended wait ends

Attempt try_another(Request& request, std::size_t index, const std::string& why) {
  // That time ran out in the end says less than what a member said before.
  std::string& reason = request.reasons[index];
  if (reason.empty() || !why.ends_with(kInTime)) reason = why;
  return {};
}

Error no_answer(const Members& members, const Request& request) {
  std::string text = "etcd gave no answer by the deadline; nothing was changed. Check etcd and the links to it";
  for (std::size_t i = 0; i < request.reasons.size(); ++i) {
    if (!request.reasons[i].empty()) text += "; " + members.url(i) + ": " + request.reasons[i];
  }
  return fail(Errc::unavailable, text + ".");
}

Attempt unknown(const std::string& url, const std::string& why) {
  return {Next::answer, fail(Errc::outcome_unknown, "etcd gave no definite answer to a write (" + url + ": " + why +
                                                        "); it may or may not have happened, or happen later. " +
                                                        "It is settled by the next write on the same key.")};
}

/// The whole answer of a member is here: what does it say?
Attempt judge(Members& members, std::size_t index, Request& request, const Exchange& exchange, kv::Revision known) {
  const std::string& url = members.url(index);
  if (exchange.status != 200) {
    const Error error = decode_error(exchange.status, exchange.body, request.writes);
    if (error.code != Errc::outcome_unknown) return {Next::answer, error};
    members.failed(index, error.what);
    return request.writes ? unknown(url, error.what) : try_another(request, index, error.what);
  }
  Result<TxnAnswer> answer = decode_txn(exchange.body, request.txn);
  if (!answer) {
    members.failed(index, answer.error().what);
    return request.writes ? unknown(url, answer.error().what) : try_another(request, index, answer.error().what);
  }
  const auto asked = request.writes ? Members::Asked::write : Members::Asked::read;
  // Unless something was put or deleted, the revision need not have moved.
  const bool moved = std::ranges::any_of(answer->reply.responses, [](const kv::OpReply& response) {
    const auto* del = std::get_if<kv::DeleteReply>(&response);
    return std::holds_alternative<kv::PutReply>(response) || (del != nullptr && del->deleted > 0);
  });
  const Result<> sane = members.note(index, answer->header, asked, moved ? known + 1 : known);
  if (sane) return {Next::answer, std::move(answer->reply)};
  members.failed(index, sane.error().what);
  return request.writes ? unknown(url, sane.error().what) : try_another(request, index, sane.error().what);
}

/// A share of the time that is left, so that one member that hangs does not use all of it.
Deadline share(Deadline deadline, std::size_t members_left) {
  const auto left = deadline - now();
  return now() + left / static_cast<std::int64_t>(std::max<std::size_t>(members_left, 1));
}

asio::awaitable<Attempt> attempt(std::shared_ptr<Members> members, std::size_t index, Request& request,
                                 std::size_t members_left) {
  const Result<Lease> lease = co_await members->acquire(index, share(request.deadline, members_left));
  if (!lease) {
    if (lease.error().code != Errc::exhausted) members->failed(index, lease.error().what);
    co_return try_another(request, index, lease.error().what);
  }
  const kv::Revision known = members->highest();
  const Deadline until = request.writes ? request.deadline : share(request.deadline, members_left);
  const Exchange exchange = co_await (*lease)->post(kTxnPath, request.body, until);
  if (exchange.outcome == Exchange::Outcome::answered) co_return judge(*members, index, request, exchange, known);
  if (!request.writes && exchange.too_large) {
    co_return Attempt{Next::answer,
                      fail(Errc::exhausted, "The answer to a read is over the limit of " +
                                                std::to_string(kMaxReplyBytes) + " bytes; ask for less.")};
  }
  members->failed(index, exchange.why);
  // safety: rule U. A write that a member may have is never sent again from here: only its author
  // can tell whether a second copy is harmless. [model: DELAY]
  if (request.writes && exchange.outcome == Exchange::Outcome::unknown) {
    co_return unknown(members->url(index), exchange.why);
  }
  co_return try_another(request, index, exchange.why);
}

asio::awaitable<Result<kv::TxnReply>> run_txn(std::shared_ptr<Members> members, Request& request) {
  milliseconds wait = kFirstPause;
  for (int round = 0; round < kMaxRounds && now() < request.deadline; ++round) {
    const std::vector<std::size_t> order = members->order();
    if (order.empty()) co_return members->all_faulty();
    for (std::size_t i = 0; i < order.size() && now() < request.deadline; ++i) {
      Attempt made = co_await attempt(members, order[i], request, order.size() - i);
      if (made.next == Next::answer) co_return std::move(made.result);
      if (members->stopped()) co_return no_answer(*members, request);
    }
    asio::steady_timer timer(members->executor());
    timer.expires_at(std::min(now() + wait, request.deadline));
    co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    wait = std::min(wait * 2, kLongestPause);
  }
  co_return no_answer(*members, request);
}

/// Keeps the state of one member known, and a connection to it open.
asio::awaitable<void> keep_checking(std::shared_ptr<Members> members, std::shared_ptr<asio::steady_timer> timer,
                                    std::size_t index) {
  while (!members->stopped()) {
    co_await members->probe(index);
    if (members->stopped()) co_return;
    timer->expires_after(members->options().probe_every);
    co_await timer->async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

class EtcdStore final : public KvStore {
 public:
  explicit EtcdStore(std::shared_ptr<Members> members) : members_(std::move(members)) {
    for (std::size_t i = 0; i < members_->size(); ++i) {
      const auto timer = timers_.emplace_back(std::make_shared<asio::steady_timer>(members_->executor()));
      run_in_background(members_->executor(), "a check of an etcd member", keep_checking(members_, timer, i));
    }
  }
  EtcdStore(const EtcdStore&) = delete;
  EtcdStore& operator=(const EtcdStore&) = delete;
  ~EtcdStore() override {
    members_->stop();
    for (const auto& timer : timers_) timer->cancel();
  }

  asio::awaitable<Result<kv::TxnReply>> txn(kv::Txn txn, Deadline deadline) override {
    if (const Result<> good = kv::check_limits(txn); !good) co_return good.error();
    const std::shared_ptr<Members> members = members_;
    Request request;
    request.body = encode_txn(txn);
    request.writes = !kv::read_only(txn);
    request.txn = std::move(txn);
    request.deadline = deadline;
    request.reasons.resize(members->size());
    co_return co_await run_txn(members, request);
  }
  std::unique_ptr<KvWatch> watch(std::string prefix, kv::Revision from) override {
    return start_watch(members_, std::move(prefix), from);
  }
  [[nodiscard]] StoreHealth health() const override { return members_->health(); }

 private:
  std::shared_ptr<Members> members_;
  std::vector<std::shared_ptr<asio::steady_timer>> timers_;
};

}  // namespace

Result<std::unique_ptr<KvStore>> make_etcd_store(asio::any_io_executor executor, EtcdOptions options) {
  if (options.endpoints.empty() || options.endpoints.size() > kMaxMembers) {
    return fail(Errc::invalid, "Between 1 and " + std::to_string(kMaxMembers) +
                                   " etcd endpoints are needed; correct the configuration.");
  }
  std::vector<Endpoint> endpoints;
  for (const std::string& url : options.endpoints) {
    Result<Endpoint> endpoint = parse_endpoint(url);
    if (!endpoint) return endpoint.error();
    endpoints.push_back(*std::move(endpoint));
  }
  const auto tls = load_tls(options.tls);
  if (!tls) return tls.error();
  auto members = std::make_shared<Members>(std::move(executor), options, std::move(endpoints), *tls);
  return std::unique_ptr<KvStore>(std::make_unique<EtcdStore>(std::move(members)));
}

}  // namespace bascule::runtime::etcd
