#include "api/router.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "api/json.hpp"
#include "api/openapi.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/core/explain.hpp"
#include "hostd/core/names.hpp"

namespace bascule::api {
namespace asio = boost::asio;
using core::Errc;
using core::fail;
using core::Result;
using core::Role;

namespace {

HttpReply ok(std::string body, int status = 200) {
  HttpReply reply;
  reply.status = status;
  reply.body = std::make_shared<const std::string>(std::move(body));
  return reply;
}

template <class T>
bool number(const std::string& text, T& out) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  return ec == std::errc{} && end == text.data() + text.size();
}

}  // namespace

/// One call: the request, what the path held, and the router's caches.
struct Handlers {
  Router& router;
  CellPort& cell;
  const HttpRequest& request;
  const Target& target;

  using Reply = Result<HttpReply>;
  using Task = asio::awaitable<Reply>;

  const std::string& part(std::size_t i) const { return target.segments[i]; }
  std::string query(const char* name) const {
    const auto it = target.query.find(name);
    return it == target.query.end() ? std::string() : it->second;
  }
  std::string header(const char* name) const {
    const auto it = request.headers.find(name);
    return it == request.headers.end() ? std::string() : it->second;
  }
  bool client() const { return request.caller.role == Role::client; }
  bool sees(const std::string& project) const { return Router::may_see(request.caller, project); }

  Result<std::size_t> limit() const {
    std::size_t n = kPageDefault;
    const std::string text = query("limit");
    if (!text.empty() && (!number(text, n) || n == 0 || n > kPageMost)) {
      return fail(Errc::invalid, "limit: 1 to " + std::to_string(kPageMost));
    }
    return n;
  }

  /// Pages over an ordered map: `show` returns an empty string for what the caller may not see.
  template <class Map, class Show>
  Reply page(const Map& map, Show show) const {
    auto most = limit();
    if (!most) return most.error();
    std::vector<std::string> items;
    std::string next;
    for (auto it = map.upper_bound(query("after")); it != map.end(); ++it) {
      std::string text = show(it->first, it->second);
      if (text.empty()) continue;
      if (items.size() == *most) {
        next = std::prev(it)->first;
        break;
      }
      items.push_back(std::move(text));
    }
    return ok(json::list(items, next));
  }

  const core::VmView* visible_vm(const std::string& name) const {
    const auto* vm = cell.view().vm(name);
    if (vm == nullptr || vm->spec.revision == 0 || !sees(vm->spec.value.project)) return nullptr;
    return vm;
  }
  static core::Error no_vm(const std::string& name) { return fail(Errc::not_found, "there is no VM '" + name + "'"); }

