// Alerts on their way, as far as that needs no server: settings, a mail's text, the loop of two hosts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>
#include <filesystem>
#include <fstream>

#include "core_fixture.hpp"
#include "hostd/alert/loop.hpp"
#include "hostd/alert/mail.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_kv.hpp"

namespace bascule::alert {
namespace {

using namespace testkit;
namespace keys = runtime::keys;
using testing::HasSubstr;
using testing::Not;

TEST(AlertMail, QuotedPrintableKeepsLinesShortAndBytesPlain) {
  EXPECT_EQ(quoted_printable("a=b \nx\xc3\xbc\n"), "a=3Db=20\r\nx=C3=BC\r\n");
  EXPECT_EQ(quoted_printable("a\rb"), "a=0Db");
  const auto folded = quoted_printable(std::string(200, 'x'));
  EXPECT_THAT(folded, HasSubstr("=\r\n"));
  for (std::size_t at = 0, next = 0; next != std::string::npos; at = next + 2) {
    next = folded.find("\r\n", at);
    EXPECT_LE(std::min(next, folded.size()) - at, 76U);
  }
}

TEST(AlertMail, HeadersHoldPrintableWordsOnly) {
  EXPECT_EQ(header_words("plain [x]"), "plain [x]");
  EXPECT_EQ(header_words("gr\xc3\xbcn"), "=?utf-8?B?Z3LDvG4=?=");
  EXPECT_THAT(header_words("a\r\nBcc: x@y"), Not(HasSubstr("\nBcc")));
  EXPECT_THAT(header_words("=?utf-8?Q?fake?="), Not(HasSubstr("fake"))) << "no word that is decoded to something else";
  const auto folded = header_words(std::string(100, '\xfc'));
  EXPECT_THAT(folded, HasSubstr("?=\r\n =?utf-8?B?"));
}

Settings good() {
  Settings s;
  Target mail;
  mail.url = "smtp://mail.example.net:587";
  mail.from = "bascule@example.net";
  mail.to = {"noc@example.net"};
  s.to["mail"] = mail;
  s.rules.lists = {{"mail", core::Severity::warning, 0, false}};
  return s;
}

TEST(AlertSettings, EachFaultIsNamed) {
  EXPECT_TRUE(check(good()));
  const struct {
    std::function<void(Settings&)> set;
    const char* words;
  } table[] = {
      {[](Settings& s) { s.to["mail"].url = "smtp://user@host"; }, "[alerts.to.mail] url"},
      {[](Settings& s) { s.to["mail"].url = "smtp://host/x"; }, "url"},
      {[](Settings& s) { s.to["mail"].url = "file:///etc/passwd"; }, "url"},
      {[](Settings& s) { s.to["mail"].from = "a b@c"; }, "from"},
      {[](Settings& s) { s.to["mail"].to = {"x@y\r\nDATA"}; }, "to:"},
      {[](Settings& s) { s.to["mail"].to = {"<x@y>"}; }, "to:"},
      {[](Settings& s) { s.to["mail"].to.clear(); }, "nobody would get it"},
      {[](Settings& s) { s.to["mail"].username = "u"; }, "one is nothing without the other"},
      {[](Settings& s) { s.to["mail"].password_file = "x"; }, "is not absolute"},
      {[](Settings& s) { s.ca = "x"; }, "ca is not an absolute path"},
      {[](Settings& s) { s.heartbeat_at = "24:00"; }, "not a time of the day"},
      {[](Settings& s) { s.heartbeat_at = "08:00"; }, "no list has heartbeat"},
      {[](Settings& s) { s.rules.lists[0].after_ms = 1; }, "nobody is told at once"},
      {[](Settings& s) { s.to["mail"].way = Way::webhook; }, "https://"},
      {[](Settings& s) { s.to["mail"].way = Way::sms_spool; }, "is not a number"},
      {[](Settings& s) {
         auto& t = s.to["mail"];
         t.way = Way::sms;
         t.to = {"+4930"};
         t.url = "http://10.0.0.1/send";
       },
       "https://"},
      {[](Settings& s) {
         auto& t = s.to["mail"];
         t.way = Way::sms;
         t.to = {"+4930"};
         t.url = "http://127.0.0.1:80/send";
         t.body = "to={to}";
       },
       "{text}"},
      {[](Settings& s) {
         auto& t = s.to["mail"];
         t.way = Way::sms;
         t.to = {"+4930"};
         t.url = "https://x@evil/send";
       },
       "url"},
      {[](Settings& s) {
         auto& t = s.to["mail"];
         t.way = Way::sms_spool;
         t.to = {"+4930"};
         t.path = "spool";
       },
       "absolute"},
  };
  for (const auto& row : table) {
    Settings s = good();
    row.set(s);
    EXPECT_THAT(core::test::text(check(s)), HasSubstr(row.words));
  }
}

/// Two hosts on one store, each with a loop; SMS into one folder.
class TwoHosts : public testing::Test {
 protected:
  struct Host {
    Host(boost::asio::io_context& io, runtime::KvStore& kv, const Settings& settings, const std::string& id,
         const std::string& instance)
        : cell(io.get_executor(), kv, "lab", id, instance), loop(cell, settings, "lab", instance, {}) {
      boost::asio::co_spawn(io, cell.run(), boost::asio::detached);
      boost::asio::co_spawn(io, loop.run(), boost::asio::detached);
    }
    runtime::CellStore cell;
    Loop loop;
  };
  TwoHosts() {
    std::filesystem::create_directory(folder_);
    Target t;
    t.way = Way::sms_spool;
    t.path = folder_;
    t.to = {"+49301"};
    settings_.to["sms"] = t;
    settings_.rules.lists = {{"sms", core::Severity::critical, 0, false}};
    for (const auto* host : {"a1", "b1"}) {
      set(keys::host_info(root_, host),
          core::test::host(host, *host == 'a' ? core::Site::a : core::Site::b).info.value);
      set(keys::host_lease(root_, host), core::HostLease{"i", 1, "boot", true});
    }
  }
  ~TwoHosts() override { std::filesystem::remove_all(folder_); }
  template <class T>
  void set(const std::string& key, const T& record) {
    ASSERT_TRUE(kv_.apply_now(put(key, codec::encode(record))));
  }
  void failover(const std::string& id) {
    core::Operation op;
    op.id = id;
    op.kind = core::OpKind::vm_failover;
    op.vm = "web";
    op.author = {"b1", "host", {}};
    op.writer.host = "b1";
    op.target_host = "b1";
    op.created_ms = runtime::wall_ms();
    set(keys::op(root_, id), op);
  }
  std::size_t files() const {
    const std::filesystem::directory_iterator all(folder_);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }
  core::DeliveryState state(const runtime::CellStore& cell, const std::string& id) {
    const auto& alert = cell.alerts().at(id).value;
    return alert.deliveries.at("sms").state;
  }
  bool sent(const runtime::CellStore& cell, const std::string& id) {
    return cell.alerts().contains(id) && cell.alerts().at(id).value.deliveries.contains("sms") &&
           state(cell, id) == core::DeliveryState::sent;
  }

