// What decoding says to records that are wrong. Nothing throws; the first wrong field is named by its path.
#include <gtest/gtest.h>

#include <string>

#include "hostd/codec/codec.hpp"

namespace bascule::codec {
namespace {

template <class T>
std::string said(const std::string& text) {
  const auto result = decode<T>(text);
  if (result) return "ok";
  EXPECT_EQ(result.error().code, core::Errc::invalid);
  return result.error().what;
}

TEST(Decoding, RefusesWhatIsNotJson) {
  for (const auto* text : {"",
                           " ",
                           "{",
                           "}",
                           "{\"a\":}",
                           "{'a':1}",
                           "{\"a\":1,}",
                           "nul",
                           "\"a",
                           "{\"a\":1}x",
                           "{}{}",
                           "\xff",
                           "{\"host\":\"\xff\"}",
                           "{\"host\":\"\xed\xa0\x80\"}",
                           "{\"host\":\"\\ud800\"}",
                           "{\"host\":\"a\nb\"}",
                           "[1,2",
                           "01",
                           "-",
                           "1e",
                           "\xef\xbb\xbf"}) {
    EXPECT_EQ(said<core::Right>(text), "record is not JSON") << testing::PrintToString(text);
  }
}

TEST(Decoding, RefusesJsonThatIsNoObject) {
  for (const auto* text : {"null", "true", "1", "-1", "1.5", "\"text\"", "[]", "[{}]"}) {
    EXPECT_EQ(said<core::Right>(text), "record is not an object") << text;
  }
}

TEST(Decoding, RefusesARecordOverTheLimitAndAcceptsOneBelow) {
  const auto of_size = [](std::size_t bytes) {
    const std::string frame = R"({"instance":""})";
    return R"({"instance":")" + std::string(bytes - frame.size(), 'x') + "\"}";
  };
  ASSERT_EQ(of_size(kMaxRecordBytes).size(), kMaxRecordBytes);
  EXPECT_EQ(said<core::HostLease>(of_size(kMaxRecordBytes)), "ok");
  EXPECT_EQ(said<core::HostLease>(of_size(kMaxRecordBytes + 1)), "record is too large");
}

TEST(Decoding, RefusesDeepNesting) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + "1" + std::string(depth, ']'); };
  EXPECT_EQ(said<core::Operation>("{\"unknown\":" + nested(30) + "}"), "ok") << "no record of ours is as deep";
  EXPECT_EQ(said<core::Operation>("{\"steps\":" + nested(30) + "}"), "field 'steps' is not an object");
  EXPECT_EQ(said<core::Operation>("{\"unknown\":" + nested(40) + "}"), "record is nested too deeply");
  EXPECT_EQ(said<core::Operation>(std::string(kMaxRecordBytes - 100, '[')), "record is nested too deeply");
}

