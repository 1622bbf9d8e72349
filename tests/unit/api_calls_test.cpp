// Router, handlers, pages and event streams before the fake cell, without a socket.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include "api/router.hpp"
#include "api/stream.hpp"
#include "tests/testkit/fake_cell.hpp"

namespace bascule::api {
namespace {

namespace asio = boost::asio;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const core::Caller kOperator{core::Role::operator_, "olga", ""};
const core::Caller kClient{core::Role::client, "carl", "blue"};

asio::awaitable<void> answer(Router& router, Call call, HttpReply& out) { out = co_await router.handle(call); }

struct Api : ::testing::Test {
  asio::io_context io;
  test::FakeCell cell{io.get_executor(), "/nowhere"};
  Router router{cell};

  HttpReply call(HttpRequest request, const core::Caller& caller = kOperator) {
    auto opened = router.open(std::move(request), caller);
    if (auto* refusal = std::get_if<HttpReply>(&opened)) return *refusal;
    HttpReply out;
    auto task = answer(router, std::get<Call>(std::move(opened)), out);
    asio::co_spawn(io, std::move(task), asio::detached);
    io.restart();
    io.run();
    return out;
  }
  HttpReply get(const std::string& target, const core::Caller& caller = kOperator) {
    return call({"GET", target, {}, {}}, caller);
  }
  json items(const std::string& target, const core::Caller& caller = kOperator) {
    return json::parse(*get(target, caller).body)["items"];
  }
};

TEST_F(Api, WhoIsNobodyGetsNothing) {
  const auto opened = router.open({"GET", "/v1/version", {}, {}}, core::fail(core::Errc::forbidden, "nobody"));
  EXPECT_EQ(std::get<HttpReply>(opened).status, 403);
}

TEST_F(Api, TheRoleIsCheckedBeforeAnythingIsToldOfTheObject) {
  EXPECT_EQ(call({"DELETE", "/v1/vms/NOT-A-NAME", {}, {}}, kClient).status, 403);
  EXPECT_EQ(call({"DELETE", "/v1/vms/NOT-A-NAME", {}, {}}, kOperator).status, 400);
}

TEST_F(Api, APageIsMadeOncePerChange) {
  cell.add_vm("web", "blue", true);
  cell.add_vm("db", "blue", true);
  get("/v1/vms");
  get("/v1/vms");
  get("/v1/vms", kClient);
  get("/v1/vms", kClient);
  EXPECT_EQ(router.pages().made(), 2U);
  cell.changed("host.changed", "a1", "");
  get("/v1/vms");
  EXPECT_EQ(router.pages().made(), 3U);
}

TEST_F(Api, AKeptPageNeverOutlivesWhatItShows) {
  cell.add_vm("web", "blue", true);
  const auto state = [&] { return items("/v1/vms")[0]["state"].get<std::string>(); };
  EXPECT_EQ(state(), "running");
  auto& vm = cell.edit().vms["web"];
  vm.status["a1"].domain = core::DomainState::paused;
  cell.changed("vm.changed", "web", "blue");
  EXPECT_EQ(state(), "paused");
  vm.status["a1"].suspended = "fencing";
  cell.changed("vm.changed", "web", "blue");
  EXPECT_EQ(state(), "frozen");
  cell.edit().hosts["a1"].silent = true;  // no new revision
  EXPECT_EQ(state(), "unknown");
  cell.edit().hosts["a1"].silent = false;
  vm.right.value.insync["root"].pop_back();
  vm.right.revision = cell.changed("vm.changed", "web", "blue");
  EXPECT_FALSE(items("/v1/vms")[0]["protected"].get<bool>());
  cell.edit().vms.erase("web");
  cell.changed("vm.removed", "web", "blue");
  EXPECT_TRUE(items("/v1/vms").empty());
}

TEST_F(Api, AClientNeverGetsAnotherProjectsPage) {
  cell.add_vm("web", "blue", true);
  cell.add_vm("shop", "green", true);
  EXPECT_EQ(items("/v1/vms").size(), 2U);
  EXPECT_EQ(items("/v1/vms", kClient).size(), 1U);
  EXPECT_EQ(items("/v1/vms?project=green", kClient).size(), 0U);
  EXPECT_EQ(items("/v1/vms?project=green").size(), 1U);
  EXPECT_EQ(items("/v1/vms?project=green", kClient).size(), 0U);
}

TEST_F(Api, ACursorBehindTheEndIsAnEmptyPage) {
  cell.add_vm("web", "blue", true);
  for (const char* target : {"/v1/vms?after=zzz", "/v1/volumes?after=zzz/x", "/v1/drills?after=zzz",
                             "/v1/operations?after=0", "/v1/hosts?after=z"}) {
    EXPECT_TRUE(items(target).empty()) << target;
  }
}

TEST_F(Api, OperationsThatAreNoClientsAreNotShownToOne) {
  cell.edit().operations["op-1"] = {{}, 1, 1};  // of an image: no project
  EXPECT_EQ(items("/v1/operations").size(), 1U);
  EXPECT_TRUE(items("/v1/operations", core::Caller{core::Role::client, "x", ""}).empty());
}

TEST_F(Api, DrillsAreWhatTheCellHasSeenAndAClientSeesItsOwn) {
  cell.add_vm("web", "blue", true);
  cell.add_vm("shop", "green", true);
  cell.edit().vms["web"].spec.value.drill_every_days = 90;
  EXPECT_TRUE(items("/v1/drills?vm=web")[0]["overdue"].get<bool>()) << "none was ever made";
  HttpRequest move{"POST", "/v1/vms/web/actions/migrate", {{"bascule-reason", "a drill"}}, {}};
  const auto id = json::parse(*call(std::move(move)).body)["operation"].get<std::string>();
  ASSERT_TRUE(cell.finish(id, core::OpState::done));
  const auto all = items("/v1/drills");
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["vm"], "shop");
  EXPECT_FALSE(all[0]["overdue"].get<bool>()) << "nobody asks for one";
  EXPECT_EQ(all[1]["last"]["what"], "vm-migrate");
  EXPECT_EQ(all[1]["last"]["operation"], id);
  EXPECT_EQ(all[1]["due_ms"], all[1]["last"]["when_ms"].get<std::int64_t>() + 90 * core::kDayMs);
  EXPECT_EQ(items("/v1/drills", kClient).size(), 1U);
  EXPECT_EQ(items("/v1/drills?vm=shop", kClient).size(), 0U);
  EXPECT_EQ(items("/v1/drills?project=green").size(), 1U);
}

// ---- streams ----

struct Sink {
  std::string text;
  int writes_left{1000};
};

asio::awaitable<void> read(Follower& follower, Sink& sink) {
  while (sink.writes_left-- > 0) {
    auto next = follower.next();
    const auto text = co_await std::move(next);
    if (text.empty()) co_return;
    sink.text += text;
  }
}

struct Streams : Api {
  Sink sink;
  std::optional<Follower> follower;