  // ---- reading ----
  Task hosts() const {
    if (client()) co_return fail(Errc::forbidden, "clients see their own VMs, not the hosts");
    co_return page(cell.view().hosts, [](const std::string&, const core::HostView& h) { return json::host(h); });
  }
  Task host() const {
    if (client()) co_return fail(Errc::forbidden, "clients see their own VMs, not the hosts");
    const auto* h = cell.view().host(part(2));
    if (h == nullptr) co_return fail(Errc::not_found, "there is no host '" + part(2) + "'");
    co_return ok(json::host(*h));
  }
  Task images() const {
    co_return page(cell.view().images, [](const std::string&, const core::Versioned<core::Image>& i) { return codec::encode(i.value); });
  }
  Task image() const {
    const auto it = cell.view().images.find(part(2));
    if (it == cell.view().images.end()) co_return fail(Errc::not_found, "there is no image '" + part(2) + "'");
    co_return ok(codec::encode(it->second.value));
  }
  Task vms() const {
    // The same page for every caller of a project until a VM changes: serialized once, sent many times.
    if (router.pages_of_ != cell.view().vms_changed) {
      router.pages_.clear();
      router.pages_of_ = cell.view().vms_changed;
    }
    const std::string key = (client() ? "c:" + request.caller.project : "all") + ' ' + query("limit") + ' ' +
                            query("after") + ' ' + query("project") + ' ' + query("host");
    const auto cached = router.pages_.find(key);
    if (cached != router.pages_.end()) {
      HttpReply reply;
      reply.body = cached->second;
      co_return reply;
    }
    const std::string project = query("project");
    const std::string host = query("host");
    auto reply = page(cell.view().vms, [&](const std::string&, const core::VmView& vm) -> std::string {
      const auto& s = vm.spec.value;
      if (vm.spec.revision == 0 || !sees(s.project)) return {};
      if ((!project.empty() && s.project != project) || (!host.empty() && vm.right.value.host != host)) return {};
      return json::vm_summary(cell.view(), vm);
    });
    constexpr std::size_t kPagesKept = 256;
    if (reply && router.pages_.size() < kPagesKept) router.pages_[key] = reply->body;
    co_return reply;
  }
  Task vm() const {
    const auto* v = visible_vm(part(2));
    if (v == nullptr) co_return no_vm(part(2));
    auto reply = ok(json::vm(cell.view(), *v));
    reply.headers["ETag"] = '"' + std::to_string(v->spec.revision) + '"';
    co_return reply;
  }
  Task why() const {
    if (visible_vm(part(2)) == nullptr) co_return no_vm(part(2));
    co_return ok(json::text_field("why", core::why(cell.view(), part(2))));
  }
  Task volumes() const {
    std::map<std::string, std::string> all;
    for (const auto& [name, vm] : cell.view().vms) {
      if (vm.spec.revision == 0 || !sees(vm.spec.value.project)) continue;
      for (const auto& v : vm.layout.value.volumes) all[name + '/' + v.name] = json::volume(vm, v);
    }
    co_return page(all, [](const std::string&, const std::string& text) { return text; });
  }
  Task volume() const {
    const auto* v = visible_vm(part(2));
    if (v == nullptr) co_return no_vm(part(2));
    for (const auto& volume : v->layout.value.volumes) {
      if (volume.name == part(3)) co_return ok(json::volume(*v, volume));
    }
    co_return fail(Errc::not_found, "VM " + part(2) + " has no volume '" + part(3) + "'");
  }
  Task operations() const {
    const std::string vm = query("vm");
    const std::string state = query("state");
    co_return page(cell.view().operations, [&](const std::string&, const core::Versioned<core::Operation>& op) -> std::string {
      if (!sees(op.value.project)) return {};
      if (!vm.empty() && op.value.vm != vm) return {};
      if (!state.empty() && core::to_string(op.value.state) != state) return {};
      return json::operation(cell.view(), op.value);
    });
  }
  Task operation() const {
    const auto it = cell.view().operations.find(part(2));
    if (it == cell.view().operations.end() || !sees(it->second.value.project)) {
      co_return fail(Errc::not_found, "there is no operation '" + part(2) + "'");
    }
    co_return ok(json::operation(cell.view(), it->second.value));
  }
  Task audit() const {
    auto most = limit();
    if (!most) co_return most.error();
    std::int64_t from = 1;
    const std::string start = query("after").empty() ? query("from") : query("after");
    if (!start.empty() && (!number(start, from) || from < 1)) co_return fail(Errc::invalid, "from: a sequence number");
    if (!query("after").empty()) ++from;
    auto records = co_await cell.audit(from, *most);
    if (!records) co_return records.error();
    std::vector<std::string> items;
    for (const auto& r : *records) {
      if (sees(r.project)) items.push_back(codec::encode(r));
    }
    const auto& head = cell.view().audit.value;
    const bool more = !records->empty() && records->back().sequence < head.sequence;
    std::string body = json::list(items, more ? std::to_string(records->back().sequence) : std::string());
    body.pop_back();
    body += ",\"head\":" + codec::encode(head) + '}';
    co_return ok(std::move(body));
  }
  Task health() const {
    const auto h = cell.health();
    co_return ok(json::health(h, cell.host_id()), h.ok ? 200 : 503);
  }
  Task version() const { co_return ok(json::text_field("version", BASCULE_VERSION)); }
  Task openapi() const {
    auto reply = ok(std::string(openapi_yaml()));
    reply.content_type = "application/yaml";
    co_return reply;
  }