TEST(Decoding, NamesTheWrongFieldByItsPath) {
  const struct {
    const char* text;
    const char* wanted;
  } table[] = {
      {R"({"id":1})", "field 'id' is not a string"},
      {R"({"id":["x"]})", "field 'id' is not a string"},
      {R"({"kind":"vm-explode"})", "field 'kind' is not one of the known words"},
      {R"({"kind":3})", "field 'kind' is not one of the known words"},
      {R"({"state":""})", "field 'state' is not one of the known words"},
      {R"({"created_ms":"1"})", "field 'created_ms' is not an integer in range"},
      {R"({"created_ms":true})", "field 'created_ms' is not an integer in range"},
      {R"({"created_ms":1.0})", "field 'created_ms' is not an integer in range"},
      {R"({"created_ms":1e3})", "field 'created_ms' is not an integer in range"},
      {R"({"created_ms":9223372036854775808})", "field 'created_ms' is not an integer in range"},
      {R"({"created_ms":-9223372036854775809})", "field 'created_ms' is not an integer in range"},
      {R"({"created_ms":99999999999999999999999999})", "field 'created_ms' is not an integer in range"},
      {R"({"size_mib":-1})", "field 'size_mib' is not an integer in range"},
      {R"({"size_mib":18446744073709551616})", "field 'size_mib' is not an integer in range"},
      {R"({"cancel_requested":1})", "field 'cancel_requested' is not true or false"},
      {R"({"cancel_requested":"true"})", "field 'cancel_requested' is not true or false"},
      {R"({"steps":{}})", "field 'steps' is not a list"},
      {R"({"steps":[1]})", "field 'steps' is not an object"},
      {R"({"steps":[null]})", "field 'steps' is not an object"},
      {R"({"steps":[{"kind":"connect"},{"kind":"x"}]})", "field 'steps.kind' is not one of the known words"},
      {R"({"steps":[{"state":"running"}]})", "field 'steps.state' is not one of the known words"},
      {R"({"author":[]})", "field 'author' is not an object"},
      {R"({"author":{"name":7}})", "field 'author.name' is not a string"},
      {R"({"spec":1})", "field 'spec' is not an object"},
      {R"({"spec":{"cpus":-2}})", "field 'spec.cpus' is not an integer in range"},
      {R"({"spec":{"cpus":4294967296}})", "field 'spec.cpus' is not an integer in range"},
      {R"({"spec":{"volumes":[{"size_mib":"1"}]}})", "field 'spec.volumes.size_mib' is not an integer in range"},
      {R"({"restore":{"power":"maybe"}})", "field 'restore.power' is not one of the known words"},
      {R"({"result":[]})", "field 'result' is not an object"},
      {R"({"result":{"downtime_ms":12}})", "field 'result' is not a string"},
      {R"({"writer":{"number":-1}})", "field 'writer.number' is not an integer in range"},
  };
  for (const auto& row : table) EXPECT_EQ(said<core::Operation>(row.text), row.wanted) << row.text;
}

TEST(Decoding, ChecksEveryIntegerAgainstItsOwnWidth) {
  EXPECT_EQ(said<core::Layout>(R"({"port":65535})"), "ok");
  EXPECT_EQ(said<core::Layout>(R"({"port":65536})"), "field 'port' is not an integer in range");
  EXPECT_EQ(said<core::Layout>(R"({"port":-1})"), "field 'port' is not an integer in range");
  EXPECT_EQ(said<core::Progress>(R"({"percent":-1})"), "ok");
  EXPECT_EQ(said<core::Progress>(R"({"percent":2147483648})"), "field 'percent' is not an integer in range");
  EXPECT_EQ(said<core::HostLease>(R"({"number":18446744073709551615})"), "ok");
}

TEST(Decoding, ReadsMapsAndLists) {
  EXPECT_EQ(said<core::Right>(R"({"insync":[]})"), "field 'insync' is not an object");
  EXPECT_EQ(said<core::Right>(R"({"insync":{"root":{}}})"), "field 'insync' is not a list");
  EXPECT_EQ(said<core::Right>(R"({"insync":{"root":[{"host":1}]}})"), "field 'insync.host' is not a string");
  EXPECT_EQ(said<core::HostInfo>(R"({"networks":["a",1]})"), "field 'networks' is not a string");
  EXPECT_EQ(said<core::HostInfo>(R"({"site":"C"})"), "field 'site' is not one of the known words");
  EXPECT_EQ(said<core::VmStatus>(R"({"domain":"flying"})"), "field 'domain' is not one of the known words");
  const auto right = decode<core::Right>(R"({"insync":{"root":[{"host":"a1","id":"x"}],"data":[]}})");
  ASSERT_TRUE(right) << right.error().what;
  EXPECT_EQ(right->insync.at("root"), (std::vector<core::Leg>{{"a1", "x"}}));
  EXPECT_TRUE(right->insync.at("data").empty());
}

TEST(Decoding, TakesTheLastOfTwoEqualKeys) {
  EXPECT_EQ(decode<core::HostLease>(R"({"number":1,"number":2})").value().number, 2U);
}

TEST(Decoding, SaysTheFirstWrongFieldOnly) {
  EXPECT_EQ(said<core::HostLease>(R"({"instance":1,"number":"x"})"), "field 'instance' is not a string");
}

}  // namespace
}  // namespace bascule::codec
