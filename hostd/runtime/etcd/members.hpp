// The members of one etcd cluster as this process sees them: which may be used, their open
// connections, and what their answers prove about the store. Shared by transactions, watches and
// the periodic check.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/runtime/etcd/connection.hpp"
#include "hostd/runtime/etcd/decode.hpp"
#include "hostd/runtime/etcd/etcd_store.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::runtime::etcd {

inline constexpr std::size_t kMaxMembers = 9;                  ///< a cell has three
inline constexpr std::size_t kMaxIdleConnections = 4;          ///< kept for each member
inline constexpr std::size_t kMaxConnections = 16;             ///< for transactions, to each member; more wait
inline constexpr std::chrono::milliseconds kSuspectFor{3000};  ///< a member that failed is tried last for this long

class Members;

/// A connection taken from the pool; goes back when this is destroyed, if it can still be used.
class Lease {
 public:
  Lease(std::shared_ptr<Members> members, std::size_t index) : members_(std::move(members)), index_(index) {}
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&&) = delete;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease();
  Connection& operator*() const { return *connection_; }
  Connection* operator->() const { return connection_.get(); }

 private:
  friend class Members;
  std::shared_ptr<Members> members_;
  std::size_t index_;
  std::shared_ptr<Connection> connection_;
};

class Members : public std::enable_shared_from_this<Members> {
 public:
  Members(boost::asio::any_io_executor executor, const EtcdOptions& options, std::vector<Endpoint> endpoints,
          std::shared_ptr<TlsContext> tls);

  /// Members to try, best first: the leader, those that answered last, those that failed lately.
  /// Without the faulty.
  [[nodiscard]] std::vector<std::size_t> order() const;
  /// Why no member may be used, when order() is empty.
  [[nodiscard]] core::Error all_faulty() const;
  [[nodiscard]] const std::string& url(std::size_t index) const { return members_[index].endpoint.url; }
  [[nodiscard]] std::size_t size() const { return members_.size(); }

  /// A checked connection for transactions. Errors: unavailable; exhausted when none came free in
  /// time; refused.
  boost::asio::awaitable<core::Result<Lease>> acquire(std::size_t index, Deadline deadline);
  /// A checked connection of its own for a watch; closed when this member stops being good.
  boost::asio::awaitable<core::Result<std::shared_ptr<Connection>>> open_for_watch(std::size_t index,
                                                                                   Deadline deadline);
  /// What was asked when an answer came. A status says how far the member itself is, which may be
  /// behind.
  enum class Asked : std::uint8_t { status, read, write };
  /// Looks at who answered. `known`: the revision that a sane answer is not below.
  /// Errors: refused when the member is faulty from now on; stale when only this answer is too old
  /// to be used.
  core::Result<> note(std::size_t index, const Header& header, Asked asked, core::kv::Revision known);
  void failed(std::size_t index, const std::string& why);

  /// One check of one member now; its result is in health().
  boost::asio::awaitable<void> probe(std::size_t index);
  [[nodiscard]] StoreHealth health() const;
  [[nodiscard]] core::kv::Revision highest() const { return highest_; }
  [[nodiscard]] const EtcdOptions& options() const { return options_; }
  [[nodiscard]] const boost::asio::any_io_executor& executor() const { return executor_; }

  void stop();
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  friend class Lease;
  struct Member {
    Endpoint endpoint;
    MemberHealth health;
    std::vector<std::shared_ptr<Connection>> idle;
    std::vector<std::weak_ptr<Connection>> all;       ///< to be closed by stop()
    std::vector<std::weak_ptr<Connection>> watching;  ///< to be closed when the member is no longer good
    std::size_t in_use{0};
    std::deque<std::shared_ptr<boost::asio::steady_timer>> waiting;
    Deadline suspect_until{};
    core::kv::Revision highest_at_probe{0};
    int behind{0};  ///< checks in a row that showed it behind what the store had before the last one
  };

  boost::asio::awaitable<core::Result<std::shared_ptr<Connection>>> open_checked(std::size_t index, Deadline deadline);
  boost::asio::awaitable<core::Result<>> check(std::size_t index, Connection& connection, Deadline deadline);
  boost::asio::awaitable<core::Result<>> probe_once(std::size_t index, Deadline deadline);
  core::Result<> note_status(std::size_t index, const StatusAnswer& status);
  core::Error fault(std::size_t index, std::string sentence);
  void give_back(std::size_t index, std::shared_ptr<Connection> connection);
  static void wake_one(Member& member);
  static void close_all(std::vector<std::weak_ptr<Connection>>& connections);

  boost::asio::any_io_executor executor_;
  EtcdOptions options_;
  std::shared_ptr<TlsContext> tls_;
  std::vector<Member> members_;
  std::uint64_t cluster_id_;
  core::kv::Revision highest_;
  std::size_t preferred_{0};
  bool stopped_{false};
};

}  // namespace bascule::runtime::etcd
