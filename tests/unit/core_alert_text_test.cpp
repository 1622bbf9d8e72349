// Alerts in words: what may stand in a line, what fits an SMS, what a person reads.
#include "hostd/core/alert_text.hpp"

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using testing::HasSubstr;
using testing::Not;

AlertMessage message(std::size_t count = 1) {
  AlertMessage m;
  for (std::size_t i = 0; i < count; ++i) {
    Alert a;
    a.id = "failover-decided-op-1";
    a.kind = AlertKind::failover_decided;
    a.severity = Severity::critical;
    a.vm = "web";
    a.host = "b1";
    a.site = "B";
    a.operation = "op-1";
    a.title = "VM web fails over to b1, a1 is lost";
    a.what = "VM web is being started on b1 (site B)";
    a.did = "Operation op-1 takes the run-right";
    a.todo = "Look at host a1";
    a.hint = "hostctl why web";
    a.created_ms = 1'790'000'000'000;
    m.alerts.push_back(a);
  }
  return m;
}

TEST(AlertText, OneLineHasNoControlsAndNoBrokenBytes) {
  const struct {
    std::string_view in;
    const char* out;
  } table[] = {
      {"plain", "plain"},
      {"a\r\nBcc: eve@example.net", "a  Bcc: eve@example.net"},
      {std::string_view("a\0b", 3), "a b"},
      {"\x1b[2J", " [2J"},
      {"\xc2\x85x", " x"},      // NEL
      {"\xe2\x80\xa8x", " x"},  // line separator
      {"\xe2\x80\xaex", " x"},  // turns the writing direction
      {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
      {"\xff\xfe", "??"},
      {"\xc3", "?"},
      {"\xc0\xaf", "??"},       // overlong
      {"\xed\xa0\x80", "???"},  // surrogate
  };
  for (const auto& row : table) EXPECT_EQ(one_line(row.in, 100), row.out) << row.in;
  EXPECT_EQ(one_line("\xc3\xbc\xc3\xbc", 3), "\xc3\xbc") << "cut between characters";
}

TEST(AlertText, AnSmsIsGsmSafeAndFits) {
  EXPECT_EQ(gsm("a[b]{c}~`^\\|\n\xc3\xbc\xff"), "a(b)(c)-''// ??");
  EXPECT_EQ(gsm(std::string(500, 'x')).size(), kSmsChars);
  auto m = message();
  EXPECT_EQ(sms("lab", m), "lab CRITICAL 14:13Z: VM web fails over to b1, a1 is lost -> hostctl why web");
  m.alerts.front().title = std::string(300, 'y');
  m.alerts.front().hint = "hostctl why " + std::string(40, 'z');
  const auto cut = sms("a-cell-with-a-name-of-forty-characters-xx", m);
  EXPECT_LE(cut.size(), kSmsChars);
  EXPECT_TRUE(cut.ends_with(m.alerts.front().hint)) << "the command stays whole: " << cut;
  m.repeat = true;
  EXPECT_TRUE(sms("lab", m).starts_with("(repeat?) "));
}

TEST(AlertText, ABundleSaysHowManyAndTheFirst) {
  const auto m = message(12);
  EXPECT_THAT(sms("lab", m), HasSubstr("12 more alerts, first: VM web"));
  EXPECT_LE(sms("lab", m).size(), kSmsChars);
  EXPECT_THAT(subject("lab", m), HasSubstr("12 more alerts"));
  EXPECT_THAT(body("lab", "b1", m), HasSubstr("hostctl alert list"));
}

TEST(AlertText, AMailSaysWhatHappenedWhatWasDoneAndWhatToDo) {
  auto m = message();
  EXPECT_EQ(subject("lab", m), "[Bascule lab] CRITICAL: VM web fails over to b1, a1 is lost");
  const auto text = body("lab", "b1", m);
  for (const auto* part : {"What happened:\n  VM web is being started", "What Bascule did:\n", "What to do:\n",
                           "VM:         web", "Site:       B", "2026-09-21 14:13:20 UTC", "Cell:       lab",
                           "hostctl alert ack failover-decided-op-1 --reason TEXT", "Sent by host b1"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("repeat")));
  m.repeat = true;
  EXPECT_THAT(body("lab", "b1", m), HasSubstr("This may be a repeat"));
}

TEST(AlertText, TimesAreUtc) {
  EXPECT_EQ(utc_text(0), "1970-01-01 00:00:00 UTC");
  EXPECT_EQ(utc_text(951'782'400'000), "2000-02-29 00:00:00 UTC");
  EXPECT_EQ(utc_text(4'107'542'399'000), "2100-02-28 23:59:59 UTC");
}

}  // namespace
}  // namespace bascule::core
