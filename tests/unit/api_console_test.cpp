// The console's files: what is read at start, and what a request can and cannot get.
#include "api/console_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace bascule::api {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

struct Console : ::testing::Test {
  fs::path folder = fs::path(::testing::TempDir()) / ("console-" + std::to_string(::getpid()));

  void SetUp() override {
    fs::remove_all(folder);
    fs::create_directories(folder / "assets");
    put("index.html", "<!doctype html>");
    put("assets/index-abc.js", "let a = 1");
    put("assets/index-abc.css", "a{}");
    std::ofstream(folder.parent_path() / "secret.txt") << "secret";
  }
  void TearDown() override { fs::remove_all(folder); }
  void put(const std::string& name, const std::string& text) const { std::ofstream(folder / name) << text; }
  ConsoleFiles files() const {
    auto out = ConsoleFiles::load(folder.string());
    EXPECT_TRUE(out.has_value()) << out.error().what;
    return out ? *out : ConsoleFiles("");
  }
  std::string fault() const {
    const auto out = ConsoleFiles::load(folder.string());
    return out ? "loaded" : out.error().what;
  }
};

std::string header(const HttpReply& reply, std::string_view name) {
  for (const auto& [key, value] : reply.headers) {
    if (key == name) return value;
  }
  return {};
}
HttpReply get(const ConsoleFiles& files, const std::string& target, const std::string& method = "GET") {
  const auto out = files.answer({method, target, {}, {}});
  return out ? *out : HttpReply{.status = 0};
}

TEST_F(Console, EachFileHasItsTypeItsTagAndItsCacheRule) {
  const auto all = files();
  EXPECT_EQ(all.size(), 3U);
  const auto page = get(all, "/console/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(*page.body, "<!doctype html>");
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_EQ(page.cache, "no-cache");
  EXPECT_THAT(header(page, "Content-Security-Policy"),
              ::testing::AllOf(HasSubstr("default-src 'none'"), HasSubstr("frame-ancestors 'none'"),
                               ::testing::Not(HasSubstr("unsafe"))));
  EXPECT_EQ(header(page, "Referrer-Policy"), "no-referrer");
  EXPECT_EQ(get(all, "/console/?x=1").status, 200);
  const auto script = get(all, "/console/assets/index-abc.js");
  EXPECT_EQ(script.content_type, "text/javascript; charset=utf-8");
  EXPECT_THAT(std::string(script.cache), HasSubstr("immutable"));
  EXPECT_EQ(get(all, "/console/assets/index-abc.css").content_type, "text/css; charset=utf-8");
  EXPECT_NE(header(page, "ETag"), header(script, "ETag"));
}

TEST_F(Console, WhatIsKnownIsNotSentAgain) {
  const auto all = files();
  const auto tag = header(get(all, "/console/"), "ETag");
  const auto with = [&](const std::string& known) {
    return *all.answer({"GET", "/console/", {{"if-none-match", known}}, {}});
  };
  for (const auto& known : {tag, "W/" + tag, "\"x\" , " + tag, std::string("*")}) {
    EXPECT_EQ(with(known).status, 304) << known;
    EXPECT_TRUE(with(known).body_stays);
  }
  for (const auto& known : {std::string("\"x\""), std::string(), std::string(","), tag.substr(1)}) {
    EXPECT_EQ(with(known).status, 200) << known;
  }
}

TEST_F(Console, HeadSaysTheLengthAndSendsNothing) {
  const auto head = get(files(), "/console/", "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(head.body_stays);
  EXPECT_EQ(head.body->size(), 15U);
}

TEST_F(Console, NoAddressLeadsOutOfTheList) {
  const auto all = files();
  for (const char* target :
       {"/console/../secret.txt", "/console/..%2fsecret.txt", "/console/%2e%2e/secret.txt", "/console//etc/passwd",
        "/console/assets/../../secret.txt", "/console/assets/", "/console/assets", "/console/index.html",
        "/console/%69ndex.html", "/console/./", "/console/assets/index-abc.js/", "/console/assets/index-abc.js%00",
        "/console/ASSETS/index-abc.js", "/console/\\..\\secret.txt"}) {
    const auto out = get(all, target);
    EXPECT_EQ(out.status, 404) << target;
    EXPECT_EQ(out.content_type, "application/problem+json") << target;
  }
  for (const char* target : {"/v1/vms", "/consoles", "/console.txt", "*", "", "//console/"}) {
    EXPECT_FALSE(all.answer({"GET", target, {}, {}}).has_value()) << target;
  }
  EXPECT_EQ(get(all, "/console/", "POST").status, 405);
  EXPECT_EQ(header(get(all, "/console/", "DELETE"), "Allow"), "GET, HEAD");
  EXPECT_EQ(get(all, "/").status, 308);
  EXPECT_EQ(header(get(all, "/console"), "Location"), "/console/");
}

TEST_F(Console, AFolderThatIsNotTheConsoleIsRefused) {
  EXPECT_EQ(fault(), "loaded");
  put(".hidden", "x");
  EXPECT_THAT(fault(), HasSubstr("of no kind"));
  fs::remove(folder / ".hidden");
  put("key.pem", "x");
  EXPECT_THAT(fault(), HasSubstr("of no kind"));
  fs::remove(folder / "key.pem");
  fs::create_symlink(folder.parent_path() / "secret.txt", folder / "a.txt");
  EXPECT_THAT(fault(), HasSubstr("not a plain file"));
  fs::remove(folder / "a.txt");
  fs::create_directory(folder / "more");
  EXPECT_THAT(fault(), HasSubstr("not a plain file"));
  fs::remove(folder / "more");
  for (std::size_t i = 0; i <= ConsoleFiles::kFiles; ++i) put(std::to_string(i) + ".txt", "x");
  EXPECT_THAT(fault(), HasSubstr("more than 64 files"));
  for (std::size_t i = 0; i <= ConsoleFiles::kFiles; ++i) fs::remove(folder / (std::to_string(i) + ".txt"));
  put("big.txt", "");
  fs::resize_file(folder / "big.txt", ConsoleFiles::kBytes + 1);
  EXPECT_THAT(fault(), HasSubstr("bytes"));
  fs::remove(folder / "big.txt");
  fs::remove(folder / "index.html");
  EXPECT_THAT(fault(), HasSubstr("no index.html"));
  EXPECT_THAT(ConsoleFiles::load("/nowhere/at/all").error().what, HasSubstr("cannot read /nowhere"));
}

TEST_F(Console, WithoutFilesItSaysSo) {
  const ConsoleFiles none("cannot read /x");
  const auto out = get(none, "/console/");
  EXPECT_EQ(out.status, 404);
  EXPECT_THAT(*out.body, HasSubstr("cannot read /x"));
  EXPECT_EQ(get(none, "/").status, 404);
}

}  // namespace
}  // namespace bascule::api
