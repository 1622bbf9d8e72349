#include "api/hostctl/client.hpp"

#include <fmt/format.h>
#include <openssl/rand.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::fail;

constexpr int kMinAttemptMs = 1000;
constexpr int kRoundPauseMs = 300;

/// Time only to measure with; it runs on while the machine sleeps.
std::int64_t monotonic_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return std::int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1'000'000;
}

Errc code_of(unsigned status) {
  switch (status) {
    case 400:
    case 405:
    case 406:
    case 411:
    case 413:
    case 415:
    case 422:
    case 428:
    case 431: return Errc::invalid;
    case 401:
    case 403: return Errc::forbidden;
    case 404:
    case 410: return Errc::not_found;
    case 409: return Errc::conflict;
    case 412: return Errc::stale;
    case 429:
    case 507: return Errc::exhausted;
    case 502:
    case 503: return Errc::unavailable;
    case 504: return Errc::outcome_unknown;
    default: return status < 500 ? Errc::refused : Errc::internal;
  }
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const auto& p : parts) out += (out.empty() ? "" : "; ") + p;
  return out;
}
}  // namespace

Exit exit_of(Errc code) {
  switch (code) {
    case Errc::invalid:
    case Errc::io: return Exit::invalid;
    case Errc::not_found:
    case Errc::conflict:
    case Errc::stale:
    case Errc::forbidden:
    case Errc::exhausted:
    case Errc::refused: return Exit::refused;
    case Errc::unavailable:
    case Errc::outcome_unknown:
    case Errc::timeout:
    case Errc::cancelled:
    case Errc::internal: return Exit::unknown;
  }
  return Exit::unknown;
}

core::Error error_of(const HttpResponse& response, const Endpoint& from) {
  const auto body = Json::parse(response.body);
  Errc code = code_of(response.status);
  std::string text;
  if (body) {
    std::string word = body->text("code");
    std::ranges::replace(word, '_', '-');
    for (int i = 0; i <= static_cast<int>(Errc::internal); ++i) {
      if (word == core::to_string(static_cast<Errc>(i))) code = static_cast<Errc>(i);
    }
    text = body->text("detail").empty() ? body->text("title") : body->text("detail");
  }
  if (text.empty()) text = fmt::format("{} answered with status {}", to_string(from), response.status);
  return fail(code, text);
}

std::string new_key() {
  std::array<unsigned char, 16> b{};
  BASCULE_CHECK(RAND_bytes(b.data(), static_cast<int>(b.size())) == 1);
  b[6] = static_cast<unsigned char>((b[6] & 0x0F) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3F) | 0x80);
  std::string out;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += fmt::format("{:02x}", b[i]);
  }
  return out;
}

std::string encode_header(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c > 0x20 && c < 0x7F && c != '%')
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string encode_part(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  // A dot segment would be a path of its own.
  return out == "." ? "%2E" : out == ".." ? "%2E%2E" : out;
}

Client::Client(Settings settings, std::unique_ptr<Transport> transport, std::string memory)
    : settings_(std::move(settings)), transport_(std::move(transport)), memory_(std::move(memory)) {
  if (memory_.empty()) return;
  const auto kept = read_file(memory_, 1024);
  if (!kept) return;
  for (std::size_t i = 0; i < settings_.endpoints.size(); ++i) {
    if (to_string(settings_.endpoints[i]) == *kept) current_ = i;
  }
}

/// Best effort: the next call only starts with a better guess.
void Client::remember(std::size_t index) {
  const bool news = index != current_;
  current_ = index;
  if (memory_.empty() || settings_.endpoints.size() < 2) return;
  std::error_code ignored;
  if (!news && std::filesystem::exists(memory_, ignored)) return;
  std::filesystem::create_directories(std::filesystem::path(memory_).parent_path(), ignored);
  const std::string fresh = fmt::format("{}.{}", memory_, ::getpid());
  {
    std::ofstream out(fresh, std::ios::trunc);
    out << to_string(settings_.endpoints[index]);
    if (!out.flush()) return;
  }
  std::filesystem::rename(fresh, memory_, ignored);
}

