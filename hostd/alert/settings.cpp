#include "hostd/alert/settings.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "hostd/core/calendar.hpp"
#include "hostd/runtime/spawn.hpp"

namespace bascule::alert {
using core::Errc;
using core::fail;
using core::Result;

namespace {

bool letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
bool visible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7F; });
}

bool starts_any(std::string_view text, std::initializer_list<std::string_view> heads) {
  return std::ranges::any_of(heads, [&](auto head) { return text.starts_with(head); });
}

/// smtp://HOST[:PORT] and nothing behind it.
bool mail_url(std::string_view url) {
  const auto slashes = url.find("://");
  const std::string_view rest = slashes == std::string_view::npos ? "" : url.substr(slashes + 3);
  return starts_any(url, {"smtp://", "smtps://"}) && !rest.empty() && rest.size() < 256 &&
         std::ranges::all_of(
             rest,
             [](char c) { return letter_or_digit(c) || c == '.' || c == '-' || c == ':' || c == '[' || c == ']'; });
}

/// A gateway on this very machine may do without TLS.
bool http_url(std::string_view url) {
  const bool tls = url.starts_with("https://");
  const bool near = starts_any(url, {"http://127.0.0.1:", "http://127.0.0.1/", "http://[::1]:", "http://[::1]/"});
  const auto host = url.find("://") + 3;
  const auto authority = url.substr(std::min(host, url.size()), url.find_first_of("/?#", host) - host);
  return (tls || near) && url.size() < 2048 && visible(url) && authority.find('@') == std::string_view::npos &&
         !authority.empty();
}

std::string fault_of_mail(const Target& t) {
  if (!mail_url(t.url)) return "url '" + t.url + "' is not smtp://HOST:PORT (STARTTLS) or smtps://HOST:PORT";
  if (!valid_mailbox(t.from)) return "from '" + t.from + "' is not an address such as bascule@example.net";
  for (const auto& to : t.to) {
    if (!valid_mailbox(to)) return "to: '" + to + "' is not an address such as noc@example.net";
  }
  if (t.username.empty() != t.password_file.empty())
    return "username and password_file: one is nothing without the other";
  return {};
}

std::string fault_of_sms(const Target& t) {
  for (const auto& to : t.to) {
    if (!valid_number(to)) return "to: '" + to + "' is not a number such as +49301234567";
  }
  if (t.way == Way::sms_spool) {
    if (!t.path.starts_with('/')) return "path '" + t.path + "' is not an absolute path";
    if (t.format != "smstools" && t.format != "gammu") return "format is not smstools or gammu";
    return {};
  }
  if (!http_url(t.url)) return "url '" + t.url + "' is not https:// (or http:// to 127.0.0.1 or [::1])";
  if (t.content_type != "application/x-www-form-urlencoded" && t.content_type != "application/json") {
    return "content_type is not application/x-www-form-urlencoded or application/json";
  }
  if (t.body.size() > kTemplateBytes) return fmt::format("body is longer than {} bytes", kTemplateBytes);
  for (const auto* part : {"{to}", "{text}"}) {
    if (t.body.find(part) == std::string::npos) return std::string("body does not have ") + part;
  }
  const bool wants_secret = t.body.find("{secret}") != std::string::npos;
  if (wants_secret != !t.secret_file.empty())
    return "secret_file and {secret} in the body: one is nothing without the other";
  if (!t.username.empty() && t.password_file.empty()) return "username needs a password_file";
  return {};
}

std::string fault_of_webhook(const Target& t) {
  if (!http_url(t.url)) return "url '" + t.url + "' is not https:// (or http:// to 127.0.0.1 or [::1])";
  if (!t.to.empty()) return "to: a webhook has its url alone";
  return {};
}

std::string fault_of(const Target& t) {
  if (t.way != Way::webhook && t.to.empty()) return "to is missing: nobody would get it";
  for (const auto* file : {&t.password_file, &t.secret_file, &t.ca}) {
    if (!file->empty() && !file->starts_with('/')) return "path '" + *file + "' is not absolute";
  }
  if (!visible(t.username) || t.username.size() > 256) return "username is not one word";
  switch (t.way) {
    case Way::mail: return fault_of_mail(t);
    case Way::sms:
    case Way::sms_spool: return fault_of_sms(t);
    case Way::webhook: return fault_of_webhook(t);
  }
  return {};
}

}  // namespace

