// Requests and answers of etcd's JSON gateway, without etcd. The answers are recorded from
// etcd 3.4.23.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "hostd/runtime/etcd/base64.hpp"
#include "hostd/runtime/etcd/connection.hpp"
#include "hostd/runtime/etcd/decode.hpp"
#include "hostd/runtime/etcd/encode.hpp"

namespace bascule::runtime::etcd {
namespace {

namespace kv = core::kv;
using core::Errc;

std::string base64(std::string_view bytes) {
  std::string out;
  append_base64(out, bytes);
  return out;
}

TEST(Base64, IsThatOfTheStandard) {
  // RFC 4648, section 10.
  const std::pair<const char*, const char*> known[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : known) {
    EXPECT_EQ(base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
  EXPECT_EQ(base64("\xfb\xff\xfe"), "+//+");
}

TEST(Base64, RefusesWhatItWouldNotWrite) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "=Zg=", "====", "Zm 9", "Zm9v\n", "Zm-_"}) {
    EXPECT_FALSE(from_base64(text)) << text;
  }
}

TEST(EncodeTxn, SpellsOutEveryTargetAndResult) {
  kv::Txn txn;
  txn.compares = {kv::Compare::mod_revision("k", 7), kv::Compare::create_revision("k", 0),
                  kv::Compare::version_is("k", 1), kv::Compare::value_is("k", "v")};
  const auto json = nlohmann::json::parse(encode_txn(txn));
  const auto expected = nlohmann::json::parse(R"([
    {"target":"MOD","result":"EQUAL","key":"aw==","mod_revision":"7"},
    {"target":"CREATE","result":"EQUAL","key":"aw==","create_revision":"0"},
    {"target":"VERSION","result":"EQUAL","key":"aw==","version":"1"},
    {"target":"VALUE","result":"EQUAL","key":"aw==","value":"dg=="}])");
  EXPECT_EQ(json.at("compare"), expected);
  EXPECT_EQ(json.size(), 3U) << "etcd ignores a field it does not know";
}

TEST(EncodeTxn, WritesEachOperationUnderItsName) {
  kv::Txn txn;
  kv::Range page = kv::all_under("a/", 5);
  page.revision = 9;
  page.keys_only = true;
  txn.success = {kv::Put{"a", ""}, kv::Delete{"b"}, page};
  txn.failure = {kv::get("c")};
  const auto json = nlohmann::json::parse(encode_txn(txn));
  const auto expected = nlohmann::json::parse(R"([
    {"request_put":{"key":"YQ==","value":""}}, {"request_delete_range":{"key":"Yg=="}},
    {"request_range":{"key":"YS8=","range_end":"YTA=","limit":"5","revision":"9","keys_only":true}}])");
  EXPECT_EQ(json.at("success"), expected);
  EXPECT_EQ(json.at("failure"), nlohmann::json::parse(R"([{"request_range":{"key":"Yw==","limit":"1"}}])"));
}

TEST(EncodeTxn, EndsWithTheBraceThatMakesItValid) {
  kv::Txn txn;
  txn.success = {kv::Put{"a", "b"}};
  std::string body = encode_txn(txn);
  EXPECT_TRUE(nlohmann::json::accept(body));
  body.pop_back();
  EXPECT_FALSE(nlohmann::json::accept(body)) << "a request cut short must never be carried out";
}

TEST(EncodeWatch, AsksForThePrefixFromTheRevision) {
  EXPECT_EQ(nlohmann::json::parse(encode_watch("a/", 8)),
            nlohmann::json::parse(R"({"create_request":{"key":"YS8=","range_end":"YTA=","start_revision":"8"}})"));
}

TEST(PrefixEnd, IsTheFirstKeyThatDoesNotBeginWithIt) {
  EXPECT_EQ(kv::prefix_end("a/"), "a0");
  EXPECT_EQ(kv::prefix_end("a\xff"), "b");
  EXPECT_EQ(kv::prefix_end("\xff"), std::string(1, '\0'));
}

