#include <gmock/gmock.h>

#include <sstream>
#include <string>
#include <vector>

#include "api/hostctl/chain.hpp"
#include "api/hostctl/csv.hpp"
#include "api/hostctl/operation.hpp"
#include "api/hostctl/sse.hpp"
#include "hostd/core/audit_chain.hpp"

namespace bascule::hostctl {
namespace {
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> parse(const std::string& text, std::size_t piece, SseParser& parser) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < text.size(); i += piece) {
    EXPECT_TRUE(parser.feed(std::string_view(text).substr(i, piece),
                            [&](const SseEvent& e) { out.push_back(e.type + "|" + e.id + "|" + e.data); }));
  }
  return out;
}

TEST(HostctlSse, EventsAreTheSameHoweverTheBytesArrive) {
  const std::string text =
      "\xEF\xBB\xBF: hello\n\nid: 7\nevent: vm.changed\ndata: {\"a\":1}\n\n"
      "data: two\r\ndata:lines\r\n\r\nid\rdata:  kept space\r\rretry: 1500\nunknown: x\n\ndata\n\ndata: cut off";
  const std::vector<std::string> expected{"vm.changed|7|{\"a\":1}", "message|7|two\nlines", "message|| kept space",
                                          "message||"};
  for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}, text.size()}) {
    SseParser parser;
    EXPECT_EQ(parse(text, piece, parser), expected) << piece;
    EXPECT_EQ(parser.retry_ms(), 1500);
  }
}

TEST(HostctlSse, AHalfReadEventIsForgottenButTheIdIsKept) {
  SseParser parser;
  parse("id: 5\ndata: a\n\nid: 6\ndata: b", 4, parser);
  EXPECT_EQ(parser.last_id(), "5");  // 6 was not delivered: it must come again
  parser.reset();
  EXPECT_EQ(parse("data: c\n\n", 3, parser), std::vector<std::string>{"message|5|c"});
}

TEST(HostctlSse, AnEventWithoutEndIsRefused) {
  SseParser parser;
  const auto ignore = [](const SseEvent&) {};
  bool good = true;
  for (int i = 0; i < 100 && good; ++i) good = parser.feed("data: " + std::string(4096, 'x') + "\n", ignore);
  EXPECT_FALSE(good);
}

std::vector<core::AuditRecord> chain(int n) {
  std::vector<core::AuditRecord> out;
  std::string previous = core::first_previous();
  for (int i = 1; i <= n; ++i) {
    core::AuditRecord r;
    r.sequence = i;
    r.when_ms = 1000 + i;
    r.who = {"alice", "operator", ""};
    r.why = "because, 3:of,";
    r.what = "vm-start requested";
    r.object = "vm/db";
    r.project = "acme";
    r.operation = "op" + std::to_string(i);
    r.previous = previous;
    r.hash = previous = chain_hash(r);
    out.push_back(r);
  }
  return out;
}

std::string verify(const std::vector<core::AuditRecord>& records) {
  ChainChecker checker;
  for (const auto& r : records) checker.add(r);
  return checker.problem().value_or("ok " + std::to_string(checker.count()));
}

TEST(HostctlChain, TheCanonicalTextIsNetstringsInTheOrderOfTheRecord) {
  EXPECT_EQ(core::canonical(chain(1)[0]).substr(0, 88),
            "1:1,4:1001,5:alice,8:operator,0:,14:because, 3:of,,18:vm-start requested,5:vm/db,4:acme,");
  // Computed with: printf %s '<canonical text>' | sha256sum
  EXPECT_EQ(chain_hash(core::AuditRecord{}), "7eb0745ea520dace990e27653730fc096e1fa3e353fb0afc238ff2a7770675cb");
}

TEST(HostctlChain, AnUntouchedChainPasses) { EXPECT_EQ(verify(chain(20)), "ok 20"); }

