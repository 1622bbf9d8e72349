#include "hostd/alert/sender.hpp"

#include <algorithm>
#include <chrono>

#include "hostd/alert/curl.hpp"
#include "hostd/alert/http_body.hpp"
#include "hostd/alert/mail.hpp"
#include "hostd/alert/spool.hpp"
#include "hostd/core/alert_text.hpp"
#include "hostd/runtime/clock.hpp"

namespace bascule::alert {
using core::AlertMessage;
using core::AlertOutcome;
using core::Errc;
using core::fail;
using core::Result;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds kLeast{500};  // less than that is no try
constexpr std::size_t kErrorBytes = 400;

AlertOutcome failed(const core::Error& error, const std::string& secret = {}) {
  return {false, core::one_line(without(error.what, secret), kErrorBytes), {}};
}

/// A secret if there is a file for it.
Result<std::string> secret(const std::string& path) {
  if (path.empty()) return std::string();
  return read_secret(path);
}

void address(Transfer& t, const Target& target, const Settings& settings, const std::atomic<bool>& stop) {
  t.url = target.url;
  t.ca = target.ca.empty() ? settings.ca : target.ca;
  t.stop = &stop;
}

}  // namespace

AlertOutcome Sender::send(const AlertMessage& message) const {
  const auto it = settings_.to.find(message.job.first);
  if (it == settings_.to.end()) return failed(fail(Errc::internal, "no such list in hostd.toml"));
  switch (it->second.way) {
    case Way::mail: return mail(it->second, message);
    case Way::webhook: return webhook(it->second, message);
    case Way::sms:
    case Way::sms_spool: return sms(it->second, message);
  }
  return {};
}

AlertOutcome Sender::mail(const Target& target, const AlertMessage& message) const {
  auto password = secret(target.password_file);
  if (!password) return failed(password.error());
  MailTransfer t;
  address(t, target, settings_, stop_);
  t.limit = core::AlertLimits::send;
  t.username = target.username;
  t.password = std::move(*password);
  t.from = target.from;
  t.to = target.to;
  t.text = mail_text({target.from, target.to, core::subject(cell_, message), core::body(cell_, host_, message),
                      message.key, message.job.second, runtime::wall_ms()});
  auto done = send_mail(t);
  if (!done) return failed(done.error(), t.password);
  return {true, done->empty() ? "" : core::one_line("sent, but the server refused a part: " + *done, kErrorBytes), {}};
}

AlertOutcome Sender::webhook(const Target& target, const AlertMessage& message) const {
  auto key = secret(target.secret_file);
  if (!key) return failed(key.error());
  PostTransfer t;
  address(t, target, settings_, stop_);
  t.limit = core::AlertLimits::send;
  t.body = webhook_json(cell_, host_, message);
  t.headers = {{"Content-Type", "application/json"}, {"Idempotency-Key", message.key}};
  if (!key->empty()) t.headers.emplace_back("Bascule-Signature", signature(*key, t.body));
  auto done = post(t);
  return done ? AlertOutcome{true, {}, {}} : failed(done.error(), *key);
}

Result<> Sender::sms_to(const Target& target, const AlertMessage& message, const std::string& number,
                        const std::string& text, milliseconds left) const {
  const auto when = message.alerts.front().created_ms;
  if (target.way == Way::sms_spool)
    return put_into(target.path, spool_file(target.format, number, text, message.key, when));
  auto password = secret(target.password_file);
  if (!password) return password.error();
  auto shared = secret(target.secret_file);
  if (!shared) return shared.error();
  PostTransfer t;
  address(t, target, settings_, stop_);
  t.limit = left;
  const std::string word = *password;
  const std::string key = message.key + "." + number.substr(number.starts_with('+') ? 1 : 0);
  t.body = fill(target, {number, text, key, *shared});
  t.headers = {{"Content-Type", target.content_type}, {"Idempotency-Key", key}};
  if (target.username.empty() && !password->empty())
    t.headers.emplace_back("Authorization", "Bearer " + *password);
  else
    t.password = std::move(*password), t.username = target.username;
  auto said = post(t);
  core::Error error;
  if (!said)
    error = said.error();
  else if (!target.answer.empty() && said->find(target.answer) == std::string::npos)
    error = fail(Errc::refused, target.url.substr(0, target.url.find_first_of("?#")) + " answered without '" +
                                    target.answer + "': " + *said);
  else
    return {};
  return fail(error.code, core::one_line(without(without(std::move(error.what), *shared), word), kErrorBytes));
}

AlertOutcome Sender::sms(const Target& target, const AlertMessage& message) const {
  const auto end = steady_clock::now() + core::AlertLimits::send;
  const std::string text = core::sms(cell_, message);
  AlertOutcome out{true, {}, message.accepted};
  for (const auto& number : target.to) {
    if (std::ranges::find(out.accepted, number) != out.accepted.end()) continue;
    if (stop_) {
      out.sent = false;
      out.error = "hostd is being stopped";
      break;
    }
    const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now());
    auto done = left < kLeast ? Result<>(fail(Errc::timeout, "no time was left for " + number))
                              : sms_to(target, message, number, text, left);
    if (done) {
      out.accepted.push_back(number);
      continue;
    }
    out.sent = false;
    if (out.error.empty()) out.error = core::one_line(done.error().what, kErrorBytes);
  }
  return out;
}

}  // namespace bascule::alert
