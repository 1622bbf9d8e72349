// Handlers that ask the cell for a change: parse, make a core::Request, hand it over. All decisions are the cell's.
#include <algorithm>

#include "api/handlers.hpp"
#include "api/json.hpp"
#include "hostd/core/names.hpp"

namespace bascule::api {
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::size_t kKeyBytes = 128;

Result<> read_key(const HttpRequest& request, core::Request& out) {
  const std::string* key = request.header("idempotency-key");
  if (key == nullptr) return {};
  const bool plain = std::ranges::all_of(*key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == ':' || c == '-';
  });
  if (key->empty() || key->size() > kKeyBytes || !plain) {
    return fail(Errc::invalid, "Idempotency-Key: 1 to 128 letters, digits and . _ : - are needed; nothing was changed");
  }
  out.idempotency_key = *key;
  return {};
}

/// If-Match and If-None-Match. `*` of If-Match is the revision that stands now.
Result<> read_preconditions(const Call& call, core::Request& out) {
  const std::string* match = call.request.header("if-match");
  const std::string* none = call.request.header("if-none-match");
  if (match != nullptr && none != nullptr) {
    return fail(Errc::invalid, "If-Match and If-None-Match exclude each other; nothing was changed");
  }
  if (none != nullptr) {
    if (*none != "*" || call.request.method != "PUT") {
      return fail(Errc::invalid, "If-None-Match: only * with PUT, to make a new VM; nothing was changed");
    }
    out.if_none_match = true;
  }
  if (match == nullptr) return {};
  if (*match == "*") {
    // Not of an image: an upload comes here on the API's own thread, which may not look at the cell.
    const bool of_vm = call.target.segments.size() > 2 && call.target.segments[1] != "images";
    const auto* vm = of_vm ? call.view().vm(call.part(2)) : nullptr;
    if (vm == nullptr || vm->spec.revision == 0) {
      return fail(Errc::stale, "there is no such VM; nothing was changed");
    }
    out.if_match = vm->spec.revision;
    return {};
  }
  out.if_match = parse_etag(*match);
  if (!out.if_match) {
    return fail(Errc::invalid, "If-Match: the ETag of the VM, such as \"123\", is needed; nothing was changed");
  }
  return {};
}

/// The body's reason, or the header's; two different ones are a mistake.
Result<std::string> reason_of(const HttpRequest& request, std::string in_body) {
  const std::string* header = request.header("bascule-reason");
  std::string reason = std::move(in_body);
  if (header != nullptr) {
    auto text = decode_percent(*header);
    if (!text) return fail(Errc::invalid, "Bascule-Reason: a percent escape is broken; nothing was changed");
    if (!reason.empty() && reason != *text) {
      return fail(Errc::invalid, "reason: the body and Bascule-Reason say different things; nothing was changed");
    }
    reason = std::move(*text);
  }
  if (auto ok = core::check_reason(reason); !ok) return ok.error();
  return reason;
}

handlers::Task refused(core::Error error) { co_return error; }

handlers::Task submit(const Call& call, core::Verb verb, std::string reason) {
  auto request = change_of(call, std::move(reason));
  if (!request) co_return request.error();
  request->verb = std::move(verb);
  const bool dry_run = request->dry_run;
  auto task = call.parts.cell.submit(std::move(*request));
  auto done = co_await std::move(task);
  if (!done) co_return done.error();
  co_return accepted(*done, dry_run);
}

/// Verbs whose body holds nothing but the reason.
handlers::Task plain(const Call& call, core::Verb verb) {
  std::string reason;
  if (auto ok = json::only_reason(call.request.body, reason); !ok) return refused(ok.error());
  return submit(call, std::move(verb), std::move(reason));
}

}  // namespace

Result<core::Request> change_of(const Call& call, std::string reason_in_body) {
  core::Request out;
  out.caller = call.caller;
  auto reason = reason_of(call.request, std::move(reason_in_body));
  if (!reason) return reason.error();
  out.reason = std::move(*reason);
  const std::string& dry = call.query("dry_run");
  if (call.target.query.contains("dry_run") && dry != "true" && dry != "false") {
    return fail(Errc::invalid, "dry_run: true or false; nothing was changed");
  }
  out.dry_run = dry == "true";
  if (auto ok = read_key(call.request, out); !ok) return ok.error();
  if (auto ok = read_preconditions(call, out); !ok) return ok.error();
  return out;
}

HttpReply accepted(const Submitted& done, bool dry_run) {
  const bool runs = !done.operation.empty() && !dry_run;
  auto out = reply(json::submitted(done), runs ? 202 : 200);
  if (runs) out.headers.emplace_back("Location", "/v1/operations/" + done.operation);
  if (done.revision != 0) out.headers.emplace_back("ETag", etag(done.revision));
  return out;
}