TEST(HostctlChain, EveryChangedFieldIsFound) {
  using R = core::AuditRecord;
  const std::vector<void (*)(R&)> changes{[](R& r) { r.when_ms += 1; },
                                          [](R& r) { r.who.name = "mallory"; },
                                          [](R& r) { r.who.role = "client"; },
                                          [](R& r) { r.who.project = "x"; },
                                          [](R& r) { r.why += "!"; },
                                          [](R& r) { r.what = "nothing"; },
                                          [](R& r) { r.object = "vm/other"; },
                                          [](R& r) { r.project = ""; },
                                          [](R& r) { r.operation = ""; },
                                          [](R& r) { r.result = "done"; },
                                          [](R& r) { r.hash[0] = r.hash[0] == '0' ? '1' : '0'; }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    auto records = chain(5);
    changes[i](records[2]);
    EXPECT_THAT(verify(records), HasSubstr("record 3 was changed")) << i;
  }
}

TEST(HostctlChain, AChangeThatWasHashedAgainBreaksTheNextRecord) {
  auto records = chain(5);
  records[2].why = "another";
  records[2].hash = chain_hash(records[2]);
  EXPECT_THAT(verify(records), HasSubstr("record 4 does not follow"));
}

TEST(HostctlChain, RemovalInsertionAndReorderingAreFound) {
  auto removed = chain(5);
  removed.erase(removed.begin() + 1);
  EXPECT_THAT(verify(removed), HasSubstr("record 2 is missing"));
  auto first = chain(5);
  first.erase(first.begin());
  EXPECT_THAT(verify(first), HasSubstr("record 1 is missing"));
  auto twice = chain(5);
  twice.insert(twice.begin() + 2, twice[1]);
  EXPECT_THAT(verify(twice), HasSubstr("record 2 comes a second time, after record 2"));
  auto swapped = chain(5);
  std::swap(swapped[1], swapped[2]);
  EXPECT_THAT(verify(swapped), HasSubstr("records 2 and 3 stand in the wrong order"));
  auto gap = chain(9);
  gap.erase(gap.begin() + 2, gap.begin() + 5);
  EXPECT_THAT(verify(gap), HasSubstr("records 3 to 5 are missing: after 2 comes 6"));
  const auto numbered = [](std::vector<core::AuditRecord> records) {
    for (std::size_t i = 0; i < records.size(); ++i) records[i].sequence = static_cast<std::int64_t>(i) + 1;
    return records;
  };
  auto fewer = chain(5);
  fewer.erase(fewer.begin() + 1);
  EXPECT_THAT(verify(numbered(fewer)), HasSubstr("record 2 was written as record 3: something before it was removed"));
  auto more = chain(5);
  more.insert(more.begin() + 2, more[0]);
  EXPECT_THAT(verify(numbered(more)), HasSubstr("record 3 was written as record 1: something was inserted"));
  auto forged = more;
  forged[2].sequence = 3;
  forged[2].previous = forged[1].hash;
  forged[2].hash = chain_hash(forged[2]);
  EXPECT_THAT(verify(numbered(forged)),
              HasSubstr("record 4 was written as record 3: something was inserted before it"));
  forged = chain(5);
  forged.insert(forged.begin() + 2, forged[2]);
  forged[2].previous = std::string(64, 'a');
  EXPECT_THAT(verify(forged), HasSubstr("a record was inserted before record 3: two have that number"));
}

TEST(HostctlCsv, WhatWasWrittenIsReadAgain) {
  const std::vector<std::string> fields{"",   "plain", "a,b", "say \"x\"", "two\r\nlines", "=1",  "'=1",
                                        "''", "-",     "@",   "\t",        "\xEF\xBC\x9D", " =1", "x'"};
  const std::string row = csv_row(fields);
  EXPECT_TRUE(row.ends_with("\r\n"));
  std::istringstream in(row + row);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(read_csv_row(in).value(), fields);
  EXPECT_TRUE(read_csv_row(in).value().empty());
}

