// Any bytes may come from a connection. They are taken as one request the way a connection takes them, routed, decoded
// and answered by the real handlers before a fake cell; every answer is one the contract could show.
// First byte: who asks.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "api/message.hpp"
#include "api/router.hpp"
#include "api/stream.hpp"
#include "tests/testkit/fake_cell.hpp"

namespace {

using namespace bascule;

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "http_fuzz: %s\n", what);
  std::abort();
}

core::Caller caller_of(std::uint8_t who) {
  switch (who % 4) {
    case 0: return {core::Role::operator_, "olga", ""};
    case 1: return {core::Role::client, "carl", "blue"};
    case 2: return {core::Role::auditor, "anna", ""};
    default: return {core::Role::host, "b1", ""};
  }
}

void check(const api::HttpReply& reply, const core::Caller& caller) {
  if (!reply.body || api::reason_phrase(reply.status).empty()) broken("an answer without a body or a known status");
  if (reply.status == 500) broken("a request made a bug show");
  if (!reply.content_type.starts_with("application/") || reply.content_type == "application/yaml") return;
  const auto body = nlohmann::json::parse(*reply.body, nullptr, false);
  if (!body.is_object()) broken("an answer that is not a JSON object");
  const bool is_problem = reply.content_type == "application/problem+json";
  if (is_problem != (reply.status >= 400)) broken("an error that is no problem document");
  if (is_problem && (body["status"] != reply.status || reply.body->size() > 4096))
    broken("a problem of the wrong kind");
  if (caller.role == core::Role::client && reply.body->find("green") != std::string::npos && reply.status == 200) {
    broken("a client saw another project");
  }
}

boost::asio::awaitable<void> answer(api::Router& router, const api::Call& call, api::HttpReply& out) {
  out = co_await router.handle(call);
}

void run(api::Router& router, boost::asio::io_context& io, api::HttpRequest request, const core::Caller& caller) {
  auto opened = router.open(std::move(request), caller);
  if (const auto* refusal = std::get_if<api::HttpReply>(&opened)) return check(*refusal, caller);
  const auto& call = std::get<api::Call>(opened);
  if (call.route.kind == api::Kind::events) return static_cast<void>(api::Subscription::of(call));
  if (call.route.kind == api::Kind::upload) return static_cast<void>(api::change_of(call, {}));
  api::HttpReply out;
  auto task = answer(router, call, out);
  boost::asio::co_spawn(io, std::move(task), boost::asio::detached);
  io.restart();
  io.run();
  check(out, caller);
}

}  // namespace

// libFuzzer's name for the entry point.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static boost::asio::io_context io(1);
  // A fresh cell for each input: what one request did must not explain the next.
  test::FakeCell cell(io.get_executor(), "/nonexistent");
  cell.add_vm("web", "blue", true);
  cell.add_vm("shop", "green", false);
  api::Router router(cell);
  const auto caller = caller_of(data[0]);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto request = api::parse_message(bytes, 8192, 65536);
  if (!request) {
    if (request.error().code != core::Errc::invalid || request.error().what.empty()) broken("an error without words");
    return 0;
  }
  run(router, io, std::move(*request), caller);
  return 0;
}