  boost::asio::io_context io_;
  FakeKv kv_{io_.get_executor()};
  std::string root_{keys::root("lab")};
  std::string folder_{testing::TempDir() + "alert-spool-" + std::to_string(::getpid())};
  Settings settings_;
};

TEST_F(TwoHosts, OneOfThemTellsAndBothKnow) {
  auto other = kv_.another();
  Host a(io_, kv_, settings_, "a1", "i"), b(io_, *other, settings_, "b1", "i");
  ASSERT_TRUE(wait_for(io_, 5s, [&] { return a.cell.view().synced && b.cell.view().synced; }));
  const auto began = runtime::Clock::now();
  failover("op-1");
  const std::string id = "failover-decided-op-1";
  ASSERT_TRUE(wait_for(io_, 5s, [&] { return sent(a.cell, id) && sent(b.cell, id); }));
  EXPECT_LT(runtime::Clock::now() - began, 2s);
  EXPECT_EQ(b.cell.alerts().at(id).value.deliveries.at("sms").by, "b1");
  wait_for(io_, 1500ms, [] { return false; });
  EXPECT_EQ(files(), 1U);
}

TEST_F(TwoHosts, AHostdThatComesBackGoesOnWithWhatItHadClaimed) {
  const std::string id = "failover-decided-op-1";
  failover("op-1");
  core::Alert left;
  left.id = id;
  left.kind = core::AlertKind::failover_decided;
  left.severity = core::Severity::critical;
  left.created_ms = runtime::wall_ms();
  left.reporter = "b1";
  left.deliveries["sms"] = {core::DeliveryState::claimed, "b1", "before", {}, 0, left.created_ms, {}, false, {}};
  set(keys::alert(root_, id), left);
  Host b(io_, kv_, settings_, "b1", "after");
  ASSERT_TRUE(wait_for(io_, 5s, [&] { return sent(b.cell, id); }));
  EXPECT_TRUE(b.cell.alerts().at(id).value.deliveries.at("sms").repeat);
  EXPECT_EQ(files(), 1U);
}

TEST_F(TwoHosts, AnAnswerOfEtcdThatIsLostSendsNothingTwice) {
  Host b(io_, kv_, settings_, "b1", "i");
  ASSERT_TRUE(wait_for(io_, 5s, [&] { return b.cell.view().synced; }));
  for (int i = 0; i < 5; ++i) {
    kv_.lose_answers(3);
    failover("op-" + std::to_string(i));
    const std::string id = "failover-decided-op-" + std::to_string(i);
    ASSERT_TRUE(wait_for(io_, 10s, [&] { return sent(b.cell, id); })) << i;
    EXPECT_FALSE(b.cell.alerts().at(id).value.deliveries.at("sms").repeat);
  }
  EXPECT_EQ(files(), 5U);
}

TEST_F(TwoHosts, ATestAndAnAcknowledgementAreInTheAudit) {
  Host b(io_, kv_, settings_, "b1", "i");
  ASSERT_TRUE(wait_for(io_, 5s, [&] { return b.cell.view().synced; }));
  const core::Who olga{"olga", "operator", {}};
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(run(io_, b.cell.test_alert("test-1", olga, "does it arrive", 1)));
  ASSERT_TRUE(wait_for(io_, 5s, [&] { return b.cell.alerts().contains("test-1"); }));
  ASSERT_TRUE(run(io_, b.cell.acknowledge("test-1", olga, "it did", 2)));
  EXPECT_EQ(run(io_, b.cell.acknowledge("test-1", olga, "again", 3)).error().code, core::Errc::conflict);
  EXPECT_EQ(run(io_, b.cell.acknowledge("test-2", olga, "what", 3)).error().code, core::Errc::not_found);
  const auto audit = run(io_, b.cell.audit(1, 100)).value();
  ASSERT_EQ(audit.size(), 2U);
  EXPECT_EQ(audit[0].what + audit[0].why + audit[0].object, "alert test requesteddoes it arrivealert/test-1");
  EXPECT_EQ(audit[1].what + audit[1].who.name, "alert acknowledgedolga");
}

}  // namespace
}  // namespace bascule::alert