core::Result<Answer> Client::accept(const HttpResponse& response, const Endpoint& from) {
  auto body = Json::parse(response.body.empty() ? "null" : response.body);
  if (!body) return fail(Errc::internal, to_string(from) + " sent an answer that is not JSON");
  return Answer{response.status, *body, response.header("etag"), from};
}

core::Error Client::nobody(const core::Error& last, bool all_answered) const {
  // One refused certificate, or hosts that all say the same, is a plain answer.
  if (last.code == Errc::forbidden && troubles_.size() == 1) return last;
  if (all_answered && std::ranges::all_of(troubles_, [&](const auto& t) { return t == troubles_.front(); })) {
    return fail(Errc::unavailable, last.what);
  }
  return fail(Errc::unavailable, "no endpoint could do it: " + joined(troubles_));
}

core::Result<Answer> Client::round(const HttpRequest& request, Unwell unwell, std::int64_t deadline_ms, bool& unknown) {
  troubles_.clear();
  const std::size_t n = settings_.endpoints.size();
  const std::size_t first = current_;
  core::Error last = fail(Errc::unavailable, "no endpoint was tried");
  bool all_answered = true;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t index = (first + i) % n;
    const Endpoint& to = settings_.endpoints[index];
    const std::int64_t left = deadline_ms - monotonic_ms();
    const int share = std::max(kMinAttemptMs, static_cast<int>(left / static_cast<std::int64_t>(n - i)));
    auto response = transport_->exchange(to, request, share);
    if (response) {
      const bool unwell_answer = response->status == 503 && unwell == Unwell::is_an_answer &&
                                 response->header("content-type").starts_with("application/json");
      const bool good = response->status < 400 || unwell_answer;
      if (!good) last = error_of(*response, to);
      if (good ||
          (last.code != Errc::unavailable && last.code != Errc::outcome_unknown && last.code != Errc::timeout)) {
        remember(index);
        if (good) return accept(*response, to);
        return last;
      }
    } else {
      last = response.error();
      all_answered = false;
      if (last.code == Errc::cancelled || last.code == Errc::io || last.code == Errc::invalid) return last;
    }
    unknown = unknown || last.code == Errc::outcome_unknown || last.code == Errc::timeout;
    troubles_.push_back(last.what);
  }
  return nobody(last, all_answered);
}

core::Result<Answer> Client::get(const std::string& target, Unwell unwell) {
  HttpRequest request;
  request.target = target;
  request.headers["Accept"] = "application/json, application/problem+json";
  bool unknown = false;
  return round(request, unwell, monotonic_ms() + settings_.timeout_s * 1000LL, unknown);
}

core::Result<Answer> Client::change(const HttpRequest& request) {
  const std::int64_t deadline = monotonic_ms() + settings_.timeout_s * 1000LL;
  bool unknown = false;
  for (int i = 0; i < kMaxRounds; ++i) {
    auto answer = round(request, Unwell::ask_another, deadline, unknown);
    if (answer || answer.error().code != Errc::unavailable || !unknown) return answer;
    if (monotonic_ms() + kRoundPauseMs >= deadline || !transport_->pause(kRoundPauseMs)) break;
  }
  const auto key = request.headers.find("Idempotency-Key");
  const std::string again = key == request.headers.end()
                                ? std::string()
                                : fmt::format(" Run the same command with --idempotency-key {}: it settles this and "
                                              "does nothing twice.",
                                              key->second);
  return fail(Errc::outcome_unknown,
              fmt::format("the change was sent, but no endpoint confirmed it: it may or may not be done ({}).{}",
                          joined(troubles_), again));
}

core::Result<HttpResponse> Client::stream(const HttpRequest& request, int quiet_ms,
                                          const std::function<bool(std::string_view)>& on_piece) {
  const std::size_t n = settings_.endpoints.size();
  const std::size_t index = current_;
  bool heard = false;
  const auto listening = [&](std::string_view piece) {
    heard = true;
    return on_piece(piece);
  };
  auto out = transport_->stream(settings_.endpoints[index], request, settings_.timeout_s * 1000, quiet_ms, listening);
  if (out || heard) remember(index);
  if (!out || out->status >= 500) current_ = (index + 1) % n;
  return out;
}

}  // namespace bascule::hostctl
