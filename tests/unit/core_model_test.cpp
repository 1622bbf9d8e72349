// The words of every enum: each value has one, they differ, and they parse back.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "hostd/core/audit_chain.hpp"
#include "hostd/core/model.hpp"

namespace bascule::core {
namespace {

template <class E>
void words(E last, std::optional<E> (*parse)(std::string_view)) {
  std::set<std::string_view> seen;
  for (int i = 0; i <= static_cast<int>(last); ++i) {
    const auto value = static_cast<E>(i);
    const std::string_view word = to_string(value);
    EXPECT_TRUE(seen.insert(word).second) << word;
    EXPECT_EQ(parse(word), value) << word;
  }
  for (const auto* wrong : {"", " ", "no-such-word", "Running"}) EXPECT_FALSE(parse(wrong)) << wrong;
  // The last value named here is the last there is: the one after it has no word.
  EXPECT_EQ(to_string(static_cast<E>(static_cast<int>(last) + 1)), "unknown");
}

TEST(Words, OfASite) { words(Site::b, &parse_site); }
TEST(Words, OfPower) { words(Power::on, &parse_power); }
TEST(Words, OfAProtection) { words(Protection::none, &parse_protection); }
TEST(Words, OfADomainState) { words(DomainState::unknown, &parse_domain_state); }
TEST(Words, OfAnOperationKind) { words(OpKind::ha_arm, &parse_op_kind); }
TEST(Words, OfAnOperationState) { words(OpState::needs_operator, &parse_op_state); }
TEST(Words, OfAStepKind) { words(StepKind::remove_image, &parse_step_kind); }
TEST(Words, OfAStepState) { words(StepState::undone, &parse_step_state); }

TEST(OperationStates, ThreeOfThemAreTheEnd) {
  EXPECT_FALSE(finished(OpState::running));
  EXPECT_FALSE(finished(OpState::undoing));
  EXPECT_TRUE(finished(OpState::done));
  EXPECT_TRUE(finished(OpState::undone));
  EXPECT_TRUE(finished(OpState::needs_operator));
}

AuditRecord record() {
  AuditRecord r;
  r.sequence = 7;
  r.when_ms = 1700000000000;
  r.who = {"alice", "client", "blue"};
  r.why = "r\u00e9paration";
  r.what = "vm-start requested";
  r.object = "vm/vm1";
  r.project = "blue";
  r.operation = "op-1";
  r.previous = first_previous();
  r.hash = "not part of the text";
  return r;
}

TEST(AuditText, IsEveryFieldAsANetstring) {
  EXPECT_EQ(canonical(record()),
            "1:7,13:1700000000000,5:alice,6:client,4:blue,11:r\u00e9paration,18:vm-start requested,6:vm/vm1,4:blue,"
            "4:op-1,0:,64:" +
                std::string(64, '0') + ",");
}

TEST(AuditText, ChangesWithEveryFieldButTheHash) {
  const std::string before = canonical(record());
  const auto differs = [&](auto change) {
    AuditRecord r = record();
    change(r);
    return canonical(r) != before;
  };
  EXPECT_TRUE(differs([](AuditRecord& r) { r.sequence = 8; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.when_ms = 1; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.who.name = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.who.role = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.who.project = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.why = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.what = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.object = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.project = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.operation = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.result = "x"; }));
  EXPECT_TRUE(differs([](AuditRecord& r) { r.previous = "x"; }));
  EXPECT_FALSE(differs([](AuditRecord& r) { r.hash = "x"; }));
}

TEST(AuditText, TwoRecordsWhoseFieldsJoinToTheSameTextDiffer) {
  AuditRecord a = record();
  AuditRecord b = record();
  a.what = "ab";
  a.object = "c";
  b.what = "a";
  b.object = "bc";
  EXPECT_NE(canonical(a), canonical(b));
  a.what = "1:a,1:b";
  a.object = "";
  b.what = "";
  b.object = "1:a,1:b";
  EXPECT_NE(canonical(a), canonical(b));
}

}  // namespace
}  // namespace bascule::core