  // ---- changing ----
  Result<core::Request> change(core::Verb verb, std::string reason) const {
    core::Request r;
    r.verb = std::move(verb);
    r.caller = request.caller;
    r.reason = reason.empty() ? header("bascule-reason") : std::move(reason);
    r.idempotency_key = header("idempotency-key");
    if (r.idempotency_key.size() > 128) return fail(Errc::invalid, "Idempotency-Key: at most 128 characters");
    const std::string dry = query("dry_run");
    if (!dry.empty() && dry != "true" && dry != "false") return fail(Errc::invalid, "dry_run: true or false");
    r.dry_run = dry == "true";
    std::string match = header("if-match");
    if (match == "*") match.clear();
    if (!match.empty()) {
      core::Revision revision = 0;
      if (match.size() < 3 || match.front() != '"' || match.back() != '"' ||
          !number(match.substr(1, match.size() - 2), revision)) {
        return fail(Errc::invalid, "If-Match: the ETag of the VM, in quotes");
      }
      r.if_match = revision;
    }
    r.if_none_match = header("if-none-match") == "*";
    return r;
  }
  Task submit(core::Verb verb, std::string reason) const {
    if (request.caller.role == Role::auditor || request.caller.role == Role::host) {
      co_return fail(Errc::forbidden, "your role reads and changes nothing");
    }
    auto r = change(std::move(verb), std::move(reason));
    if (!r) co_return r.error();
    if (auto good = core::check_reason(r->reason); !good) co_return good.error();
    const bool dry = r->dry_run;
    auto done = co_await cell.submit(std::move(*r));
    if (!done) co_return done.error();
    const bool accepted = !done->operation.empty() && !dry;
    auto reply = ok(json::submitted(*done), accepted ? 202 : 200);
    if (accepted) reply.headers["Location"] = "/v1/operations/" + done->operation;
    if (done->revision != 0) reply.headers["ETag"] = '"' + std::to_string(done->revision) + '"';
    co_return reply;
  }
  template <class V>
  Task simple(V verb) const {
    std::string reason;
    if (auto good = json::only_reason(request.body, reason); !good) co_return good.error();
    co_return co_await submit(std::move(verb), std::move(reason));
  }
  Task put_vm() const {
    std::string reason;
    auto spec = json::put_vm(request.body, part(2), reason);
    if (!spec) co_return spec.error();
    co_return co_await submit(core::PutVm{std::move(*spec)}, std::move(reason));
  }
  Task delete_vm() const { return simple(core::RemoveVm{part(2)}); }
  Task start() const { return simple(core::StartVm{part(2)}); }
  Task shutdown() const { return simple(core::ShutdownVm{part(2)}); }
  Task power_off() const { return simple(core::PowerOffVm{part(2)}); }
  Task reset() const { return simple(core::ResetVm{part(2)}); }
  Task verify() const { return simple(core::VerifyVolume{part(2), part(3)}); }
  Task delete_image() const { return simple(core::RemoveImage{part(2)}); }
  Task migrate() const {
    std::string reason;
    auto verb = json::migrate(request.body, reason);
    if (!verb) co_return verb.error();
    verb->vm = part(2);
    co_return co_await submit(std::move(*verb), std::move(reason));
  }
  Task resize() const {
    std::string reason;
    auto verb = json::resize(request.body, reason);
    if (!verb) co_return verb.error();
    verb->vm = part(2);
    co_return co_await submit(std::move(*verb), std::move(reason));
  }
  Task grow() const {
    std::string reason;
    auto verb = json::grow(request.body, reason);
    if (!verb) co_return verb.error();
    verb->vm = part(2);
    verb->volume = part(3);
    co_return co_await submit(std::move(*verb), std::move(reason));
  }
  Task cancel() const {
    std::string reason;
    if (auto good = json::only_reason(request.body, reason); !good) co_return good.error();
    if (reason.empty()) reason = header("bascule-reason");
    auto done = co_await cell.cancel(request.caller, part(2), std::move(reason));
    if (!done) co_return done.error();
    co_return ok(json::submitted({part(2), false, false, {}, 0}), 202);
  }
};

