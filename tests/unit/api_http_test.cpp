#include "api/http.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "api/message.hpp"
#include "api/routes.hpp"

namespace bascule::api {
namespace {

using core::Errc;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Target, IsSplitAndDecoded) {
  const auto t = parse_target("/v1/vms/w%65b?limit=10&after=a%2fb&x");
  ASSERT_TRUE(t.has_value());
  EXPECT_THAT(t->segments, ElementsAre("v1", "vms", "web"));
  EXPECT_EQ(t->query.at("after"), "a/b");
  EXPECT_EQ(t->query.at("x"), "");
}

TEST(Target, TricksAreRefused) {
  for (const std::string bad : {"",
                                "v1/vms",
                                "http://x/v1/vms",
                                "*",
                                "/",
                                "//",
                                "/v1//vms",
                                "/v1/vms/",
                                "/v1/./vms",
                                "/v1/../etc",
                                "/v1/%2e%2e/etc",
                                "/v1/%2E",
                                "/v1/%",
                                "/v1/%4",
                                "/v1/%4g",
                                "/v1/a%00b",
                                "/v1/a%0a",
                                "/v1/a%7f",
                                "/a/b/c/d/e/f/g/h/i",
                                "/v1/vms?a=1&a=2",
                                "/v1/vms?=1",
                                "/v1/vms?a=%0d",
                                "/v1/vms?a=%",
                                "/v1/vms?&"}) {
    const auto t = parse_target(bad);
    ASSERT_FALSE(t.has_value()) << bad;
    EXPECT_EQ(t.error().code, Errc::invalid);
  }
  EXPECT_FALSE(parse_target("/" + std::string(2048, 'a')).has_value());
  std::string many = "/v1/vms?p0=0";
  for (int i = 1; i < 17; ++i) many += "&p" + std::to_string(i) + "=0";
  EXPECT_FALSE(parse_target(many).has_value());
}

TEST(Number, IsPlainDecimal) {
  EXPECT_EQ(parse_number("0"), 0);
  EXPECT_EQ(parse_number("9223372036854775807"), INT64_MAX);
  for (const char* bad :
       {"", "-1", "+1", " 1", "1 ", "1.0", "0x1", "1e3", "9223372036854775808", "00000000000000000001"}) {
    EXPECT_FALSE(parse_number(bad).has_value()) << bad;
  }
}

TEST(EntityTag, GoesThereAndBack) {
  EXPECT_EQ(etag(42), "\"42\"");
  EXPECT_EQ(parse_etag("\"42\""), 42);
  for (const char* bad : {"", "42", "\"", "\"\"", "\"42", "42\"", "W/\"42\"", "\"-1\"", "\"4 2\"", "\"1\",\"2\""}) {
    EXPECT_FALSE(parse_etag(bad).has_value()) << bad;
  }
}

TEST(Percent, DecodesOrRefuses) {
  EXPECT_EQ(decode_percent("caf%C3%a9 %25"), "café %");
  for (const char* bad : {"%", "%1", "%g0", "a%0", "%%41"}) EXPECT_FALSE(decode_percent(bad).has_value()) << bad;
}

TEST(Problem, HasTheStatusOfItsErrorAndTellsNothingOfABug) {
  const struct {
    Errc code;
    int status;
  } table[] = {{Errc::invalid, 400},  {Errc::forbidden, 403},   {Errc::not_found, 404},       {Errc::conflict, 409},
               {Errc::refused, 409},  {Errc::cancelled, 409},   {Errc::stale, 412},           {Errc::io, 500},
               {Errc::internal, 500}, {Errc::unavailable, 503}, {Errc::outcome_unknown, 504}, {Errc::timeout, 504},
               {Errc::exhausted, 507}};
  for (const auto& [code, status] : table) {
    const auto reply = problem(core::fail(code, "the disk /dev/secret broke"), "/v1/vms/web?dry_run=true");
    EXPECT_EQ(reply.status, status);
    EXPECT_FALSE(reason_phrase(status).empty());
    const auto body = nlohmann::json::parse(*reply.body);
    EXPECT_EQ(body["status"], status);
    EXPECT_EQ(body["code"], core::to_string(code));
    EXPECT_EQ(body["instance"], "/v1/vms/web");
    EXPECT_EQ(body["detail"].get<std::string>().find("secret") == std::string::npos, status == 500);
  }
}

TEST(Problem, TextThatIsNotUtf8IsShownWithoutHarm) {
  const auto reply = problem(core::fail(Errc::invalid, "bad \xff name"), "/v1/\xc3");
  EXPECT_FALSE(nlohmann::json::parse(*reply.body, nullptr, false).is_discarded());
}

// ---- routes ----

std::vector<std::string> segments(const std::string& path) { return parse_target(path)->segments; }

TEST(Routes, EveryRouteFindsItself) {
  for (const auto& route : routes()) {
    std::string path(route.path);
    for (auto open = path.find('{'); open != std::string::npos; open = path.find('{')) {
      path.replace(open, path.find('}') - open + 1, "web");
    }
    EXPECT_EQ(find_route(route.method, segments(path)).route, &route) << path;
    auto longer = segments(path);
    longer.insert(longer.end(), {"no", "such", "place"});
    EXPECT_EQ(find_route(route.method, longer).route, nullptr) << path;
  }
}

TEST(Routes, AWrongMethodIsToldTheRightOnes) {
  EXPECT_EQ(find_route("POST", segments("/v1/vms/web")).allow, "GET, PUT, DELETE");
  EXPECT_EQ(find_route("get", segments("/v1/vms")).allow, "GET");
  EXPECT_EQ(find_route("GET", segments("/v1/vms/web/console")).allow, "");
}

TEST(Routes, OnlyReadingIsOpenToThoseWhoOnlyRead) {
  for (const auto& route : routes()) {
    const bool reads = route.method == "GET";
    if (route.access == Access::hosts_only) {  // between hosts: nobody else, whatever they may do otherwise
      EXPECT_EQ(route.path, "/v1/lease-promise");
      EXPECT_FALSE(allowed(route.access, core::Role::operator_));
      EXPECT_FALSE(allowed(route.access, core::Role::auditor));
      EXPECT_FALSE(allowed(route.access, core::Role::client));
      EXPECT_TRUE(allowed(route.access, core::Role::host));
      continue;
    }
    EXPECT_TRUE(allowed(route.access, core::Role::operator_));
    EXPECT_EQ(allowed(route.access, core::Role::auditor), reads) << route.path;
    EXPECT_EQ(allowed(route.access, core::Role::host), reads) << route.path;
    EXPECT_EQ(route.kind == Kind::read || route.kind == Kind::events, reads) << route.path;
  }
}

TEST(Routes, AClientMayChangeFiveThingsAndNoMore) {
  std::vector<std::string> may;
  for (const auto& route : routes()) {
    if (route.method != "GET" && allowed(route.access, core::Role::client)) may.emplace_back(route.path);
  }
  EXPECT_THAT(
      may, ElementsAre("/v1/vms/{vm}/actions/start", "/v1/vms/{vm}/actions/shutdown", "/v1/vms/{vm}/actions/power-off",
                       "/v1/vms/{vm}/actions/reset", "/v1/operations/{operation}/actions/cancel"));
}

// ---- messages ----

core::Result<HttpRequest> parse(const std::string& text) { return parse_message(text, 8192, 1024); }

TEST(Message, IsTakenApart) {
  const auto m = parse("PUT /v1/vms/web?dry_run=true HTTP/1.1\r\nHost: a1\r\nIF-MATCH: \"7\"\r\nX-Other: "
                       "y\r\nContent-Length: 2\r\n\r\n{}");
  ASSERT_TRUE(m.has_value()) << m.error().what;
  EXPECT_EQ(m->method, "PUT");
  EXPECT_EQ(m->target, "/v1/vms/web?dry_run=true");
  EXPECT_EQ(*m->header("if-match"), "\"7\"");
  EXPECT_EQ(m->header("x-other"), nullptr);
  EXPECT_EQ(m->body, "{}");
}

TEST(Message, WhatIsNotOneRequestIsRefused) {
  const std::string big(2000, 'x');
  for (const std::string& bad :
       {std::string("\x16\x03\x01"), std::string("GET\r\n\r\n"), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), std::string("GET / HTTP/1.1\r\nHost: a\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: a\r\nIf-Match: \"1\"\r\nIf-Match: \"2\"\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        std::string("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + big,
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + big + "\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(9000, 'y') + "\r\n\r\n"}) {
    const auto m = parse(bad);
    ASSERT_FALSE(m.has_value()) << bad.substr(0, 100);
    EXPECT_EQ(m.error().code, Errc::invalid);
  }
}

TEST(Message, AContentTypeMayHaveParametersAndCapitals) {
  HttpRequest r;
  EXPECT_FALSE(has_content_type(r, "application/json"));
  for (const char* good :
       {"application/json", "Application/JSON", "application/json; charset=utf-8", "application/json ;x"}) {
    r.headers["content-type"] = good;
    EXPECT_TRUE(has_content_type(r, "application/json")) << good;
  }
  for (const char* bad : {"", "application/jsonx", "text/json", "application/json/x", "*/*"}) {
    r.headers["content-type"] = bad;
    EXPECT_FALSE(has_content_type(r, "application/json")) << bad;
  }
}

}  // namespace
}  // namespace bascule::api
