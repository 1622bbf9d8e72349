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
  std::string what = "opening the connections";
  auto opened = co_await in_pool<Opened>(opening.pool, Call::read, open_limit, std::move(what), std::move(job));
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
  const auto since = std::chrono::steady_clock::now();
  auto next = std::begin(settle_after);
  while (!lost && !is_stopped) {
    const bool more = next != std::end(settle_after);
    closed_signal.expires_at(more ? since + *next : std::chrono::steady_clock::time_point::max());
    boost::system::error_code ended;
    co_await closed_signal.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ended));
    if (!ended && more && !lost && !is_stopped) {
      settling = true;
      co_await settle();
      settling = false;
      touched.clear();
      ++next;
    }
  }
}

boost::asio::awaitable<void> LibvirtHost::Impl::settle() {
  Body<std::vector<core::DomainInfo>> body = libvirt::call_list;
  std::string what = "listing the domains";
  const auto list =
      co_await on_lane<std::vector<core::DomainInfo>>(calls, Call::read, std::move(what), std::move(body));
  if (!list) co_return;
  std::map<std::string, core::DomainInfo> doubtful = told;
  for (const auto& info : *list) {
    const auto it = doubtful.find(info.uuid);
    if (it == doubtful.end()) {
      doubtful.emplace(info.uuid, info);
    } else if (it->second.state == info.state) {
      doubtful.erase(it);
    }
  }
  for (const auto& [uuid, info] : doubtful) {
    if (lost || is_stopped) co_return;
    co_await settle_one(info);
  }
}

/// The list may be older than an event that came meanwhile, so each difference is looked at by itself, and one with
/// news of its own is left to the news.
boost::asio::awaitable<void> LibvirtHost::Impl::settle_one(core::DomainInfo named) {
  Body<core::DomainInfo> body = [vm = Target{named.name, named.uuid}](const Connection& c) {
    return libvirt::call_observe(c, vm);
  };
  std::string what = "observing '" + named.name + "'";
  auto now = co_await on_lane<core::DomainInfo>(calls, Call::read, std::move(what), std::move(body));
  if (!now || touched.contains(named.uuid)) co_return;
  const auto known = told.find(named.uuid);
  const auto before = known == told.end() ? core::DomainState::absent : known->second.state;
  if (now->state == before) co_return;
  core::DomainEvent event;
  event.info = std::move(*now);
  emit(event);
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
  if (event.kind == core::DomainEvent::Kind::connected) {
    told.clear();
    for (const auto& info : event.all) told[info.uuid] = info;
  } else if (event.kind == core::DomainEvent::Kind::changed) {
    if (settling) touched.insert(event.info.uuid);
    if (event.info.state == core::DomainState::absent) {
      told.erase(event.info.uuid);
    } else {
      told[event.info.uuid] = event.info;
    }
  }
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
