#include "hostd/runtime/etcd/members.hpp"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <tuple>
#include <utility>

namespace bascule::runtime::etcd {
namespace {

namespace asio = boost::asio;
using core::Errc;
using core::Error;
using core::fail;
using core::Result;

constexpr std::string_view kStatusPath = "/v3/maintenance/status";
constexpr std::string_view kEmptyRequest = "{}";
constexpr int kBehindChecks = 2;  // in a row, before a member counts as left behind

Deadline::clock::time_point now() { return Deadline::clock::now(); }

/// 3.4 is the first with every field used here; a next major version may rename them.
bool usable_version(std::string_view version) {
  int major = 0;
  int minor = 0;
  const char* end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, major);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '.') return false;
  const auto second = std::from_chars(first.ptr + 1, end, minor);
  return second.ec == std::errc{} && major == 3 && minor >= 4;
}

}  // namespace

Lease::~Lease() {
  if (members_) members_->give_back(index_, std::move(connection_));
}

Members::Members(asio::any_io_executor executor, const EtcdOptions& options, std::vector<Endpoint> endpoints,
                 std::shared_ptr<TlsContext> tls)
    : executor_(std::move(executor)),
      options_(options),
      tls_(std::move(tls)),
      cluster_id_(options.cluster_id),
      highest_(options.revision) {
  members_.reserve(endpoints.size());
  for (Endpoint& endpoint : endpoints) {
    Member& member = members_.emplace_back();
    member.health.endpoint = endpoint.url;
    member.endpoint = std::move(endpoint);
  }
}

std::vector<std::size_t> Members::order() const {
  std::vector<std::size_t> usable;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (members_[i].health.fault.empty()) usable.push_back(i);
  }
  const auto at = now();
  const auto rank = [this, at](std::size_t i) {
    const Member& member = members_[i];
    if (member.suspect_until > at) return 3;
    if (member.health.leads) return 0;
    return i == preferred_ ? 1 : 2;
  };
  std::ranges::sort(usable, {}, [&](std::size_t i) {
    const int rank_here = rank(i);
    return std::tuple(rank_here, rank_here == 3 ? members_[i].suspect_until : Deadline{}, i);
  });
  return usable;
}

Error Members::all_faulty() const {
  std::string text = "No member of etcd may be used:";
  for (const Member& member : members_) text += " " + member.health.fault;
  return fail(Errc::refused, std::move(text));
}

asio::awaitable<Result<Lease>> Members::acquire(std::size_t index, Deadline deadline) {
  Member& member = members_[index];
  while (member.in_use >= kMaxConnections) {
    const auto turn = std::make_shared<asio::steady_timer>(executor_, deadline);
    member.waiting.push_back(turn);
    co_await turn->async_wait(asio::as_tuple(asio::use_awaitable));
    std::erase(member.waiting, turn);
    if (stopped_ || now() >= deadline) {
      if (member.in_use < kMaxConnections) wake_one(member);  // the turn may have come just now: pass it on
      co_return fail(Errc::exhausted, "every connection to " + member.endpoint.url + " was in use");
    }
  }
  ++member.in_use;
  Lease lease(shared_from_this(), index);
  while (!member.idle.empty()) {
    lease.connection_ = std::move(member.idle.back());
    member.idle.pop_back();
    if (lease.connection_->reusable()) co_return lease;
  }
  auto opened = co_await open_checked(index, std::min(deadline, now() + options_.connect_timeout));
  if (!opened) {
    lease.connection_.reset();
    co_return opened.error();
  }
  lease.connection_ = *std::move(opened);
  co_return lease;
}

void Members::give_back(std::size_t index, std::shared_ptr<Connection> connection) {
  Member& member = members_[index];
  BASCULE_CHECK(member.in_use > 0);
  --member.in_use;
  const bool keep = connection && !stopped_ && member.health.fault.empty() &&
                    member.idle.size() < kMaxIdleConnections && connection->reusable();
  if (keep) member.idle.push_back(std::move(connection));
  wake_one(member);
}

void Members::wake_one(Member& member) {
  if (member.waiting.empty()) return;
  member.waiting.front()->cancel();
  member.waiting.pop_front();
}

asio::awaitable<Result<std::shared_ptr<Connection>>> Members::open_checked(std::size_t index, Deadline deadline) {
  if (stopped_) co_return fail(Errc::unavailable, "the store was closed");
  Endpoint endpoint = members_[index].endpoint;
  auto opened = co_await open_connection(executor_, std::move(endpoint), tls_, deadline);
  if (!opened) co_return opened.error();
  std::erase_if(members_[index].all, [](const auto& weak) { return weak.expired(); });
  members_[index].all.push_back(*opened);
  const Result<> checked = co_await check(index, **opened, deadline);
  if (!checked) co_return checked.error();
  if (stopped_) co_return fail(Errc::unavailable, "the store was closed");
  co_return *std::move(opened);
}

asio::awaitable<Result<std::shared_ptr<Connection>>> Members::open_for_watch(std::size_t index, Deadline deadline) {
  auto opened = co_await open_checked(index, deadline);
  if (opened) {
    auto& watching = members_[index].watching;
    std::erase_if(watching, [](const auto& weak) { return weak.expired(); });
    watching.push_back(*opened);
  }
  co_return opened;
}

