// LibvirtHost's inside: lanes of worker threads, the supervised connections, and the wait for an answer.
// Everything here runs on the io thread except the jobs given to a lane.
#pragma once

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "hostd/runtime/libvirt/calls.hpp"
#include "hostd/runtime/libvirt/connection.hpp"
#include "hostd/runtime/libvirt/domain_process.hpp"
#include "hostd/runtime/libvirt/io_gate.hpp"
#include "hostd/runtime/libvirt/libvirt_host.hpp"
#include "hostd/runtime/libvirt/worker_pool.hpp"

namespace bascule::runtime {

using libvirt::Call;
using libvirt::Connection;
using libvirt::Target;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Below max_client_requests (5): see libvirt_host.hpp.
inline constexpr std::size_t call_threads = 4;
inline constexpr std::size_t stop_threads = 4;
inline constexpr std::size_t migrate_threads = 8;  // one per migration at a time
inline constexpr std::size_t open_threads = 2;     // opening and closing connections may hang
inline constexpr std::size_t call_queue = 4096;    // one observation for every VM of a cell
inline constexpr std::size_t migrate_queue = 64;
inline constexpr std::size_t open_queue = 64;

inline constexpr seconds open_limit{15};
inline constexpr seconds read_limit{60};
// libvirt itself waits 30 s for another job on the domain, and 10 s + 5 s for a process to die. Its first use of a QEMU
// runs that a few times to learn what it can do: 29 s were seen on a loaded lab host.
inline constexpr seconds change_limit{120};
inline constexpr std::chrono::hours migrate_limit{24};
inline constexpr milliseconds stop_bound{3000};  // closing the connections
inline constexpr milliseconds pool_bound{200};   // idle threads; busy ones are left behind
inline constexpr milliseconds first_pause{200};
inline constexpr milliseconds longest_pause{5000};
inline constexpr std::size_t early_event_limit = 65536;
/// After a connection, when everything is compared once more with what was told. A daemon that has just started and is
/// still taking its guests back ends one without an event if its process dies then (seen with libvirt 9.0).
inline constexpr seconds settle_after[] = {seconds(2), seconds(10), seconds(40)};

/// A pool and the connection its jobs use.
struct Lane {
  Lane(std::string name, std::size_t threads, std::size_t queue) : pool(std::move(name), threads, queue) {}
  std::shared_ptr<Connection> connection;
  libvirt::WorkerPool pool;
};

struct LibvirtHost::Impl : std::enable_shared_from_this<LibvirtHost::Impl> {
  Impl(boost::asio::any_io_executor ex, LibvirtOptions opts)
      : executor(std::move(ex)),
        options(std::move(opts)),
        gate(std::make_shared<libvirt::IoGate>(executor)),
        closed_signal(executor) {}

  boost::asio::any_io_executor executor;
  LibvirtOptions options;
  std::shared_ptr<libvirt::IoGate> gate;
  std::vector<Sink> sinks;
  Lane calls{"lv-call", call_threads, call_queue};
  Lane stops{"lv-stop", stop_threads, call_queue};
  Lane migrations{"lv-migrate", migrate_threads, migrate_queue};  // a connection of its own for each
  Lane opening{"lv-open", open_threads, open_queue};
  std::set<std::string> migrating;  // names whose migration this object waits for

  bool is_connected{false};
  bool is_stopped{false};
  std::uint64_t generation{0};  // of the connections; news of an older one is dropped
  bool lost{false};             // the present generation's connection closed
  boost::asio::steady_timer closed_signal;
  std::vector<core::DomainEvent> early;          // events of this generation from before its list
  std::map<std::string, core::DomainInfo> told;  // by uuid: what the listeners know to exist
  bool settling{false};
  std::set<std::string> touched;  // uuids that had an event since settle() began

  struct Waiter {
    boost::asio::steady_timer* timer;
    bool done;
  };
  std::uint64_t next_wait{0};
  std::map<std::uint64_t, Waiter*> waiting;

