// Keeps the connections: open, register, list, wait for the loss, again.
#include <algorithm>
#include <boost/asio/this_coro.hpp>

#include "hostd/runtime/libvirt/host_impl.hpp"

namespace bascule::runtime {
namespace {
struct Opened {
  std::shared_ptr<Connection> calls, stops;
  std::vector<core::DomainInfo> list;
};

core::Result<Opened> open_both(const std::string& uri, const std::shared_ptr<const Connection::Listener>& listener) {
  Opened out;
  auto calls = Connection::open(uri, listener);
  if (!calls) return calls.error();
  out.calls = *calls;
  auto only_closed = std::make_shared<Connection::Listener>();
  only_closed->closed = listener->closed;
  auto stops = Connection::open(uri, only_closed);
  if (!stops) return stops.error();
  out.stops = *stops;
  auto list = libvirt::call_list(*out.calls);
  if (!list) return list.error();
  out.list = std::move(*list);
  return out;
}
}  // namespace

boost::asio::awaitable<void> LibvirtHost::Impl::run() {
  const auto self = shared_from_this();
  milliseconds pause = first_pause;
  while (!is_stopped) {
    const bool opened = co_await connect_once();
    if (opened) {
      pause = first_pause;
      co_await until_lost();
      drop_connections();
      if (is_stopped) break;
      core::DomainEvent gone;
      gone.kind = core::DomainEvent::Kind::disconnected;
      emit(gone);
    }
    closed_signal.expires_after(pause);
    boost::system::error_code ignored;
    co_await closed_signal.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
    pause = std::min(pause * 2, longest_pause);
  }
}

boost::asio::awaitable<bool> LibvirtHost::Impl::connect_once() {
  const auto mine = ++generation;
  lost = false;
  early.clear();
  auto listener = std::make_shared<Connection::Listener>();
  listener->event = [gate_copy = gate, weak = weak_from_this(), mine](core::DomainEvent event) {
    gate_copy->post(gate_copy, [weak, mine, event = std::move(event)] {
      if (const auto impl = weak.lock()) impl->take_event(mine, event);
    });
  };
  listener->closed = [gate_copy = gate, weak = weak_from_this(), mine] {
    gate_copy->post(gate_copy, [weak, mine] {
      if (const auto impl = weak.lock()) impl->take_closed(mine);
    });
  };
  Job<Opened> job = [uri = options.uri, listener] { return open_both(uri, listener); };
  auto opened = co_await in_pool<Opened>(opening.pool, Call::read, open_limit, "libvirt", std::move(job));
  if (!opened || is_stopped) co_return false;
  calls.connection = std::move(opened->calls);
  stops.connection = std::move(opened->stops);
  is_connected = true;
  core::DomainEvent reached;
  reached.kind = core::DomainEvent::Kind::connected;
  reached.all = std::move(opened->list);
  emit(reached);
  const auto missed = std::exchange(early, {});
  for (const auto& event : missed) emit(event);
  co_return true;
}

boost::asio::awaitable<void> LibvirtHost::Impl::until_lost() {
  while (!lost && !is_stopped) {
    closed_signal.expires_at(std::chrono::steady_clock::time_point::max());
    boost::system::error_code ignored;
    co_await closed_signal.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
}

void LibvirtHost::Impl::drop_connections() {
  is_connected = false;
  // Closing talks to the daemon, so it is done where blocking is allowed.
  opening.pool.post([calls_held = std::exchange(calls.connection, nullptr),
                     stops_held = std::exchange(stops.connection, nullptr)] {});
}

void LibvirtHost::Impl::take_event(std::uint64_t of_generation, core::DomainEvent event) {
  if (of_generation != generation || is_stopped) return;
  if (is_connected) {
    emit(event);
  } else if (early.size() < early_event_limit) {
    early.push_back(std::move(event));
  } else {
    lost = true;  // reconnect and list again rather than lose events
  }
}

void LibvirtHost::Impl::take_closed(std::uint64_t of_generation) {
  if (of_generation != generation) return;
  lost = true;
  if (is_connected) closed_signal.cancel();
}

void LibvirtHost::Impl::emit(const core::DomainEvent& event) {
  for (const auto& sink : sinks) sink(event);
}

void LibvirtHost::Impl::stop() {
  if (is_stopped) return;
  is_stopped = true;
  closed_signal.cancel();
  drop_connections();
  for (auto& [id, waiter] : waiting) waiter->timer->cancel();
  opening.pool.close(stop_bound);
  calls.pool.close(pool_bound);
  stops.pool.close(pool_bound);
  migrations.pool.close(pool_bound);
  gate->close();
}

}  // namespace bascule::runtime