TEST(Limits, EachOneIsCheckedAndTheLargestAllowedPasses) {
  const auto with = [](kv::Op op) {
    kv::Txn txn;
    txn.success.push_back(std::move(op));
    return kv::check_limits(txn).has_value();
  };
  EXPECT_TRUE(with(kv::Put{std::string(kv::kMaxKeyBytes, 'k'), std::string(kv::kMaxValueBytes, 'v')}));
  EXPECT_FALSE(with(kv::Put{std::string(kv::kMaxKeyBytes + 1, 'k'), ""}));
  EXPECT_FALSE(with(kv::Put{"k", std::string(kv::kMaxValueBytes + 1, 'v')}));
  EXPECT_FALSE(with(kv::Put{"", "v"}));
  EXPECT_FALSE(with(kv::Delete{""}));
  EXPECT_FALSE(with(kv::Range{"k", "", kv::kMaxRangeLimit + 1, false, 0}));
  EXPECT_FALSE(with(kv::Range{"k", "", -1, false, 0}));
  EXPECT_FALSE(with(kv::Range{"k", "", 1, false, -1}));
  kv::Txn negative;
  negative.compares.push_back(kv::Compare::mod_revision("k", -1));
  EXPECT_FALSE(kv::check_limits(negative));
  kv::Txn heavy;
  for (int i = 0; i < 5; ++i)
    heavy.success.emplace_back(kv::Put{std::to_string(i), std::string(kv::kMaxValueBytes, 'v')});
  EXPECT_FALSE(kv::check_limits(heavy));
}

constexpr const char* kHeader =
    R"("header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"6","raft_term":"2"})";

kv::Txn put_and_get() {
  kv::Txn txn;
  txn.success = {kv::Put{"a", "1"}};
  txn.failure = {kv::get("a"), kv::Delete{"b"}};
  return txn;
}

TEST(DecodeTxn, ReadsSuccess) {
  const auto answer = decode_txn(
      std::string("{") + kHeader + R"(,"succeeded":true,"responses":[{"response_put":{"header":{"revision":"6"}}}]})",
      put_and_get());
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_TRUE(answer->reply.succeeded);
  EXPECT_EQ(answer->reply.revision, 6);
  EXPECT_EQ(answer->header.cluster_id, 14841639068965178418U);
  EXPECT_EQ(answer->header.member_id, 10276657743932975437U);
  EXPECT_EQ(answer->header.raft_term, 2U);
}

TEST(DecodeTxn, ReadsFailureWhereZeroAndEmptyAreLeftOut) {
  const auto answer = decode_txn(
      std::string("{") + kHeader +
          R"(,"responses":[{"response_range":{"header":{"revision":"6"},"kvs":[{"key":"YQ==","create_revision":"2",)"
          R"("mod_revision":"6","version":"3","value":"MQ=="}],"count":"1"}},)"
          R"({"response_delete_range":{"header":{"revision":"6"}}}]})",
      put_and_get());
  ASSERT_TRUE(answer) << answer.error().what;
  EXPECT_FALSE(answer->reply.succeeded);
  const auto& range = std::get<kv::RangeReply>(answer->reply.responses.at(0));
  EXPECT_EQ(range.kvs.at(0), (kv::KeyValue{"a", "1", 2, 6, 3}));
  EXPECT_FALSE(range.more);
  EXPECT_EQ(std::get<kv::DeleteReply>(answer->reply.responses.at(1)).deleted, 0);
}

