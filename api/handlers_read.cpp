// Handlers that only look. Each reads the view without suspending, so that an answer shows one moment.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iterator>

#include "api/handlers.hpp"
#include "api/json.hpp"
#include "api/openapi.hpp"
#include "hostd/codec/codec.hpp"

namespace bascule::api {
using core::Errc;
using core::fail;
using core::Result;

const std::string& Call::query(const std::string& name) const {
  static const std::string kNone;
  const auto it = target.query.find(name);
  return it == target.query.end() ? kNone : it->second;
}

bool Call::sees(const std::string& project) const { return caller.role != core::Role::client || caller.owns(project); }

namespace handlers {
namespace {

/// Items that cost tens of microseconds each: a longer page would hold up the io thread.
constexpr std::size_t kHeavyPage = 100;
constexpr std::optional<std::int64_t> kHistoryDefault = 30;  // days

/// A host that was just started knows nothing yet: that is not that there is nothing.
core::Error none(const Call& call, std::string_view what, const std::string& name) {
  const std::string it = std::string(what) + " '" + name + "'";
  if (call.view().synced) return fail(Errc::not_found, "there is no " + it);
  return fail(Errc::unavailable,
              "this host has not heard from etcd yet, or lost it, and does not know of " + it + ". Ask another host");
}

Result<std::size_t> limit_of(const Call& call, std::size_t most = kPageMost) {
  const std::string& text = call.query("limit");
  if (text.empty() && !call.target.query.contains("limit")) return std::min(kPageDefault, most);
  const auto n = parse_number(text);
  if (!n || *n < 1 || *n > static_cast<std::int64_t>(kPageMost)) {
    return fail(Errc::invalid, "limit: a whole number from 1 to " + std::to_string(kPageMost) + " is needed");
  }
  return std::min(static_cast<std::size_t>(*n), most);
}

/// A page over [first, last): `show` gives an empty text for what is not shown.
template <class It, class Show>
HttpReply page(const Call& call, It first, It last, std::size_t limit, Show show) {
  std::vector<std::string> items;
  std::string next;
  std::string newest;
  for (; first != last; ++first) {
    std::string text = show(first->second);
    if (text.empty()) continue;
    if (items.size() == limit) {
      next = newest;
      break;
    }
    items.push_back(std::move(text));
    newest = first->first;
  }
  return reply(json::list(items, next, call.view().revision));
}

/// nullptr: there is none, or it is not this caller's.
const core::VmView* visible(const Call& call, const std::string& name) {
  const auto* vm = call.view().vm(name);
  return vm != nullptr && vm->spec.revision != 0 && call.sees(vm->spec.value.project) ? vm : nullptr;
}

bool wanted(const std::string& filter, std::string_view value) { return filter.empty() || filter == value; }

}  // namespace

Task hosts(const Call& call) {
  const auto limit = limit_of(call, kHeavyPage);
  if (!limit) co_return limit.error();
  const auto& all = call.view().hosts;
  co_return page(call, all.upper_bound(call.query("after")), all.end(), *limit, [&](const core::HostView& h) {
    return h.info.revision == 0 ? std::string() : json::host(call.view(), h);
  });
}
Task host(const Call& call) {
  const auto* h = call.view().host(call.part(2));
  if (h == nullptr || h->info.revision == 0) co_return none(call, "host", call.part(2));
  co_return reply(json::host(call.view(), *h));
}
Task host_if_lost(const Call& call) {
  const auto* h = call.view().host(call.part(2));
  if (h == nullptr || h->info.revision == 0) co_return none(call, "host", call.part(2));
  co_return reply(json::if_lost(call.view(), call.part(2)));
}

Task images(const Call& call) {
  const auto limit = limit_of(call);
  if (!limit) co_return limit.error();
  const auto& all = call.view().images;
  co_return page(call, all.upper_bound(call.query("after")), all.end(), *limit, json::image);
}
Task image(const Call& call) {
  const auto it = call.view().images.find(call.part(2));
  if (it == call.view().images.end()) co_return none(call, "image", call.part(2));
  co_return reply(json::image(it->second));
}

Task vms(const Call& call) {
  const std::string& fields = call.query("fields");
  if (!fields.empty() && fields != "summary" && fields != "full") {
    co_return fail(Errc::invalid, "fields: summary or full");
  }
  const bool full = fields == "full";
  const auto limit = limit_of(call, full ? kHeavyPage : kPageMost);
  if (!limit) co_return limit.error();
  VmQuery query{call.query("project"), call.query("host"), call.query("after"), *limit, full};
  if (full) query.role = call.caller.role;
  if (call.caller.role == core::Role::client) {
    // A foreign project has no VMs for this caller: a name that no VM's project can have.
    if (query.project.empty() && !call.caller.projects.empty())
      query.among = call.caller.projects;
    else if (query.project.empty() || !call.caller.owns(query.project))
      query.project = wanted(query.project, call.caller.project) ? call.caller.project : "/";
  }
  HttpReply out;
  out.body = call.parts.pages.page(call.view(), query);
  co_return out;
}
Task vm(const Call& call) {
  const auto* v = visible(call, call.part(2));
  if (v == nullptr) co_return none(call, "VM", call.part(2));
  auto out = reply(json::vm(call.view(), *v, call.caller.role));
  out.headers.emplace_back("ETag", etag(v->spec.revision));
  co_return out;
}
Task why(const Call& call) {
  const auto* v = visible(call, call.part(2));
  if (v == nullptr) co_return none(call, "VM", call.part(2));
  co_return reply(json::why(call.view(), *v, call.caller.role));
}

Task history(const Call& call) {
  const auto* v = visible(call, call.part(2));
  if (v == nullptr) co_return none(call, "VM", call.part(2));
  constexpr std::int64_t kMost{core::HistoryLimits::days};
  const std::string& text = call.query("days");
  const auto days = call.target.query.contains("days") ? parse_number(text) : kHistoryDefault;
  if (!days || *days < 1 || *days > kMost) {
    co_return fail(Errc::invalid, fmt::format("days: a whole number from 1 to {} is needed", kMost));
  }
  const bool replicates = core::replicates(v->spec.value.protection);
  auto task = call.parts.cell.history(call.part(2), v->spec.created, static_cast<std::size_t>(*days));
  auto read = co_await std::move(task);
  if (!read) co_return read.error();
  co_return reply(json::history(call.part(2), replicates, *read));
}

Task drills(const Call& call) {
  const auto limit = limit_of(call);
  if (!limit) co_return limit.error();
  const auto& all = call.view().vms;
  const core::WallMs now = std::time(nullptr) * core::WallMs{1000};
  co_return page(call, all.upper_bound(call.query("after")), all.end(), *limit, [&](const core::VmView& vm) {
    const auto& spec = vm.spec.value;
    const bool shown = vm.spec.revision != 0 && call.sees(spec.project) && wanted(call.query("vm"), spec.name) &&
                       wanted(call.query("project"), spec.project);
    return shown ? json::drill(vm, now) : std::string();
  });
}

Task volumes(const Call& call) {
  const auto limit = limit_of(call, kHeavyPage * 2);
  if (!limit) co_return limit.error();
  const std::string& after = call.query("after");
  // The cursor is VM/VOLUME; the VM's other volumes may follow on this page.
  std::map<std::string, std::string> found;
  const auto& all = call.view().vms;
  for (auto it = all.lower_bound(after.substr(0, after.find('/'))); it != all.end() && found.size() <= *limit; ++it) {
    const auto& [name, vm] = *it;
    const auto& spec = vm.spec;
    if (spec.revision == 0 || !call.sees(spec.value.project) || !wanted(call.query("vm"), name)) continue;
    if (!wanted(call.query("project"), spec.value.project)) continue;
    for (const auto& v : vm.layout.value.volumes) {
      std::string key = name + '/' + v.name;
      if (key > after) found.emplace(std::move(key), json::volume(vm, v));
    }
  }
  co_return page(call, found.begin(), found.end(), *limit, [](const std::string& text) { return text; });
}
Task volume(const Call& call) {
  const auto* v = visible(call, call.part(2));
  if (v == nullptr) co_return none(call, "VM", call.part(2));
  const auto& all = v->layout.value.volumes;
  const auto it = std::ranges::find(all, call.part(3), &core::VolumeLayout::name);
  if (it == all.end()) co_return none(call, "volume", call.part(2) + '/' + call.part(3));
  co_return reply(json::volume(*v, *it));
}

Task operations(const Call& call) {
  const auto limit = limit_of(call, kHeavyPage);
  if (!limit) co_return limit.error();
  const std::string& state = call.query("state");
  const std::string& kind = call.query("kind");
  if (!state.empty() && !core::parse_op_state(state)) {
    co_return fail(Errc::invalid, "state: running, undoing, done, undone or needs-operator");
  }
  if (!kind.empty() && !core::parse_op_kind(kind)) co_return fail(Errc::invalid, "kind: no operation is called that");
  const auto& all = call.view().operations;
  const std::string& after = call.query("after");
  // Ids sort by time: the newest stands last, so the page runs backwards.
  const auto first = std::make_reverse_iterator(after.empty() ? all.end() : all.lower_bound(after));
  co_return page(call, first, all.rend(), *limit, [&](const core::Versioned<core::Operation>& op) {
    const bool shown = op.revision != 0 && call.sees(op.value.project) &&
                       wanted(state, core::to_string(op.value.state)) && wanted(kind, core::to_string(op.value.kind)) &&
                       wanted(call.query("vm"), op.value.vm) && wanted(call.query("project"), op.value.project);
    return shown ? json::operation(call.view(), op) : std::string();
  });
}
Task operation(const Call& call) {
  const auto it = call.view().operations.find(call.part(2));
  if (it == call.view().operations.end() || !call.sees(it->second.value.project))
    co_return none(call, "operation", call.part(2));
  co_return reply(json::operation(call.view(), it->second));
}

Task alerts(const Call& call) {
  const auto limit = limit_of(call, kHeavyPage);
  if (!limit) co_return limit.error();
  const auto& all = call.parts.cell.alerts();
  co_return page(call, all.upper_bound(call.query("after")), all.end(), *limit, json::alert);
}
Task alert(const Call& call) {
  const auto& all = call.parts.cell.alerts();
  const auto it = all.find(call.part(2));
  if (it == all.end()) co_return none(call, "alert", call.part(2));
  co_return reply(json::alert(it->second));
}

Task audit(const Call& call) {
  const auto limit = limit_of(call);
  if (!limit) co_return limit.error();
  std::int64_t from = 1;
  for (const char* name : {"from", "after"}) {  // a cursor counts more than the first number
    const std::string& text = call.query(name);
    if (text.empty()) continue;
    const auto n = parse_number(text);
    if (!n || *n < 1) co_return fail(Errc::invalid, std::string(name) + ": a sequence number is needed");
    from = std::string_view(name) == "after" ? *n + 1 : *n;
  }
  auto records = co_await call.parts.cell.audit(from, *limit);
  if (!records) co_return records.error();
  std::vector<std::string> items;
  items.reserve(records->size());
  // A client reads what was done to its own project's; the numbers in between are others'.
  for (const auto& r : *records) {
    if (call.sees(r.project) && wanted(call.query("object"), r.object)) items.push_back(codec::encode(r));
  }
  const auto& head = call.view().audit.value;
  const bool more = !records->empty() && records->back().sequence < head.sequence;
  co_return reply(json::audit_list(items, more ? std::to_string(records->back().sequence) : std::string(),
                                   call.view().revision, head));
}

Task audit_heads(const Call& call) {
  const auto limit = limit_of(call, kHeavyPage);
  if (!limit) co_return limit.error();
  auto heads = co_await call.parts.cell.audit_heads();
  if (!heads) co_return heads.error();
  std::map<std::string, std::string> found;  // the cursor is HOST/NUMBER
  for (const auto& head : *heads) {
    if (!wanted(call.query("host"), head.host)) continue;
    found.emplace(fmt::format("{}/{:012}", head.host, head.sequence), codec::encode(head));
  }
  co_return page(call, found.upper_bound(call.query("after")), found.end(), *limit,
                 [](const std::string& text) { return text; });
}

Task health(const Call& call) {
  auto h = call.parts.cell.health();
  for (auto& warning : call.parts.trust.warnings(std::time(nullptr))) h.warnings.push_back(std::move(warning));
  if (call.caller.role == core::Role::client) h.warnings.clear();  // of the operators' business
  co_return reply(json::health(h, call.parts.cell.host_id()), h.ok ? 200 : 503);
}
Task ha(const Call& call) { co_return reply(json::ha(call.view()), 200); }
Task whoami(const Call& call) { co_return reply(json::caller(call.caller, call.parts.cell.host_id())); }
Task version(const Call& call) { co_return reply(json::version(call.parts.cell.host_id())); }
Task openapi(const Call&) { co_return reply(std::string(openapi_yaml()), 200, "application/yaml"); }
Task metrics(const Call& call) {
  co_return reply(call.parts.metrics.text(call.parts.cell, call.parts.trust), 200, "text/plain; version=0.0.4");
}

}  // namespace handlers
}  // namespace bascule::api
