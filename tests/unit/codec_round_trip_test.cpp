#include <gtest/gtest.h>

#include <algorithm>

#include "codec_records.hpp"
#include "hostd/codec/codec.hpp"

namespace bascule::codec {
namespace {

using test::full;

template <class T>
class EveryStruct : public testing::Test {};
using Structs = testing::Types<core::VolumeSpec, core::NicSpec, core::VmSpec, core::Leg, core::VolumeLayout,
                               core::Layout, core::Writer, core::Right, core::VmStatus::Volume, core::VmStatus,
                               core::HostInfo, core::HostLease, core::FenceIntent, core::Maintenance, core::LastCare,
                               core::Disarmed, core::Restore, core::Restored, core::Image, core::Step, core::Who,
                               core::Operation, core::Progress, core::AuditRecord, core::AuditHead, core::Notes,
                               core::Delivery, core::Alert, core::SignedHead, core::Outage, core::HistoryDay>;
TYPED_TEST_SUITE(EveryStruct, Structs);

TYPED_TEST(EveryStruct, IsDescribedFieldByField) {
  TypeParam record{};
  test::Lister list;
  describe(list, record);
  EXPECT_EQ(list.places, test::fields_of(record)) << "describe() forgets a field, or has them in another order";
}

TYPED_TEST(EveryStruct, GivesEachFieldItsOwnName) {
  TypeParam record{};
  test::Lister list;
  describe(list, record);
  std::ranges::sort(list.names);
  EXPECT_TRUE(std::ranges::adjacent_find(list.names) == list.names.end());
}

TYPED_TEST(EveryStruct, IsNotItsDefaultWhenFilled) { EXPECT_FALSE(full<TypeParam>() == TypeParam{}); }

template <class T>
class EveryRecord : public testing::Test {};
using Records = testing::Types<core::VmSpec, core::Layout, core::Right, core::VmStatus, core::HostInfo, core::HostLease,
                               core::FenceIntent, core::Maintenance, core::LastCare, core::Disarmed, core::Restore,
                               core::Restored, core::Image, core::Operation, core::Progress, core::AuditRecord,
                               core::AuditHead, core::Notes, core::Alert, core::SignedHead, core::HistoryDay>;
TYPED_TEST_SUITE(EveryRecord, Records);

TYPED_TEST(EveryRecord, ComesBackEqualWithEveryFieldSet) {
  const TypeParam before = full<TypeParam>();
  const auto after = decode<TypeParam>(encode(before));
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_TRUE(*after == before) << encode(before) << '\n' << encode(*after);
}

TYPED_TEST(EveryRecord, ComesBackEqualWithDefaults) {
  const auto after = decode<TypeParam>(encode(TypeParam{}));
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_TRUE(*after == TypeParam{});
}

TYPED_TEST(EveryRecord, KeepsDefaultsForFieldsThatAreMissingOrNull) {
  EXPECT_TRUE(decode<TypeParam>("{}").value() == TypeParam{});
  TypeParam record{};
  test::Lister list;
  describe(list, record);
  std::string nulls;
  for (const auto& name : list.names) nulls += (nulls.empty() ? "{\"" : ",\"") + name + "\":null";
  EXPECT_TRUE(decode<TypeParam>(nulls + "}").value() == TypeParam{});
}

TYPED_TEST(EveryRecord, SkipsFieldsItDoesNotKnow) {
  std::string text = encode(full<TypeParam>());
  text.insert(1, R"("from_a_later_version":{"x":[1,2.5,null,"y"]},)");
  const auto after = decode<TypeParam>(text);
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_TRUE(*after == full<TypeParam>());
}

TYPED_TEST(EveryRecord, StaysFarBelowTheLimitOnSize) {
  EXPECT_LT(encode(full<TypeParam>()).size(), kMaxRecordBytes / 64);
}

TEST(Encoding, IsOneLineWithSortedKeysSoThatEqualRecordsAreEqualTexts) {
  EXPECT_EQ(encode(core::HostLease{"i", 7, "b"}), R"({"boot":"b","guarding":true,"instance":"i","number":7})");
  EXPECT_EQ(encode(core::AuditHead{3, "ab"}), R"({"hash":"ab","sequence":3})");
  EXPECT_EQ(encode(full<core::Operation>()).find('\n'), std::string::npos);
}

TEST(Encoding, LeavesOutAnAbsentValue) {
  EXPECT_EQ(encode(core::Right{}).find("migrating_to"), std::string::npos);
  core::Right right;
  right.migrating_to = "";
  EXPECT_NE(encode(right).find("migrating_to"), std::string::npos);
  EXPECT_TRUE(decode<core::Right>(encode(right)).value() == right) << "empty is not absent";
}

TEST(Encoding, ReplacesBytesThatAreNotUtf8InsteadOfFailing) {
  core::Progress progress;
  progress.text = "disk \xff\xfe says";
  const auto after = decode<core::Progress>(encode(progress));
  ASSERT_TRUE(after) << after.error().what;
  EXPECT_EQ(after->text, "disk \ufffd\ufffd says");
}

TEST(Encoding, KeepsIntegersWhole) {
  const core::HostLease lease{"i", std::numeric_limits<std::uint64_t>::max(), "b"};
  EXPECT_TRUE(decode<core::HostLease>(encode(lease)).value() == lease);
  core::Right right;
  right.epoch = std::numeric_limits<std::int64_t>::min();
  EXPECT_TRUE(decode<core::Right>(encode(right)).value() == right);
}

TEST(AuditHash, IsSha256OfTheCanonicalText) {
  core::AuditRecord record;
  record.sequence = 1;
  record.when_ms = 2;
  record.who = {"alice", "operator", ""};
  record.why = "test";
  record.what = "vm-start requested";
  record.object = "vm/vm1";
  record.project = "blue";
  record.operation = "op-1";
  record.previous = std::string(64, '0');
  // printf '1:1,1:2,5:alice,8:operator,0:,4:test,18:vm-start requested,6:vm/vm1,4:blue,4:op-1,0:,64:%064d,' 0 |
  // sha256sum
  EXPECT_EQ(audit_hash(record), "e0dea2b8e9987d1da21a8801ac3c916eeee934b7e18d2864e5043b9662ab5175");
}

}  // namespace
}  // namespace bascule::codec