namespace {

struct Route {
  std::string_view method;
  std::string_view path;  ///< {x} matches one segment
  Handlers::Task (Handlers::*handler)() const;
};

constexpr std::array kRoutes{
    Route{"GET", "/v1/hosts", &Handlers::hosts},
    Route{"GET", "/v1/hosts/{host}", &Handlers::host},
    Route{"GET", "/v1/images", &Handlers::images},
    Route{"GET", "/v1/images/{image}", &Handlers::image},
    Route{"DELETE", "/v1/images/{image}", &Handlers::delete_image},
    Route{"GET", "/v1/vms", &Handlers::vms},
    Route{"GET", "/v1/vms/{vm}", &Handlers::vm},
    Route{"PUT", "/v1/vms/{vm}", &Handlers::put_vm},
    Route{"DELETE", "/v1/vms/{vm}", &Handlers::delete_vm},
    Route{"GET", "/v1/vms/{vm}/why", &Handlers::why},
    Route{"POST", "/v1/vms/{vm}/actions/start", &Handlers::start},
    Route{"POST", "/v1/vms/{vm}/actions/shutdown", &Handlers::shutdown},
    Route{"POST", "/v1/vms/{vm}/actions/power-off", &Handlers::power_off},
    Route{"POST", "/v1/vms/{vm}/actions/reset", &Handlers::reset},
    Route{"POST", "/v1/vms/{vm}/actions/migrate", &Handlers::migrate},
    Route{"POST", "/v1/vms/{vm}/actions/resize", &Handlers::resize},
    Route{"GET", "/v1/volumes", &Handlers::volumes},
    Route{"GET", "/v1/volumes/{vm}/{volume}", &Handlers::volume},
    Route{"POST", "/v1/volumes/{vm}/{volume}/actions/grow", &Handlers::grow},
    Route{"POST", "/v1/volumes/{vm}/{volume}/actions/verify", &Handlers::verify},
    Route{"GET", "/v1/operations", &Handlers::operations},
    Route{"GET", "/v1/operations/{operation}", &Handlers::operation},
    Route{"POST", "/v1/operations/{operation}/actions/cancel", &Handlers::cancel},
    Route{"GET", "/v1/audit", &Handlers::audit},
    Route{"GET", "/v1/health", &Handlers::health},
    Route{"GET", "/v1/version", &Handlers::version},
    Route{"GET", "/v1/openapi.yaml", &Handlers::openapi},
};

bool matches(std::string_view pattern, const std::vector<std::string>& segments) {
  std::size_t i = 0;
  while (!pattern.empty()) {
    pattern.remove_prefix(1);
    const auto slash = pattern.find('/');
    const auto part = pattern.substr(0, slash);
    if (i == segments.size() || (part.front() != '{' && part != segments[i])) return false;
    ++i;
    if (slash == std::string_view::npos) break;
    pattern.remove_prefix(slash);
  }
  return i == segments.size();
}

}  // namespace

bool Router::may_see(const core::Caller& caller, const std::string& project) {
  return caller.role != Role::client || (!project.empty() && caller.project == project);
}

asio::awaitable<HttpReply> Router::handle(HttpRequest request) {
  auto target = parse_target(request.target);
  if (!target) co_return problem(target.error(), request.target.substr(0, 200));
  std::string allowed;
  for (const auto& route : kRoutes) {
    if (!matches(route.path, target->segments)) continue;
    if (route.method != request.method) {
      allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
      continue;
    }
    const Handlers handlers{*this, cell_, request, *target};
    auto task = (handlers.*route.handler)();
    auto reply = co_await std::move(task);
    if (reply) co_return std::move(*reply);
    co_return problem(reply.error(), request.target);
  }
  if (!allowed.empty()) {
    auto reply = problem(fail(Errc::invalid, "this address does not take " + request.method), request.target);
    reply.status = 405;
    reply.headers["Allow"] = allowed;
    co_return reply;
  }
  co_return problem(fail(Errc::not_found, "there is nothing at this address; GET /v1/openapi.yaml lists what there is"),
                    request.target);
}

}  // namespace bascule::api
