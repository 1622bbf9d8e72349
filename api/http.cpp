#include "api/http.hpp"

#include <algorithm>
#include <charconv>

#include "api/json.hpp"

namespace bascule::api {
namespace {
constexpr std::size_t kTargetBytes = 2048;
constexpr std::size_t kSegments = 8;     // the longest route has 7
constexpr std::size_t kParameters = 16;  // the route with most takes 6
constexpr std::size_t kInstanceBytes = 200;
constexpr std::size_t kNumberDigits = 19;  // of a 64-bit revision

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Decoded text without control bytes.
std::optional<std::string> decode_plain(std::string_view in) {
  auto out = decode_percent(in);
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (out && std::ranges::any_of(*out, control)) return std::nullopt;
  return out;
}

core::Error bad(const std::string& what) {
  return core::fail(core::Errc::invalid, "the address is not valid: " + what);
}

core::Result<> parse_query(std::string_view query, Target& out) {
  while (!query.empty()) {
    const auto amp = query.find('&');
    const auto pair = query.substr(0, amp);
    const auto eq = pair.find('=');
    const auto name = decode_plain(pair.substr(0, eq));
    const auto value = eq == std::string_view::npos ? std::string() : decode_plain(pair.substr(eq + 1));
    if (!name || name->empty() || !value) return bad("its query is malformed");
    if (!out.query.emplace(*name, *value).second) return bad("a query parameter is there twice");
    if (out.query.size() > kParameters) return bad("it has too many query parameters");
    if (amp == std::string_view::npos) break;
    query.remove_prefix(amp + 1);
  }
  return {};
}

std::string_view title_of(core::Errc code) {
  switch (code) {
    case core::Errc::invalid: return "The request is not valid";
    case core::Errc::not_found: return "Not found";
    case core::Errc::conflict: return "Not possible in this state";
    case core::Errc::stale: return "It changed since you read it";
    case core::Errc::forbidden: return "Not allowed";
    case core::Errc::exhausted: return "No room";
    case core::Errc::unavailable: return "A part that is needed cannot be reached";
    case core::Errc::outcome_unknown: return "It may or may not have happened";
    case core::Errc::timeout: return "It took too long";
    case core::Errc::cancelled: return "Cancelled";
    case core::Errc::refused: return "Refused";
    case core::Errc::io:
    case core::Errc::internal: break;
  }
  return "Internal error";
}

HttpReply problem_document(int status, std::string_view code, std::string_view title, const std::string& detail,
                           std::string_view instance) {
  std::string where(instance.substr(0, std::min(instance.find('?'), kInstanceBytes)));
  return reply(json::problem(status, code, title, detail, where), status, "application/problem+json");
}
}  // namespace

HttpReply reply(std::string body, int status, std::string_view content_type) {
  HttpReply r;
  r.status = status;
  r.content_type = content_type;
  r.body = std::make_shared<const std::string>(std::move(body));
  return r;
}

std::optional<std::string> decode_percent(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return std::nullopt;
    out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
    i += 2;
  }
  return out;
}

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t n = 0;
  if (text.empty() || text.size() > kNumberDigits || text.front() < '0' || text.front() > '9') return std::nullopt;
  const char* last = text.data() + text.size();
  const auto [end, ec] = std::from_chars(text.data(), last, n);
  if (ec != std::errc{} || end != last) return std::nullopt;
  return n;
}

std::string etag(core::Revision revision) { return '"' + std::to_string(revision) + '"'; }
std::optional<core::Revision> parse_etag(std::string_view text) {
  if (text.size() < 3 || text.front() != '"' || text.back() != '"') return std::nullopt;
  return parse_number(text.substr(1, text.size() - 2));
}

core::Result<Target> parse_target(std::string_view text) {
  if (text.empty() || text.front() != '/') return bad("it does not begin with /");
  if (text.size() > kTargetBytes) return bad("it is longer than " + std::to_string(kTargetBytes) + " bytes");
  Target out;
  const auto mark = text.find('?');
  auto path = text.substr(1, mark == std::string_view::npos ? mark : mark - 1);
  while (true) {
    const auto slash = path.find('/');
    auto part = decode_plain(path.substr(0, slash));
    if (!part) return bad("it holds a broken escape or a control character");
    if (part->empty() || *part == "." || *part == "..") return bad("a part of its path is empty or a dot segment");
    out.segments.push_back(std::move(*part));
    if (out.segments.size() > kSegments) return bad("its path has too many parts");
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  if (mark != std::string_view::npos) {
    if (auto ok = parse_query(text.substr(mark + 1), out); !ok) return ok.error();
  }
  return out;
}

int status_of(core::Errc code) {
  switch (code) {
    case core::Errc::invalid: return 400;
    case core::Errc::forbidden: return 403;
    case core::Errc::not_found: return 404;
    case core::Errc::conflict:
    case core::Errc::refused:
    case core::Errc::cancelled: return 409;
    case core::Errc::stale: return 412;
    case core::Errc::unavailable: return 503;
    case core::Errc::outcome_unknown:
    case core::Errc::timeout: return 504;
    case core::Errc::exhausted: return 507;
    case core::Errc::io:
    case core::Errc::internal: break;
  }
  return 500;
}

HttpReply problem(const core::Error& error, std::string_view instance) {
  const int status = status_of(error.code);
  const std::string detail = status == 500 ? "something went wrong inside this host; its log says what" : error.what;
  return problem_document(status, core::to_string(error.code), title_of(error.code), detail, instance);
}

HttpReply problem(int status, std::string_view title, std::string detail, std::string_view instance) {
  const auto code = status >= 500 ? core::Errc::unavailable : core::Errc::invalid;
  return problem_document(status, core::to_string(code), title, detail, instance);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 304: return "Not Modified";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 507: return "Insufficient Storage";
    default: return "";
  }
}

}  // namespace bascule::api
