#include "api/router.hpp"

#include <algorithm>
#include <exception>

#include "hostd/core/alert.hpp"
#include "hostd/core/names.hpp"
#include "hostd/runtime/say.hpp"

namespace bascule::api {
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr std::size_t kOperationBytes = 64;

/// Everything in a path that is not literal is a name, so no file, key or domain is ever reached by another spelling.
Result<> check_path(const Route& route, const std::vector<std::string>& segments) {
  std::string_view pattern = route.path;
  for (const auto& segment : segments) {
    pattern.remove_prefix(1);
    const auto part = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(part.size());
    if (part.front() != '{') continue;
    const auto field = part.substr(1, part.size() - 2);
    if (field == "alert") {
      if (!core::valid_alert_id(segment)) return fail(Errc::invalid, "alert: this is no alert's id");
      continue;
    }
    if (field != "operation") {
      if (auto ok = core::check_name(field, segment); !ok) return ok;
      continue;
    }
    const bool plain = std::ranges::all_of(
        segment, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
    if (!plain || segment.size() > kOperationBytes) return fail(Errc::invalid, "operation: this is no operation's id");
  }
  return {};
}

bool knows(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const auto blank = list.find(' ');
    if (list.substr(0, blank) == name) return true;
    if (blank == std::string_view::npos) break;
    list.remove_prefix(blank + 1);
  }
  return false;
}

Result<> check_query(const Route& route, const Target& target) {
  for (const auto& [name, value] : target.query) {
    if (knows(route.query, name)) continue;
    return fail(Errc::invalid, "query: '" + name.substr(0, 40) + "' is not a parameter here" +
                                   (route.query.empty() ? "" : "; there are " + std::string(route.query)));
  }
  return {};
}

HttpReply not_routed(const HttpRequest& head, const Found& found) {
  if (found.allow.empty()) {
    return problem(fail(Errc::not_found, "there is nothing at this address; GET /v1/openapi.yaml lists what there is"),
                   head.target);
  }
  auto out = problem(405, "Method not allowed", "this address takes " + found.allow, head.target);
  out.headers.emplace_back("Allow", found.allow);
  return out;
}

}  // namespace

std::variant<Call, HttpReply> Router::open(HttpRequest head, const Result<core::Caller>& identity) {
  if (!identity) {
    if (identity.error().code == Errc::forbidden && refused_.due({}, Seldom::Clock::now())) {
      say(msg::api_refused, {}, "a certificate of a trusted CA is let in as nobody: {}", identity.error().what);
    }
    return problem(identity.error(), head.target);
  }
  if (auto page = console_.answer(head)) return std::move(*page);
  auto target = parse_target(head.target);
  if (!target) return problem(target.error(), head.target);
  const Found found = find_route(head.method, target->segments);
  if (found.route == nullptr) return not_routed(head, found);
  if (!allowed(found.route->access, identity->role)) {
    if (refused_.due(identity->project + '/' + identity->name, Seldom::Clock::now())) {
      say(msg::api_refused, {.caller = identity->name}, "{} may not {} {}", identity->name, found.route->method,
          found.route->path);
    }
    return problem(fail(Errc::forbidden, "your role may not do this; an operator can"), head.target);
  }
  if (auto ok = check_path(*found.route, target->segments); !ok) return problem(ok.error(), head.target);
  if (auto ok = check_query(*found.route, *target); !ok) return problem(ok.error(), head.target);
  return Call{parts_, *found.route, std::move(*target), std::move(head), *identity};
}

HttpReply Router::refusal(const Call& call, const core::Error& error) {
  if (status_of(error.code) == 500) {
    say(msg::api_failed, {.caller = call.caller.name}, "{} {} failed ({}): {}", call.route.method, call.route.path,
        core::to_string(error.code), error.what);
  }
  return problem(error, call.request.target);
}

boost::asio::awaitable<HttpReply> Router::handle(const Call& call) {
  try {
    auto task = call.route.handler(call);
    auto out = co_await std::move(task);
    if (out) co_return std::move(*out);
    co_return refusal(call, out.error());
  } catch (const std::exception& e) {  // a bug, or a library's bad_alloc: this call fails, the daemon goes on
    co_return refusal(call, fail(Errc::internal, e.what()));
  }
}

}  // namespace bascule::api