  Call call_of(const std::string& target, const core::Caller& caller, const char* last) {
    HttpRequest request{"GET", target, {}, {}};
    if (last != nullptr) request.headers["last-event-id"] = last;
    return std::get<Call>(router.open(std::move(request), caller));
  }
  core::Result<Subscription> subscription(const std::string& target, const char* last = nullptr) {
    return Subscription::of(call_of(target, kOperator, last));
  }
  /// Runs a stream until `writes` texts were written or nothing more happens for a while.
  std::string follow(const std::string& target, int writes, const core::Caller& caller = kOperator,
                     const char* last = nullptr, int heartbeat_ms = 20) {
    sink = {};
    sink.writes_left = writes;
    const Call c = call_of(target, caller, last);
    auto s = Subscription::of(c);
    EXPECT_TRUE(s.has_value());
    follower.emplace(c, *s, io.get_executor(), std::chrono::milliseconds(heartbeat_ms));
    auto task = read(*follower, sink);
    asio::co_spawn(io, std::move(task), asio::detached);
    io.restart();
    io.run_for(std::chrono::seconds(5));
    return sink.text;
  }
};

TEST_F(Streams, WhatIsKeptComesFirstThenHeartbeats) {
  cell.add_vm("web", "blue", true);
  const auto text = follow("/v1/events", 3);
  EXPECT_THAT(
      text,
      HasSubstr("id: 101\nevent: vm.changed\ndata: {\"object\":\"web\",\"revision\":101,\"type\":\"vm.changed\"}\n\n"));
  EXPECT_THAT(text, HasSubstr(": still here\n\n"));
}

TEST_F(Streams, AStreamGoesOnAfterTheLastIdAndTheHeaderWins) {
  for (int i = 0; i < 5; ++i) cell.changed("vm.changed", "v" + std::to_string(i), "");
  const auto text = follow("/v1/events?after=100", 1, kOperator, "103");
  EXPECT_THAT(text, ::testing::Not(HasSubstr("id: 103")));
  EXPECT_THAT(text, HasSubstr("id: 104"));
}

TEST_F(Streams, AGapAndAnIdFromTheFutureAreResets) {
  cell.add_vm("web", "blue", true);
  cell.forget_events();
  EXPECT_THAT(follow("/v1/events", 1, kOperator, "50"), HasSubstr("id: 101\nevent: reset\n"));
  EXPECT_THAT(follow("/v1/events", 1, kOperator, "5000"), HasSubstr("id: 101\nevent: reset\n"));
}

TEST_F(Streams, AClientSeesItsProjectOnlyAndStillHearsTheHeartbeat) {
  cell.changed("vm.changed", "web", "blue");
  cell.changed("vm.changed", "shop", "green");
  cell.changed("host.changed", "a1", "");
  const auto text = follow("/v1/events", 3, kClient);
  EXPECT_THAT(text, HasSubstr("web"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("shop")));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("a1")));
  EXPECT_THAT(text, HasSubstr("still here"));
}

