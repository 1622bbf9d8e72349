// Says what hostd says, for journal_test.py: events with all their fields, ends of operations, a plain line.
//   journal_rig [N]    N events instead; prints how many of them took over 200 ms, to stderr
#include <spdlog/spdlog.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <string_view>

#include "hostd/runtime/cell/tell.hpp"
#include "hostd/runtime/say.hpp"

namespace {
int say_many(int count) {
  using Clock = std::chrono::steady_clock;
  int slow = 0;
  for (int i = 0; i < count; ++i) {
    const auto before = Clock::now();
    bascule::say(bascule::msg::promise_missing, {.host = "b1"}, "no promise from b1: {}", i);
    if (Clock::now() - before > std::chrono::milliseconds(200)) ++slow;
  }
  std::fprintf(stderr, "%d\n", slow);
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  using namespace bascule;  // NOLINT(google-build-using-namespace)
  start_log();
  int count = 0;
  if (argc == 2 && std::from_chars(argv[1], argv[1] + std::string_view(argv[1]).size(), count).ec == std::errc()) {
    return say_many(count);
  }
  spdlog::info("op-1: step take-right (try 1)");
  say(msg::failover_decided, {.vm = "web1", .host = "b1", .operation = "op-1"},
      "web1: host {} is lost (operation op-1)", "a1");
  say(msg::failover_decided, {.vm = "web2", .host = "b1", .operation = "op-2"}, "web2: host a1 is lost\nMESSAGE_ID=x");
  say(msg::takeover_won, {.vm = "web1", .host = "b1", .operation = "op-1", .epoch = 7}, "taken");
  core::Operation op;
  op.id = "op-1";
  op.kind = core::OpKind::vm_failover;
  op.vm = "web1";
  op.target_host = "b1";
  op.author = {"b1", "host", {}};
  op.reason = "host a1 is lost";
  runtime::tell_begun(op);
  op.state = core::OpState::needs_operator;
  op.error = "no leg";
  op.todo = "look";
  runtime::tell_ended(op);
  say(msg::disk_failed, {.vm = "web1", .host = "b1", .volume = "v1", .alert = "x-1", .caller = "alice"}, "gone");
  return 0;
}