TEST(HostctlCsv, NoFieldBeginsLikeAFormula) {
  for (const char* text : {"=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "\xEF\xBC\x9D", "\xEF\xBC\x8B", "\xEF\xBC\x8D",
                           "\xEF\xBC\xA0", "'=1"}) {
    EXPECT_TRUE(csv_row({text}).starts_with("\"'")) << text;
  }
  EXPECT_EQ(csv_row({"a", ""}), "\"a\",\"\"\r\n");
}

TEST(HostctlCsv, ABrokenRowIsAnError) {
  for (const char* text : {"\"open", "\"a\"b\r\n", "\"a\",", "\"a\"", "plain", "\"a\"\rb"}) {
    std::istringstream in(text);
    EXPECT_FALSE(read_csv_row(in)) << text;
  }
  std::istringstream plain("a,b\n\"c\",d\r\n");
  EXPECT_EQ(read_csv_row(plain).value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(read_csv_row(plain).value(), (std::vector<std::string>{"c", "d"}));
}

OpView migration() {
  OpView op;
  op.id = "0000abcd";
  op.kind = "vm-migrate";
  op.vm = "db";
  op.state = "running";
  op.steps = {{"admit-migration", "a1", "done", "", 20},
              {"open-window", "a1", "done", "", 300},
              {"live-migrate", "a1", "pending", "", 0},
              {"close-window", "a1", "pending", "", 0}};
  op.percent = 50;
  op.progress_text = "64 of 128 MiB";
  return op;
}

TEST(HostctlFollow, TheBarCountsStepsAndTheShareOfTheRunningOne) {
  EXPECT_EQ(status_line(migration(), 0), "[############........] 2/4 live-migrate on a1 50 %: 64 of 128 MiB");
  EXPECT_EQ(status_line(migration(), 30), "[############........] 2/4 li…");
}

TEST(HostctlFollow, OnATerminalTheLastLineIsRedrawn) {
  Follower f(true, false, 80);
  OpView op = migration();
  const std::string first = f.update(op);
  EXPECT_THAT(first, HasSubstr("vm-migrate db  operation 0000abcd\n"));
  EXPECT_THAT(first, HasSubstr("  + open-window on a1 (300 ms)\n"));
  op.steps[2].state = "done";
  const std::string second = f.update(op);
  EXPECT_THAT(second, testing::StartsWith("\r\x1b[K  + live-migrate on a1\n["));
  op.steps[3].state = "done";
  op.state = "done";
  op.result = {{"downtime_ms", "43"}};
  const std::string last = f.update(op);
  EXPECT_THAT(last, HasSubstr("done: vm-migrate db"));
  EXPECT_THAT(last, HasSubstr("done: vm-migrate db, downtime 43 ms\n"));
  EXPECT_EQ(f.clear(), "");
}

TEST(HostctlFollow, WithoutATerminalLinesAreOnlyAddedAndNotForEveryPercent) {
  Follower f(false, false, 0);
  OpView op = migration();
  EXPECT_THAT(f.update(op), HasSubstr("50 %"));
  op.percent = 51;
  EXPECT_EQ(f.update(op), "");
  op.percent = 60;
  const std::string next = f.update(op);
  EXPECT_THAT(next, HasSubstr("60 %"));
  EXPECT_THAT(next, Not(HasSubstr("\r")));
}

TEST(HostctlFollow, AnUndoneOperationSaysWhyAndEachEndHasItsExitCode) {
  OpView op = migration();
  op.state = "undone";
  op.error = "the link broke\x1b[0m";
  op.todo = "";
  EXPECT_EQ(ending(op, false), "undone: vm-migrate db\n  why: the link broke\\x1b[0m\n");
  EXPECT_EQ(exit_of(op), Exit::undone);
  op.state = "needs-operator";
  op.todo = "look at b1";
  EXPECT_THAT(ending(op, false), HasSubstr("to do: look at b1"));
  EXPECT_EQ(exit_of(op), Exit::needs_operator);
  op.state = "done";
  EXPECT_EQ(exit_of(op), Exit::done);
}

}  // namespace
}  // namespace bascule::hostctl