asio::awaitable<Result<>> Members::check(std::size_t index, Connection& connection, Deadline deadline) {
  const Exchange exchange = co_await connection.post(kStatusPath, kEmptyRequest, deadline);
  if (exchange.outcome != Exchange::Outcome::answered) co_return fail(Errc::unavailable, exchange.why);
  if (exchange.status != 200) co_return decode_error(exchange.status, exchange.body, false);
  const Result<StatusAnswer> status = decode_status(exchange.body);
  if (!status) co_return status.error();
  co_return note_status(index, *status);
}

Result<> Members::note_status(std::size_t index, const StatusAnswer& status) {
  Member& member = members_[index];
  member.health.version = status.version.substr(0, 32);
  if (!usable_version(status.version)) {
    return fault(index, "it runs etcd " + member.health.version + ", and 3.4 or later of version 3 is needed.");
  }
  if (auto noted = note(index, status.header, Asked::status, 0); !noted) return noted;
  member.health.alarms = status.errors;
  member.health.has_leader = status.leader != 0;
  member.health.leads = status.leader != 0 && status.leader == member.health.member_id;
  return {};
}

Result<> Members::note(std::size_t index, const Header& header, Asked asked, core::kv::Revision known) {
  Member& member = members_[index];
  if (header.cluster_id == 0) return fail(Errc::stale, "the answer does not say from which cluster it is");
  if (cluster_id_ == 0) cluster_id_ = header.cluster_id;
  member.health.cluster_id = header.cluster_id;
  member.health.member_id = header.member_id;
  if (header.cluster_id != cluster_id_) {
    return fault(index, "it belongs to cluster " + std::to_string(header.cluster_id) + ", not to " +
                            std::to_string(cluster_id_) + "; correct the endpoints. A copy of etcd's data is " +
                            "never used; where all of etcd was lost and set up anew: docs/runbooks/etcd-lost.md.");
  }
  if (asked == Asked::write && header.revision < known) {
    // safety: a transaction that goes through the raft log is answered with no revision below one
    // seen before it was sent. If it was, this member lost history that others acted upon: nothing
    // it says may support a decision (R6). [model: R6_note]
    return fault(index, "it went back in time, from revision " + std::to_string(known) + " to " +
                            std::to_string(header.revision) + ": its data was restored from a copy. Remove " +
                            "this member, add it again empty, and restart hostd.");
  }
  if (asked == Asked::read && header.revision < known) {
    return fail(Errc::stale, "it is behind: revision " + std::to_string(header.revision) + " where " +
                                 std::to_string(known) + " is known");
  }
  member.health.raft_term = std::max(member.health.raft_term, header.raft_term);
  member.health.revision = header.revision;
  highest_ = std::max(highest_, header.revision);
  if (asked != Asked::status) {  // so it is with the quorum
    preferred_ = index;
    member.suspect_until = {};
    member.health.reachable = true;
    member.health.last_error.clear();
  }
  return {};
}

Error Members::fault(std::size_t index, std::string sentence) {
  Member& member = members_[index];
  member.health.fault = "The etcd member at " + member.endpoint.url + " is not used: " + std::move(sentence);
  member.idle.clear();
  close_all(member.watching);
  return fail(Errc::refused, member.health.fault);
}

void Members::failed(std::size_t index, const std::string& why) {
  Member& member = members_[index];
  member.suspect_until = now() + kSuspectFor;
  member.health.last_error = why;
  member.idle.clear();
}

asio::awaitable<Result<>> Members::probe_once(std::size_t index, Deadline deadline) {
  if (members_[index].in_use >= kMaxConnections) {
    // All are busy, perhaps because the member hangs: it is asked over a connection of its own.
    const auto opened = co_await open_checked(index, deadline);
    co_return opened ? Result<>{} : Result<>(opened.error());
  }
  const Result<Lease> lease = co_await acquire(index, deadline);
  if (!lease) co_return lease.error();
  co_return co_await check(index, **lease, deadline);
}

asio::awaitable<void> Members::probe(std::size_t index) {
  Member& member = members_[index];
  const Deadline deadline = now() + options_.probe_timeout;
  const Result<> checked = co_await probe_once(index, deadline);
  if (stopped_) co_return;
  if (!checked && checked.error().code == Errc::exhausted) co_return;  // busy says nothing about the member
  member.health.reachable = checked.has_value();
  if (!checked) {
    failed(index, checked.error().what);
    member.health.has_leader = false;
    member.health.leads = false;
  } else {
    member.behind = member.health.revision < member.highest_at_probe ? member.behind + 1 : 0;
    member.health.last_error.clear();
    if (member.health.has_leader && member.behind < kBehindChecks) member.suspect_until = {};
  }
  member.highest_at_probe = highest_;
  // A stream from a member that is stopped, cut off or left behind would stay silent for ever: move
  // it.
  if (!checked || !member.health.has_leader || member.behind >= kBehindChecks) {
    member.suspect_until = now() + kSuspectFor;
    close_all(member.watching);
  }
}

StoreHealth Members::health() const {
  StoreHealth health;
  for (const Member& member : members_) health.members.push_back(member.health);
  health.cluster_id = cluster_id_;
  health.highest_revision = highest_;
  return health;
}

void Members::close_all(std::vector<std::weak_ptr<Connection>>& connections) {
  for (const auto& weak : connections) {
    if (const auto connection = weak.lock()) connection->close();
  }
  connections.clear();
}

void Members::stop() {
  stopped_ = true;
  for (Member& member : members_) {
    close_all(member.all);
    member.idle.clear();
    for (const auto& turn : member.waiting) turn->cancel();
  }
}

}  // namespace bascule::runtime::etcd
