#include "hostd/alert/curl.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <mutex>

#include "hostd/core/alert_text.hpp"

namespace bascule::alert {
using core::Errc;
using core::fail;
using core::Result;

namespace {

constexpr long kConnectMs = 5'000;
constexpr std::size_t kKept = 4096;  // of what a server says; whoever shows it takes secrets out first, then cuts

struct Freed {
  void operator()(CURL* c) const { curl_easy_cleanup(c); }
  void operator()(curl_slist* l) const { curl_slist_free_all(l); }
};
using Handle = std::unique_ptr<CURL, Freed>;
using List = std::unique_ptr<curl_slist, Freed>;

struct Upload {
  std::string_view left;
};
std::size_t give(char* to, std::size_t size, std::size_t count, void* user) {
  auto& left = static_cast<Upload*>(user)->left;
  const std::size_t n = std::min(size * count, left.size());
  std::memcpy(to, left.data(), n);
  left.remove_prefix(n);
  return n;
}
std::size_t keep(char* data, std::size_t size, std::size_t count, void* user) {
  auto& kept = *static_cast<std::string*>(user);
  kept.append(data, std::min(size * count, kKept - std::min(kKept, kept.size())));
  return size * count;
}
int watch(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::atomic<bool>*>(user)->load() ? 1 : 0;
}

bool add(List& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (longer == nullptr) return false;
  static_cast<void>(list.release());
  list.reset(longer);
  return true;
}

/// One handle with what every transfer has.
struct Session {
  Handle curl{curl_easy_init()};
  std::array<char, CURL_ERROR_SIZE> error{};
  std::string said;

  template <class T>
  void set(CURLoption option, T value) {
    good = good && curl_easy_setopt(curl.get(), option, value) == CURLE_OK;
  }
  bool good{true};
};

void prepare(Session& s, const Transfer& t, const char* protocols) {
  s.good = s.curl != nullptr;
  if (!s.good) return;
  s.set(CURLOPT_URL, t.url.c_str());
  s.set(CURLOPT_PROTOCOLS_STR, protocols);
  s.set(CURLOPT_FOLLOWLOCATION, 0L);
  s.set(CURLOPT_PROXY, "");  // not even if the environment names one
  s.set(CURLOPT_NOSIGNAL, 1L);
  s.set(CURLOPT_QUICK_EXIT, 1L);  // a name that is still being looked up holds nobody's end up
  s.set(CURLOPT_CONNECTTIMEOUT_MS, kConnectMs);
  s.set(CURLOPT_TIMEOUT_MS, static_cast<long>(t.limit.count()));
  s.set(CURLOPT_ERRORBUFFER, s.error.data());
  s.set(CURLOPT_USERAGENT, "bascule/" BASCULE_VERSION);
  s.set(CURLOPT_SSL_VERIFYPEER, 1L);
  s.set(CURLOPT_SSL_VERIFYHOST, 2L);
  s.set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!t.ca.empty()) {
    s.set(CURLOPT_CAINFO, t.ca.c_str());
    s.set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  }
  if (!t.username.empty()) {
    s.set(CURLOPT_USERNAME, t.username.c_str());
    s.set(CURLOPT_PASSWORD, t.password.c_str());
  }
  if (t.stop != nullptr) {
    s.set(CURLOPT_NOPROGRESS, 0L);
    s.set(CURLOPT_XFERINFOFUNCTION, &watch);
    s.set(CURLOPT_XFERINFODATA, static_cast<const void*>(t.stop));
  }
}

/// Server's lines that are a no: 4xx and 5xx.
std::string refusals(const std::string& said) {
  std::string out;
  std::size_t from = 0;
  while (from < said.size()) {
    const std::size_t to = std::min(said.find('\n', from), said.size());
    const auto line = std::string_view(said).substr(from, to - from);
    if (line.size() > 3 && (line[0] == '4' || line[0] == '5')) out += (out.empty() ? "" : "; ") + std::string(line);
    from = to + 1;
  }
  return core::one_line(out, kKept);
}

Result<> run(Session& s, const Transfer& t) {
  if (!s.good) return fail(Errc::internal, "libcurl does not take an option");
  const CURLcode code = curl_easy_perform(s.curl.get());
  if (code == CURLE_OK) return {};
  const std::string words = s.error.front() != '\0' ? s.error.data() : curl_easy_strerror(code);
  const std::string url = t.url.substr(0, t.url.find_first_of("?#"));  // what follows may be nobody's business
  std::string what = url + ": " + core::one_line(words, kKept);
  if (const auto no = refusals(s.said); !no.empty()) what += " (the server said: " + no + ")";
  if (code == CURLE_OPERATION_TIMEDOUT) return fail(Errc::timeout, what);
  if (code == CURLE_ABORTED_BY_CALLBACK) return fail(Errc::cancelled, url + ": hostd is being stopped");
  const bool nobody = code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT;
  return fail(nobody ? Errc::unavailable : Errc::refused, what);
}

void begin() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

}  // namespace

Result<std::string> send_mail(const MailTransfer& mail) {
  begin();
  Session s;
  prepare(s, mail, "smtp,smtps");
  s.set(CURLOPT_USE_SSL, static_cast<long>(CURLUSESSL_ALL));
  List to;
  for (const auto& one : mail.to) s.good = s.good && add(to, "<" + one + ">");
  const std::string from = "<" + mail.from + ">";
  Upload upload{mail.text};
  s.set(CURLOPT_MAIL_FROM, from.c_str());
  s.set(CURLOPT_MAIL_RCPT, to.get());
  // One address that is wrong does not keep it from the others; it is told.
  s.set(CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
  s.set(CURLOPT_READFUNCTION, &give);
  s.set(CURLOPT_READDATA, static_cast<void*>(&upload));
  s.set(CURLOPT_UPLOAD, 1L);
  s.set(CURLOPT_HEADERFUNCTION, &keep);
  s.set(CURLOPT_HEADERDATA, static_cast<void*>(&s.said));
  if (auto done = run(s, mail); !done) return done.error();
  return refusals(s.said);
}

Result<std::string> post(const PostTransfer& request) {
  begin();
  Session s;
  prepare(s, request, "http,https");
  List headers;
  for (const auto& [name, value] : request.headers) s.good = s.good && add(headers, name + ": " + value);
  s.good = s.good && add(headers, "Expect:");
  s.set(CURLOPT_HTTPHEADER, headers.get());
  s.set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
  s.set(CURLOPT_POST, 1L);
  s.set(CURLOPT_POSTFIELDS, request.body.data());
  s.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
  s.set(CURLOPT_WRITEFUNCTION, &keep);
  s.set(CURLOPT_WRITEDATA, static_cast<void*>(&s.said));
  std::string answer;
  auto done = run(s, request);
  if (!done) return done.error();
  long status = 0;
  curl_easy_getinfo(s.curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status < 200 || status > 299) {
    return fail(Errc::refused, fmt::format("{} answered {}: {}", request.url.substr(0, request.url.find_first_of("?#")),
                                           status, core::one_line(s.said, kKept)));
  }
  return std::move(s.said);
}

}  // namespace bascule::alert