  boost::asio::awaitable<void> run();
  boost::asio::awaitable<bool> connect_once();
  boost::asio::awaitable<void> until_lost();
  boost::asio::awaitable<void> settle();
  boost::asio::awaitable<void> settle_one(core::DomainInfo named);
  void drop_connections();
  void take_event(std::uint64_t of_generation, core::DomainEvent event);
  void take_closed(std::uint64_t of_generation);
  void emit(const core::DomainEvent& event);
  void stop();

  Target target(const std::string& name) const { return {name, core::domain_uuid(options.cell, name)}; }
  std::string peer_uri(const std::string& host) const;
  boost::asio::awaitable<void> until_left(std::string uuid, libvirt::DomainProcess& process);

  template <class T>
  using Job = std::function<core::Result<T>()>;
  template <class T>
  using Body = std::function<core::Result<T>(const Connection&)>;

  /// Runs `job` in the pool and waits for it up to `limit`.
  template <class T>
  boost::asio::awaitable<core::Result<T>> in_pool(libvirt::WorkerPool& pool, Call kind, std::chrono::nanoseconds limit,
                                                  std::string what, Job<T> job);
  /// The same on a lane's connection.
  template <class T>
  boost::asio::awaitable<core::Result<T>> on_lane(Lane& lane, Call kind, std::string what, Body<T> body);
};

template <class T>
boost::asio::awaitable<core::Result<T>> LibvirtHost::Impl::in_pool(libvirt::WorkerPool& pool, Call kind,
                                                                   std::chrono::nanoseconds limit, std::string what,
                                                                   Job<T> job) {
  const auto self = shared_from_this();  // the frame may outlive the LibvirtHost
  struct Slot {
    std::optional<core::Result<T>> result;  // written by the worker before it posts, read after
  };
  const auto slot = std::make_shared<Slot>();
  boost::asio::steady_timer timer(executor);
  timer.expires_after(limit);
  Waiter waiter{&timer, false};
  const auto id = next_wait++;

  const bool taken = pool.post([slot, job = std::move(job), gate_copy = gate, weak = weak_from_this(), id] {
    slot->result.emplace(job());
    gate_copy->post(gate_copy, [weak, id] {
      const auto impl = weak.lock();
      if (!impl) return;
      const auto it = impl->waiting.find(id);
      if (it == impl->waiting.end()) return;  // given up waiting
      it->second->done = true;
      it->second->timer->cancel();
    });
  });
  if (!taken) {
    co_return core::fail(core::Errc::exhausted, what + ": too many calls to libvirt are waiting; nothing was sent");
  }
  waiting.emplace(id, &waiter);
  boost::system::error_code ignored;
  co_await timer.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  waiting.erase(id);
  if (waiter.done) co_return std::move(*slot->result);
  if (kind == Call::read) {
    co_return core::fail(core::Errc::unavailable, what + ": libvirt did not answer in time");
  }
  // safety: the worker may still be in the call, so nothing may be concluded from our giving up.
  co_return core::fail(core::Errc::outcome_unknown,
                       what + ": libvirt did not answer in time; it may still happen, look at the domain first");
}

template <class T>
boost::asio::awaitable<core::Result<T>> LibvirtHost::Impl::on_lane(Lane& lane, Call kind, std::string what,
                                                                   Body<T> body) {
  const auto connection = lane.connection;
  if (!connection) {
    co_return core::fail(core::Errc::unavailable, what + ": libvirt is not reached now; nothing was sent");
  }
  const auto limit = kind == Call::read ? read_limit : change_limit;
  Job<T> job = [connection, body = std::move(body)]() -> core::Result<T> { return body(*connection); };
  co_return co_await in_pool<T>(lane.pool, kind, limit, std::move(what), std::move(job));
}

}  // namespace bascule::runtime