std::optional<Way> parse_way(std::string_view word) {
  if (word == "mail") return Way::mail;
  if (word == "sms") return Way::sms;
  if (word == "sms-spool") return Way::sms_spool;
  if (word == "webhook") return Way::webhook;
  return std::nullopt;
}

bool valid_mailbox(std::string_view address) {
  const auto at = address.find('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == address.size() || address.size() > 254) return false;
  const auto plain = [](std::string_view text, std::string_view more) {
    return std::ranges::all_of(text,
                               [&](char c) { return letter_or_digit(c) || more.find(c) != std::string_view::npos; });
  };
  return plain(address.substr(0, at), "!#$%&'*+-/=?^_`{|}~.") && plain(address.substr(at + 1), ".-");
}

bool valid_number(std::string_view number) {
  if (number.starts_with('+')) number.remove_prefix(1);
  return number.size() >= 3 && number.size() <= 20 &&
         std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; });
}

Result<> check(const Settings& s) {
  if (s.to.size() > core::AlertLimits::lists) {
    return fail(Errc::invalid, fmt::format("[alerts.to]: more than {} lists", core::AlertLimits::lists));
  }
  if (!s.ca.empty() && !s.ca.starts_with('/')) return fail(Errc::invalid, "[alerts] ca is not an absolute path");
  if (!s.heartbeat_at.empty()) {
    if (!core::minute_of_day(s.heartbeat_at))
      return fail(Errc::invalid, "[alerts] heartbeat_at is not a time of the day in UTC such as 08:00");
    if (std::ranges::none_of(s.rules.lists, &core::AlertList::heartbeat))
      return fail(Errc::invalid, "[alerts] heartbeat_at is set, but no list has heartbeat = true: nobody would get it");
  }
  for (const auto& [name, target] : s.to) {
    if (const auto fault = fault_of(target); !fault.empty()) {
      return fail(Errc::invalid, "[alerts.to." + name + "] " + fault);
    }
  }
  if (!s.rules.lists.empty() && std::ranges::none_of(s.rules.lists, [](const auto& l) { return l.after_ms == 0; })) {
    return fail(Errc::invalid, "[alerts.to]: every list has after_minutes, so nobody is told at once");
  }
  return {};
}

Result<> check_files(const Settings& s) {
  const auto readable = [](const std::string& list, const std::string& path) -> Result<> {
    if (path.empty() || ::access(path.c_str(), R_OK) == 0) return {};
    return fail(Errc::invalid, list + " ca " + path + " cannot be read");
  };
  if (auto ok = readable("[alerts]", s.ca); !ok) return ok;
  for (const auto& [name, t] : s.to) {
    const std::string list = "[alerts.to." + name + "]";
    if (auto ok = readable(list, t.ca); !ok) return ok;
    for (const auto* file : {&t.password_file, &t.secret_file}) {
      if (file->empty()) continue;
      if (auto secret = read_secret(*file); !secret) return fail(Errc::invalid, list + " " + secret.error().what);
    }
    struct stat about{};
    const bool folder = ::stat(t.path.c_str(), &about) == 0 && S_ISDIR(about.st_mode);
    if (t.way == Way::sms_spool && (!folder || ::access(t.path.c_str(), W_OK | X_OK) != 0)) {
      return fail(Errc::invalid, list + " path " + t.path + " is not a folder that hostd may write to");
    }
  }
  return {};
}

Result<std::string> read_secret(const std::string& path) {
  const runtime::Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat about{};
  if (fd.get() < 0 || ::fstat(fd.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    return fail(Errc::io, "the secret file " + path + " cannot be read");
  }
  if ((about.st_mode & 0077) != 0) {
    return fail(Errc::invalid, "the secret file " + path + " may be read by others than its owner: chmod 600 it");
  }
  if (about.st_size == 0 || about.st_size > static_cast<off_t>(kSecretBytes)) {
    return fail(Errc::invalid, "the secret file " + path + " is empty, or too large for a secret");
  }
  std::string text(static_cast<std::size_t>(about.st_size), '\0');
  if (::read(fd.get(), text.data(), text.size()) != about.st_size) {
    return fail(Errc::io, "the secret file " + path + " cannot be read whole");
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const bool one_line = std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (text.empty() || !one_line)
    return fail(Errc::invalid, "the secret file " + path + " does not hold one line of text");
  return text;
}

}  // namespace bascule::alert