TEST(DecodeTxn, RefusesWhatIsNotTheAnswerToTheQuestion) {
  const std::string head = std::string("{") + kHeader;
  const std::string bad[] = {
      "",
      "null",
      "[]",
      "{",
      "{}",
      head + "}",
      head + R"(,"succeeded":true})",
      head + R"(,"succeeded":"true","responses":[{"response_put":{}}]})",
      head + R"(,"succeeded":true,"responses":[{"response_range":{}}]})",
      head + R"(,"succeeded":true,"responses":[{"response_put":{}},{"response_put":{}}]})",
      head + R"(,"succeeded":true,"responses":{"response_put":{}}})",
      head + R"(,"succeeded":true,"responses":[7]})",
      R"({"header":{"cluster_id":"1","revision":"-6"},"succeeded":true,"responses":[{"response_put":{}}]})",
      R"({"header":{"cluster_id":"1","revision":6},"succeeded":true,"responses":[{"response_put":{}}]})",
      R"({"header":{"cluster_id":"1","revision":"6x"},"succeeded":true,"responses":[{"response_put":{}}]})",
      R"({"header":{"cluster_id":"1","revision":"99999999999999999999"},"succeeded":true,"responses":[{"response_put":{}}]})",
      head +
          R"(,"responses":[{"response_range":{"kvs":[{"key":"YQ","mod_revision":"1"}]}},{"response_delete_range":{}}]})",
      head + R"(,"responses":[{"response_range":{"kvs":[{"mod_revision":"1"}]}},{"response_delete_range":{}}]})",
      head + R"(,"responses":[{"response_range":{"kvs":[{"key":"YQ=="}]}},{"response_delete_range":{}}]})",
      head + R"(,"responses":[{"response_range":{"kvs":[[]]}},{"response_delete_range":{}}]})",
  };
  for (const std::string& body : bad) EXPECT_FALSE(decode_txn(body, put_and_get())) << body;
}

TEST(DecodeStatus, ReadsVersionLeaderAndAlarms) {
  const auto status = decode_status(
      std::string("{") + kHeader +
      R"(,"version":"3.4.23","dbSize":"20480","leader":"10276657743932975437","raftIndex":"8","raftTerm":"2",)"
      R"("raftAppliedIndex":"8","errors":["memberID:1 alarm:NOSPACE "],"dbSizeInUse":"20480"})");
  ASSERT_TRUE(status) << status.error().what;
  EXPECT_EQ(status->version, "3.4.23");
  EXPECT_EQ(status->leader, 10276657743932975437U);
  ASSERT_EQ(status->errors.size(), 1U);
  EXPECT_EQ(status->errors[0], "memberID:1 alarm:NOSPACE");
  const auto alone = decode_status(std::string("{") + kHeader + R"(,"version":"3.4.23"})");
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->leader, 0U);
}

TEST(DecodeWatch, ReadsEachKindOfMessage) {
  const auto created = decode_watch(std::string(R"({"result":{)") + kHeader + R"(,"created":true}})");
  ASSERT_TRUE(created) << created.error().what;
  EXPECT_TRUE(created->created);
  const auto events = decode_watch(
      std::string(R"({"result":{)") + kHeader +
      R"(,"events":[{"kv":{"key":"YQ==","create_revision":"5","mod_revision":"5","version":"1","value":"MQ=="}},)"
      R"({"type":"DELETE","kv":{"key":"YQ==","mod_revision":"6"}}]}})");
  ASSERT_TRUE(events) << events.error().what;
  ASSERT_EQ(events->events.size(), 2U);
  EXPECT_EQ(events->events[0].kind, kv::Event::Kind::put);
  EXPECT_EQ(events->events[0].kv, (kv::KeyValue{"a", "1", 5, 5, 1}));
  EXPECT_EQ(events->events[1].kind, kv::Event::Kind::del);
  EXPECT_EQ(events->events[1].kv.mod_revision, 6);
  const auto compacted =
      decode_watch(std::string(R"({"result":{)") + kHeader + R"(,"canceled":true,"compact_revision":"4"}})");
  ASSERT_TRUE(compacted);
  EXPECT_TRUE(compacted->canceled);
  EXPECT_EQ(compacted->compact_revision, 4);
  const auto failed = decode_watch(
      R"({"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"Service Unavailable"}})");
  ASSERT_TRUE(failed);
  EXPECT_TRUE(failed->failed);
  EXPECT_EQ(failed->reason, "etcdserver: no leader");
}