namespace handlers {

Task put_vm(const Call& call) {
  std::string reason;
  auto spec = json::put_vm(call.request.body, call.part(2), reason);
  if (!spec) return refused(spec.error());
  return submit(call, core::PutVm{std::move(*spec)}, std::move(reason));
}
Task delete_vm(const Call& call) { return plain(call, core::RemoveVm{call.part(2)}); }
Task start(const Call& call) {
  std::string reason;
  auto verb = json::start(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->vm = call.part(2);
  return submit(call, std::move(*verb), std::move(reason));
}
Task shutdown(const Call& call) { return plain(call, core::ShutdownVm{call.part(2)}); }
Task power_off(const Call& call) { return plain(call, core::PowerOffVm{call.part(2)}); }
Task reset(const Call& call) { return plain(call, core::ResetVm{call.part(2)}); }
Task verify(const Call& call) { return plain(call, core::VerifyVolume{call.part(2), call.part(3)}); }
Task delete_image(const Call& call) { return plain(call, core::RemoveImage{call.part(2)}); }

Task migrate(const Call& call) {
  std::string reason;
  auto verb = json::migrate(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->vm = call.part(2);
  return submit(call, std::move(*verb), std::move(reason));
}
Task failover(const Call& call) {
  std::string reason;
  auto verb = json::failover(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->vm = call.part(2);
  return submit(call, std::move(*verb), std::move(reason));
}
Task failback(const Call& call) {
  std::string reason;
  auto verb = json::failback(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->vm = call.part(2);
  return submit(call, std::move(*verb), std::move(reason));
}
Task maintenance(const Call& call) {
  std::string reason;
  auto verb = json::maintenance(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->host = call.part(2);
  return submit(call, std::move(*verb), std::move(reason));
}
Task copy(const Call& call) { return plain(call, core::CopyVm{call.part(2)}); }
Task repair(const Call& call) { return plain(call, core::RepairVm{call.part(2)}); }
Task adopt(const Call& call) {
  std::string reason;
  auto verb = json::adopt(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->vm = call.part(2);
  return submit(call, std::move(*verb), std::move(reason));
}
Task prove_watchdog(const Call& call) { return plain(call, core::ProveWatchdog{call.part(2)}); }
Task arm(const Call& call) { return plain(call, core::SetArmed{true}); }
Task disarm(const Call& call) { return plain(call, core::SetArmed{false}); }

/// Between hosts: it changes no record, so it has no reason and leaves no audit record.
Task lease_promise(const Call& call) {
  auto lease = json::lease(call.request.body);
  if (!lease) co_return lease.error();
  if (auto promised = call.parts.cell.promise(call.caller.name, *lease); !promised) {
    co_return fail(Errc::conflict, promised.error().what);
  }
  co_return reply(R"({"promised":true})", 200);
}

Task resize(const Call& call) {
  std::string reason;
  auto verb = json::resize(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->vm = call.part(2);
  return submit(call, std::move(*verb), std::move(reason));
}
Task grow(const Call& call) {
  std::string reason;
  auto verb = json::grow(call.request.body, reason);
  if (!verb) return refused(verb.error());
  verb->vm = call.part(2);
  verb->volume = call.part(3);
  return submit(call, std::move(*verb), std::move(reason));
}

namespace {
Task steer(const Call& call, core::Steer how) {
  std::string reason;
  if (auto ok = json::only_reason(call.request.body, reason); !ok) co_return ok.error();
  auto request = change_of(call, std::move(reason));
  if (!request) co_return request.error();
  const std::string& id = call.part(2);
  auto task = call.parts.cell.steer(call.caller, id, how, request->reason);
  auto done = co_await std::move(task);
  if (!done) co_return done.error();
  Submitted out;
  out.operation = id;
  co_return accepted(out, false);
}
}  // namespace
namespace {
/// The alert as it stands now.
HttpReply shown(const Call& call, const std::string& id) {
  const auto& all = call.parts.cell.alerts();
  const auto it = all.find(id);
  return reply(it == all.end() ? "{}" : json::alert(it->second));
}
}  // namespace
Task test_alert(const Call& call) {
  std::string reason;
  if (auto ok = json::only_reason(call.request.body, reason); !ok) co_return ok.error();
  auto request = change_of(call, std::move(reason));
  if (!request) co_return request.error();
  auto task = call.parts.cell.test_alert(std::move(*request));
  auto id = co_await std::move(task);
  if (!id) co_return id.error();
  co_return shown(call, *id);
}
Task acknowledge(const Call& call) {
  std::string reason;
  if (auto ok = json::only_reason(call.request.body, reason); !ok) co_return ok.error();
  auto request = change_of(call, std::move(reason));
  if (!request) co_return request.error();
  auto task = call.parts.cell.acknowledge(call.caller, call.part(2), request->reason);
  auto done = co_await std::move(task);
  if (!done) co_return done.error();
  co_return shown(call, call.part(2));
}
Task cell_restore(const Call& call) {
  std::string reason;
  auto step = json::restore(call.request.body, reason);
  if (!step) co_return step.error();
  auto request = change_of(call, std::move(reason));
  if (!request) co_return request.error();
  step->dry_run = request->dry_run;
  auto task = call.parts.cell.restore(std::move(*step), std::move(*request));
  auto done = co_await std::move(task);
  if (!done) co_return done.error();
  co_return reply(json::restored(*done));
}
Task cancel(const Call& call) { return steer(call, core::Steer::cancel); }
Task approve(const Call& call) { return steer(call, core::Steer::approve); }

}  // namespace handlers
}  // namespace bascule::api
