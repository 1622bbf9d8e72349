// Roles, the link, the dual-primary window, the event stream.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "hostd/runtime/background.hpp"
#include "storage/deadlines.hpp"
#include "storage/drbd_adapter.hpp"
#include "storage/tool.hpp"

namespace bascule::storage {

namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

asio::awaitable<void> pause(milliseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  const auto [error] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  static_cast<void>(error);
}

/// Enough for roles, which are set by resource or by minor. The link's commands need addresses, too: `running`.
Running DrbdAdapter::devices(std::string name, const ResourceState& state) const {
  Running running{version_, std::move(name), {}, {}, {}, state.peer_id};
  for (const auto& [index, volume] : state.volumes) running.minors.push_back(volume.minor);
  return running;
}

Task<Running> DrbdAdapter::running(std::string name, ResourceState state) {
  auto shown = co_await show(name);
  if (!shown) co_return shown.error();
  Running running = devices(std::move(name), state);
  running.local = shown->local_address;
  running.remote = shown->remote_address;
  co_return running;
}

/// Waits until there is a connection (in whatever state) or until there is none.
Task<> DrbdAdapter::wait_for_connection(std::string name, bool connection, std::string what) {
  for (milliseconds waited{0}; waited < kSettleLimit; waited += kRetryPause) {
    auto state = co_await query(name);
    if (!state) co_return state.error();
    if ((state->connection != Connection::stand_alone) == connection) co_return Result<>{};
    co_await pause(kRetryPause);
  }
  co_return fail(Errc::timeout, what + " has not come to rest; look again later");
}

Task<> DrbdAdapter::connect(Resource resource, Discard discard) {
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  auto state = co_await query(c->name());
  if (!state) co_return state.error();
  if (!state->present) {
    co_return fail(Errc::conflict, c->name() + " is down on this host; bring it up before it is connected");
  }
  if (state->connection == Connection::disconnecting) {
    auto rest = co_await wait_for_connection(c->name(), false, c->name());
    if (!rest) co_return rest.error();
  } else if (state->connection != Connection::stand_alone) {
    auto now = co_await running(c->name(), *state);
    if (!now) co_return now.error();
    const Running want = c->running();
    if (now->local == want.local && now->remote == want.remote) co_return Result<>{};
    co_return fail(Errc::conflict,
                   fmt::format("{} is connected from {} to {} instead of {} to {}; nothing was changed, "
                               "disconnect it first",
                               c->name(), now->local, now->remote, want.local, want.remote));
  }
  if (discard == Discard::own_data && state->role != Role::secondary) {
    co_return fail(Errc::conflict, c->name() + " is Primary here: its data is not given up");
  }
  auto argv = c->connect(discard == Discard::own_data);
  auto outcome = co_await run_tool(std::move(argv), Effect::changes, kActDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal("connecting " + c->name(), *outcome);
  co_return Result<>{};
}

Task<> DrbdAdapter::disconnect(std::string name, bool force) {
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (!state->present || state->connection == Connection::stand_alone) co_return Result<>{};
  auto now = co_await running(name, *state);
  if (!now) co_return now.error();
  if (!now->remote.empty()) {
    auto argv = now->disconnect(force);
    auto outcome = co_await run_tool(std::move(argv), Effect::changes, kActDeadline);
    if (!outcome) co_return outcome.error();
    if (!outcome->ok() && failure_code(outcome->err) != failure::no_connection) {
      co_return refusal("disconnecting " + name, *outcome);
    }
  }
  co_return co_await wait_for_connection(std::move(name), false, "disconnecting");
}

Task<> DrbdAdapter::new_current_uuid_clear_bitmap(Resource resource, std::string volume) {
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  const Volume* wanted = find_volume(c->resource(), volume);
  if (wanted == nullptr) {
    co_return fail(Errc::not_found, fmt::format("VM {} has no volume {}", c->resource().vm, volume));
  }
  auto state = co_await query(c->name());
  if (!state) co_return state.error();
  if (in_sync(*state, wanted->index)) co_return Result<>{};
  const auto it = state->volumes.find(wanted->index);
  const bool fit = it != state->volumes.end() && state->connection == Connection::connected &&
                   state->role == Role::secondary && state->peer_role == Role::secondary &&
                   it->second.replication == Replication::established && it->second.disk == Disk::inconsistent &&
                   it->second.peer_disk == Disk::inconsistent;
  if (!fit) {
    co_return fail(Errc::conflict,
                   fmt::format("the first sync of volume {} of VM {} cannot be skipped: both hosts must be "
                               "connected and Secondary with both legs just created; nothing was changed",
                               volume, c->resource().vm));
  }
  auto ask = c->generation(*wanted);
  auto generation = co_await run_tool(std::move(ask), Effect::reads, kAskDeadline);
  if (!generation) co_return generation.error();
  if (!generation->ok() || !just_created(generation->out)) {
    co_return fail(Errc::conflict,
                   fmt::format("volume {} of VM {} is not just created here; its first sync is not skipped", volume,
                               c->resource().vm));
  }
  // safety: S3. Asked just now: connected, this leg JUST_CREATED and neither disk UpToDate.
  // Connecting two legs of different generations starts a resync instead, so the peer's is
  // JUST_CREATED too: neither was ever written through DRBD, and both read as zeroes by how they
  // were made. Unconnected the kernel would accept this for one leg alone.
  auto argv = c->skip_first_sync(*wanted);
  auto done = co_await act(std::move(argv), fmt::format("skipping the first sync of volume {}", volume));
  if (!done) co_return done.error();
  for (milliseconds waited{0}; waited < kSettleLimit; waited += kRetryPause) {
    auto after = co_await query(c->name());
    if (!after) co_return after.error();
    if (in_sync(*after, wanted->index)) co_return Result<>{};
    co_await pause(kRetryPause);
  }
  co_return fail(Errc::timeout,
                 fmt::format("volume {} of VM {} is not in sync although its first sync was skipped; look at "
                             "both legs",
                             volume, c->resource().vm));
}

Task<> DrbdAdapter::promote(std::string name, PromotionProof proof) {
  if (proof.host != host_ || resource_name(proof.vm) != name || proof.revision <= 0 || proof.epoch <= 0) {
    co_return fail(Errc::conflict, fmt::format("{} is not promoted on {}: the run-right shown is for VM {} on {}", name,
                                               host_, proof.vm, proof.host));
  }
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (auto ok = check_promotable(*state, proof.force); !ok) co_return ok.error();
  const Running now = devices(name, *state);
  if (proof.force == Force::fresh) {
    auto unused = co_await check_never_written(now, *state);
    if (!unused) co_return unused.error();
  }
  const std::string what = fmt::format("promoting {} (epoch {}, revision {})", name, proof.epoch, proof.revision);
  const auto primary = now.primary(proof.force != Force::no);
  const auto secondary = now.secondary();
  for (std::size_t i = 0; i < primary.size(); ++i) {
    for (int attempt = 1;; ++attempt) {
      Argv argv = primary[i];
      // safety: R2, S3. The caller holds a committed record that lets this host promote (the
      // proof); every own disk, asked just above, is Consistent or UpToDate and no resync target;
      // the command is plain `primary`, so the kernel still refuses outdated data and, through
      // fence-peer, a peer that is not known to be excluded. Forced only where the proof says that
      // the record lists these legs alone: by a person's word (outdated), or as the only leg there
      // is (fresh), whose generation was asked just above. [model: R2_promote]
      auto outcome = co_await run_tool(std::move(argv), Effect::changes, kPromoteDeadline);
      if (!outcome) co_return outcome.error();
      if (outcome->ok()) break;
      if (failure_code(outcome->err) == failure::transient && attempt < kTransientAttempts) {
        co_await pause(kRetryPause);
        continue;
      }
      for (std::size_t k = 0; k < i; ++k) {  // all volumes or none
        Argv back = secondary[k];
        auto undone =
            co_await act_patiently(std::move(back), "demoting after " + what, failure::held_open, kHeldOpenAttempts);
        if (!undone) co_return undone.error();
      }
      co_return refusal(what, *outcome);
    }
  }
  auto after = co_await query(std::move(name));
  if (!after) co_return after.error();
  if (after->role != Role::primary) co_return fail(Errc::refused, what + ": DRBD says it is not Primary; ask again");
  co_return Result<>{};
}

Task<> DrbdAdapter::check_never_written(Running now, ResourceState state) {
  for (const auto& [index, volume] : state.volumes) {
    if (volume.disk != Disk::inconsistent) continue;
    Argv ask = now.generation(index, volume.minor);
    auto generation = co_await run_tool(std::move(ask), Effect::reads, kAskDeadline);
    if (!generation) co_return generation.error();
    if (!generation->ok() || !just_created(generation->out)) {
      co_return fail(Errc::conflict, now.name + " is not just created here; it is not declared whole");
    }
  }
  co_return Result<>{};
}

Task<std::string> DrbdAdapter::generation(Resource resource, std::string volume) {
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  const Volume* wanted = find_volume(c->resource(), volume);
  if (wanted == nullptr) co_return fail(Errc::not_found, "there is no volume " + volume);
  auto argv = c->generation(*wanted);
  auto outcome = co_await run_tool(std::move(argv), Effect::reads, kAskDeadline);
  if (!outcome) co_return outcome.error();
  if (!outcome->ok()) co_return refusal("reading the generation of volume " + volume, *outcome);
  std::string text = outcome->out.substr(0, outcome->out.find('\n'));
  co_return text;
}

Task<> DrbdAdapter::demote(std::string name) {
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (!state->present) co_return Result<>{};
  const Running now = devices(name, *state);
  for (auto& argv : now.secondary()) {  // also when Secondary already: on 8.4 each device has its own role
    Argv command = argv;
    auto done = co_await act_patiently(std::move(command), "demoting " + name, failure::held_open, kHeldOpenAttempts);
    if (!done) co_return done.error();
  }
  co_return Result<>{};
}

Task<bool> DrbdAdapter::two_primaries(std::string name) {
  auto state = co_await query(name);
  if (!state) co_return state.error();
  if (!state->present || state->connection == Connection::stand_alone) co_return false;
  auto shown = co_await show(std::move(name));
  if (!shown) co_return shown.error();
  co_return shown->allow_two_primaries;
}

Task<> DrbdAdapter::set_two_primaries(std::string name, bool allow) {
  auto state = co_await query(name);
  if (!state) co_return state.error();
  const bool linked = state->present && state->connection != Connection::stand_alone;
  if (allow && !in_sync(*state)) {
    co_return fail(Errc::conflict, name + " is not in sync on every volume; two primaries stay forbidden");
  }
  if (!allow && !linked) co_return Result<>{};  // `connect` forbids it again
  auto now = co_await running(name, *state);
  if (!now) co_return now.error();
  auto argv = now->two_primaries(allow);
  // safety: S4. Opening is the caller's journaled migration step and happens in sync only; the
  // kernel refuses to close while both sides are Primary. [model: S4_window, S4_close]
  const std::string what = fmt::format("{} two primaries of {}", allow ? "allowing" : "forbidding", name);
  auto done = co_await act(std::move(argv), what);
  if (!done) co_return done.error();
  auto set = co_await show(std::move(name));
  if (!set) co_return set.error();
  if (set->allow_two_primaries != allow)
    co_return fail(Errc::refused, what + ": the setting did not stay; look at the connection");
  co_return Result<>{};
}

Task<> DrbdAdapter::verify(Resource resource, std::string volume) {
  auto c = commands(std::move(resource));
  if (!c) co_return c.error();
  const Volume* wanted = find_volume(c->resource(), volume);
  if (wanted == nullptr) {
    co_return fail(Errc::not_found, fmt::format("VM {} has no volume {}", c->resource().vm, volume));
  }
  auto state = co_await query(c->name());
  if (!state) co_return state.error();
  const auto it = state->volumes.find(wanted->index);
  const bool linked = it != state->volumes.end() && state->connection == Connection::connected;
  if (linked && verifying(it->second)) co_return Result<>{};
  if (!linked || it->second.replication != Replication::established || it->second.disk != Disk::up_to_date ||
      it->second.peer_disk != Disk::up_to_date) {
    co_return fail(Errc::conflict, fmt::format("volume {} of VM {} is not connected with both legs UpToDate; there is "
                                               "nothing to compare yet",
                                               volume, c->resource().vm));
  }
  auto argv = c->verify(*wanted);
  co_return co_await act(std::move(argv),
                         fmt::format("comparing the legs of volume {} of VM {}", volume, c->resource().vm));
}

// The event stream
// -----------------------------------------------------------------------------------------------------

struct DrbdAdapter::Stream {
  Changed changed;
  Trouble trouble;
  ResourceTable table;  // the last complete picture, kept up to date while `following`
  std::unique_ptr<runtime::LineProcess> process;
  bool following{}, stopped{};
};

namespace {
constexpr milliseconds kFirstBackoff{200};
constexpr milliseconds kLastBackoff{5'000};
constexpr milliseconds kDumpDeadline{30'000};  // for each line of the initial dump

bool ours(std::string_view name) { return !vm_of(name).empty(); }
}  // namespace

asio::awaitable<core::Error> DrbdAdapter::follow_once(std::shared_ptr<Stream> stream) {
  runtime::Command command;
  command.argv = events_stream_command();
  const auto executor = co_await asio::this_coro::executor;
  auto started = runtime::LineProcess::start(executor, command);
  if (!started) co_return started.error();
  stream->process = std::move(*started);
  ResourceTable fresh;
  while (!stream->stopped) {
    const auto limit = stream->following ? std::nullopt : std::optional<milliseconds>(kDumpDeadline);
    auto line = co_await stream->process->next_line(limit);
    if (stream->stopped) break;
    if (!line) co_return line.error();
    ResourceTable& table = stream->following ? stream->table : fresh;
    const auto applied = table.apply(*line);
    if (applied.restart_needed) co_return fail(Errc::io, fmt::format("{}; its whole state is read again", applied.why));
    if (stream->following) {
      if (ours(applied.resource)) stream->changed(table.get(applied.resource));
    } else if (applied.completed) {
      const ResourceTable old = std::exchange(stream->table, std::move(fresh));
      fresh = ResourceTable{};
      stream->following = true;
      for (const auto& [name, state] : old.all()) {
        if (ours(name) && stream->table.find(name) == nullptr) stream->changed(stream->table.get(name));
      }
      const auto all = stream->table.all();
      for (const auto& [name, state] : all) {
        const auto* before = old.find(name);
        if (ours(name) && (before == nullptr || *before != state)) stream->changed(state);
      }
    }
  }
  co_return fail(Errc::cancelled, "stopped");
}

asio::awaitable<void> DrbdAdapter::follow(std::shared_ptr<Stream> stream) {
  milliseconds backoff = kFirstBackoff;
  while (!stream->stopped) {
    const auto why = co_await follow_once(stream);
    if (stream->process) stream->process->stop();
    if (stream->stopped) break;
    if (std::exchange(stream->following, false)) backoff = kFirstBackoff;
    stream->trouble(fail(why.code, "DRBD's event stream ended (" + why.what + "); it is started again"));
    co_await pause(backoff);
    backoff = std::min(backoff * 2, kLastBackoff);
  }
  stream->process.reset();
}

void DrbdAdapter::listen(Changed changed, Trouble trouble) {
  BASCULE_CHECK(stream_ == nullptr);
  stream_ = std::make_shared<Stream>();
  stream_->changed = std::move(changed);
  stream_->trouble = std::move(trouble);
  runtime::run_in_background(executor_, "DRBD's events", follow(stream_));
}

void DrbdAdapter::stop() {
  if (!stream_) return;
  stream_->stopped = true;
  stream_->following = false;
  if (stream_->process) stream_->process->stop();
}

bool DrbdAdapter::following() const { return stream_ && stream_->following; }

}  // namespace bascule::storage