TEST_F(Streams, ManyEventsAreWrittenInPieces) {
  for (int i = 0; i < 450; ++i) cell.changed("vm.changed", "web", "blue");
  follow("/v1/events", 1);
  const auto first = sink.text.size();
  follow("/v1/events", 3);
  EXPECT_GT(sink.text.size(), 2 * first);
  EXPECT_THAT(sink.text, HasSubstr("id: 550\n"));
}

TEST_F(Streams, ASubscriberThatLeavesEndsItAtOnce) {
  asio::steady_timer timer(io, std::chrono::milliseconds(20));
  timer.async_wait([this](auto) { follower->leave(); });
  const auto began = std::chrono::steady_clock::now();
  follow("/v1/events", 1000, kOperator, nullptr, 60'000);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
}

TEST_F(Streams, AFilterTakesTypesKindsAndOneObject) {
  const Event changed{1, "vm.changed", "web", ""};
  const Event progress{1, "operation.progress", "op-1", ""};
  const auto all = subscription("/v1/events");
  EXPECT_TRUE(all->wants(changed) && all->wants(progress) && all->from_oldest);
  const auto kind = subscription("/v1/events?type=vm");
  EXPECT_TRUE(kind->wants(changed));
  EXPECT_FALSE(kind->wants(progress));
  EXPECT_FALSE(subscription("/v1/events?type=v")->wants(changed));
  EXPECT_TRUE(subscription("/v1/events?type=operation.progress,vm.removed")->wants(progress));
  EXPECT_FALSE(subscription("/v1/events?type=vm&object=db")->wants(changed));
}

TEST_F(Streams, BadWishesAreRefused) {
  for (const char* target : {"/v1/events?after=x", "/v1/events?type=VM", "/v1/events?type=vm,", "/v1/events?type=,vm",
                             "/v1/events?type=a%20b"}) {
    EXPECT_FALSE(subscription(target).has_value()) << target;
  }
  EXPECT_FALSE(subscription("/v1/events?object=" + std::string(65, 'x')).has_value());
  EXPECT_FALSE(subscription("/v1/events", "latest").has_value());
}

}  // namespace
}  // namespace bascule::api