TEST(DecodeWatch, RefusesWhatItDoesNotUnderstand) {
  const std::string head = std::string(R"({"result":{)") + kHeader;
  for (const std::string& line : {std::string("{}"), std::string(R"({"result":{}})"), std::string(R"({"result":[]})"),
                                  head + R"(,"events":[{"type":"RENAME","kv":{"key":"YQ==","mod_revision":"6"}}]}})",
                                  head + R"(,"events":[{"type":"PUT"}]}})", head + R"(,"events":[5]}})",
                                  head + R"(,"events":{}}})", head + R"(,"created":1}})"}) {
    EXPECT_FALSE(decode_watch(line)) << line;
  }
}

TEST(DecodeError, OnlyADefiniteNoIsDefinite) {
  const auto code = [](unsigned status, std::string_view body, bool writes = true) {
    return decode_error(status, body, writes).code;
  };
  const auto plain = [](int grpc, const char* text) {
    return R"({"error":")" + std::string(text) + R"(","message":")" + text + R"(","code":)" + std::to_string(grpc) +
           "}";
  };
  EXPECT_EQ(code(400, plain(3, "etcdserver: duplicate key given in txn request")), Errc::refused);
  EXPECT_EQ(code(400, plain(11, "etcdserver: mvcc: required revision has been compacted")), Errc::stale);
  EXPECT_EQ(code(400, plain(11, "etcdserver: mvcc: required revision is a future revision")), Errc::refused);
  EXPECT_EQ(code(429, plain(8, "etcdserver: mvcc: database space exceeded")), Errc::exhausted);
  EXPECT_EQ(code(403, plain(7, "etcdserver: permission denied")), Errc::forbidden);
  EXPECT_EQ(code(401, plain(16, "etcdserver: invalid auth token")), Errc::forbidden);
  EXPECT_EQ(code(404, "404 page not found\n"), Errc::refused);
  // grpc says this of an answer, after the write was made.
  EXPECT_EQ(code(429, plain(8, "grpc: received message larger than max (5 vs. 4)")), Errc::outcome_unknown);
  EXPECT_EQ(code(429, plain(8, "grpc: received message larger than max (5 vs. 4)"), false), Errc::exhausted);
  EXPECT_EQ(code(503, plain(14, "etcdserver: request timed out")), Errc::outcome_unknown);
  EXPECT_EQ(code(503, R"({"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}})"),
            Errc::outcome_unknown);
  EXPECT_EQ(code(500, plain(2, "anything")), Errc::outcome_unknown);
  EXPECT_EQ(code(408, ""), Errc::outcome_unknown);
  EXPECT_EQ(code(429, ""), Errc::outcome_unknown);
  EXPECT_EQ(code(502, "<html>"), Errc::outcome_unknown);
  EXPECT_EQ(code(503, R"({"error":5,"message":[],"code":"3"})"), Errc::outcome_unknown);
}

TEST(DecodeError, ShowsTheTextOfBothShapesAndNoControlCharacters) {
  EXPECT_EQ(decode_error(503, R"({"error":"a","message":"b\u001b[31m","code":14})", true).what,
            "etcd answered 503: b [31m.");
  EXPECT_EQ(decode_error(503, R"({"error":{"grpc_code":14,"message":"inner"}})", true).what,
            "etcd answered 503: inner.");
  EXPECT_LT(decode_error(500, std::string(100'000, 'x'), true).what.size(), 400U);
}

TEST(ParseEndpoint, TakesOnlyHttpsWithHostAndPort) {
  const auto v4 = parse_endpoint("https://10.77.1.11:2379");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->host, "10.77.1.11");
  EXPECT_EQ(v4->port, 2379);
  const auto v6 = parse_endpoint("https://[fd00::1]:2379/");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "fd00::1");
  for (const char* url :
       {"", "http://h:1", "https://h", "https://h:", "https://h:0", "https://h:65536", "https://:1", "https://h:1/path",
        "https://h:1 ", "https://a@b:1", "https://h\r\nx:1", "https://::1:2379"}) {
    const auto endpoint = parse_endpoint(url);
    ASSERT_FALSE(endpoint) << url;
    EXPECT_EQ(endpoint.error().code, Errc::invalid);
  }
}

}  // namespace
}  // namespace bascule::runtime::etcd
