#include "hostd/cell_service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "hostd/codec/digest.hpp"
#include "hostd/core/names.hpp"

namespace bascule {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;

namespace {
/// The same for the same words, and for no others.
std::string digest(const std::string& words) { return codec::sha256(words).substr(0, 16); }
}  // namespace

CellService::CellService(runtime::CellStore& store, runtime::HeadStore& heads, runtime::HistoryStore& history,
                         const Countersigner& countersigner, ImageStore& images, HealthProbe health, PaceProbe pace,
                         Promise promise, core::FourEyes four_eyes, bool alerts)
    : store_(store),
      heads_(heads),
      history_(history),
      countersigner_(countersigner),
      images_(images),
      health_(std::move(health)),
      pace_(std::move(pace)),
      promise_(std::move(promise)),
      four_eyes_(std::move(four_eyes)),
      alerts_(alerts) {}

asio::awaitable<Result<api::Submitted>> CellService::submit(core::Request request) {
  const bool dry_run = request.dry_run;
  request.four_eyes = four_eyes_;
  auto accepted = co_await store_.submit(std::move(request), wall_ms());
  if (!accepted) co_return accepted.error();
  api::Submitted out;
  out.operation = accepted->operation;
  out.replayed = accepted->replayed;
  out.revision = accepted->revision;
  out.unchanged = accepted->operation.empty() && accepted->plan.unchanged;
  if (dry_run) out.plan = accepted->plan.operation.steps;
  co_return out;
}

asio::awaitable<Result<>> CellService::steer(core::Caller caller, std::string operation, core::Steer how,
                                             std::string reason) {
  if (auto ok = core::check_reason(reason); !ok) co_return ok;
  const auto& operations = store_.view().operations;
  const auto it = operations.find(operation);
  const bool client = caller.role == core::Role::client;
  if (it == operations.end() || (client && !caller.owns(it->second.value.project))) {
    co_return fail(Errc::not_found, "there is no operation '" + operation + "'");
  }
  if (caller.role != core::Role::operator_ && !(client && it->second.value.author.name == caller.name)) {
    co_return fail(Errc::forbidden, "only an operator, or the client who asked for it, cancels an operation");
  }
  if (how == core::Steer::approve && caller.role != core::Role::operator_) {
    co_return fail(Errc::forbidden, "only an operator approves an operation");
  }
  core::Who who{caller.name, client ? "client" : "operator", caller.project};
  co_return co_await store_.steer(std::move(operation), how, std::move(who), std::move(reason), wall_ms());
}

asio::awaitable<Result<core::RestorePlan>> CellService::restore(core::RestoreStep step, core::Request request) {
  core::Who who{request.caller.name, "operator", {}};
  co_return co_await store_.restore(std::move(step), std::move(who), std::move(request.reason), wall_ms());
}

asio::awaitable<Result<std::string>> CellService::test_alert(core::Request request) {
  if (!alerts_) {
    co_return fail(
        Errc::conflict,
        "host " + store_.self() + " has no [alerts.to] in its hostd.toml, so it tells nobody; nothing was changed");
  }
  const std::string& key = request.idempotency_key;
  const auto now = wall_ms();
  // Asked again with the same key it is the same alert.
  const std::string words =
      key.empty() ? fmt::format("{} {} {}", store_.self(), now, ++tests_) : request.caller.name + '/' + key;
  const std::string id = "test-" + digest(words);
  auto task = store_.test_alert(id, {request.caller.name, "operator", {}}, request.reason, now);
  auto done = co_await std::move(task);
  if (!done) co_return done.error();
  co_return id;
}

asio::awaitable<Result<>> CellService::acknowledge(core::Caller caller, std::string id, std::string reason) {
  co_return co_await store_.acknowledge(std::move(id), {caller.name, "operator", {}}, std::move(reason), wall_ms());
}

asio::awaitable<Result<core::History>> CellService::history(std::string vm, core::Revision incarnation,
                                                            std::size_t days) {
  const core::WallMs now = wall_ms();
  const core::WallMs first = now - static_cast<core::WallMs>(days - 1) * core::kDayMs;
  auto began = co_await history_.began(vm, incarnation);
  if (!began) co_return began.error();
  auto reading = history_.days(vm, incarnation, core::history_day(first), core::history_day(now));
  auto read = co_await std::move(reading);
  if (!read) co_return read.error();
  std::vector<core::HistoryDay> records;
  for (auto& day : *read) records.push_back(std::move(day.value));
  co_return core::history_of(records, *began, now, days);
}

asio::awaitable<Result<std::vector<core::AuditRecord>>> CellService::audit(std::int64_t from, std::size_t limit) {
  co_return co_await store_.audit(from, limit);
}

asio::awaitable<Result<std::vector<core::SignedHead>>> CellService::audit_heads() { co_return co_await heads_.all(); }

Result<std::vector<api::Event>> CellService::events_after(core::Revision after, std::size_t limit) {
  if (after < store_.events_from()) return fail(Errc::stale, "events that old are not kept; list again");
  const auto& events = store_.events();
  auto it = std::ranges::upper_bound(events, after, {}, &runtime::CellChange::revision);
  std::vector<api::Event> out;
  // Changes of one transaction share a revision: a page never ends inside one, or a resume would skip the rest.
  for (; it != events.end() && (out.size() < limit || out.back().revision == it->revision); ++it) {
    out.push_back({it->revision, it->type, it->object, it->project});
  }
  return out;
}

asio::awaitable<Result<>> CellService::wait_event(core::Revision after, std::int64_t timeout_ms) {
  const auto deadline = runtime::Clock::now() + std::chrono::milliseconds(timeout_ms);
  while (store_.events().empty() || store_.events().back().revision <= after) {
    if (runtime::Clock::now() >= deadline) co_return fail(Errc::timeout, "no event in that time");
    co_await store_.changed().wait(store_.changed().count(), deadline);
  }
  co_return Result<>{};
}

Result<std::string> CellService::image_upload_path(const std::string& name, std::uint64_t bytes) {
  if (auto ok = core::check_name("name", name); !ok) return ok.error();
  return images_.upload_path(name, bytes);
}

asio::awaitable<Result<api::Submitted>> CellService::import_image(core::Caller caller, std::string name,
                                                                  std::string temporary, std::string reason,
                                                                  std::string idempotency_key) {
  core::Result<api::Submitted> result = fail(Errc::internal, "not imported");
  auto prepared = co_await images_.prepare(temporary, name);
  if (!prepared) {
    images_.discard(temporary);
    co_return prepared.error();
  }
  core::Request request;
  request.verb = core::ImportImage{{name, prepared->size_bytes, prepared->sha256, store_.self()}};
  request.caller = std::move(caller);
  request.reason = std::move(reason);
  request.idempotency_key = std::move(idempotency_key);
  // The file must stand before the record names it; a crash in between leaves a file nobody names, removed at start.
  const bool known = store_.view().images.contains(name);
  if (!known) {
    if (auto kept = images_.keep(*prepared); !kept) {
      images_.discard(prepared->path);
      co_return kept.error();
    }
  }
  result = co_await submit(std::move(request));
  if (known) images_.discard(prepared->path);
  co_return result;
}

}  // namespace bascule
