#include "api/http.hpp"

#include "api/json.hpp"

namespace bascule::api {
namespace {
constexpr std::size_t kTargetBytes = 2048;
constexpr std::size_t kSegments = 8;
constexpr std::size_t kParameters = 16;

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool decode(std::string_view in, std::string& out) {
  for (std::size_t i = 0; i < in.size(); ++i) {
    char c = in[i];
    if (c == '%') {
      if (i + 2 >= in.size() || hex(in[i + 1]) < 0 || hex(in[i + 2]) < 0) return false;
      c = static_cast<char>(hex(in[i + 1]) * 16 + hex(in[i + 2]));
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
    out += c;
  }
  return true;
}

const char* title_of(core::Errc code) {
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
}  // namespace

int status_of(core::Errc code) {
  switch (code) {
    case core::Errc::invalid: return 400;
    case core::Errc::not_found: return 404;
    case core::Errc::conflict: return 409;
    case core::Errc::stale: return 412;
    case core::Errc::forbidden: return 403;
    case core::Errc::exhausted: return 507;
    case core::Errc::refused: return 409;
    case core::Errc::cancelled: return 409;
    case core::Errc::unavailable: return 503;
    case core::Errc::outcome_unknown: return 504;
    case core::Errc::timeout: return 504;
    case core::Errc::io:
    case core::Errc::internal: return 500;
  }
  return 500;
}

core::Result<Target> parse_target(std::string_view text) {
  const auto bad = core::fail(core::Errc::invalid, "the address is not valid");
  if (text.empty() || text.front() != '/' || text.size() > kTargetBytes) return bad;
  Target out;
  const auto mark = text.find('?');
  auto path = text.substr(1, mark == std::string_view::npos ? mark : mark - 1);
  while (true) {
    const auto slash = path.find('/');
    std::string part;
    if (!decode(path.substr(0, slash), part) || part.empty() || part == "." || part == "..") return bad;
    out.segments.push_back(std::move(part));
    if (out.segments.size() > kSegments) return bad;
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  if (mark == std::string_view::npos) return out;
  auto query = text.substr(mark + 1);
  while (!query.empty()) {
    const auto amp = query.find('&');
    const auto pair = query.substr(0, amp);
    const auto eq = pair.find('=');
    std::string name;
    std::string value;
    if (!decode(pair.substr(0, eq), name)) return bad;
    if (eq != std::string_view::npos && !decode(pair.substr(eq + 1), value)) return bad;
    if (!out.query.emplace(name, value).second || out.query.size() > kParameters) {
      return core::fail(core::Errc::invalid, "query parameter '" + name + "' is there twice");
    }
    if (amp == std::string_view::npos) break;
    query.remove_prefix(amp + 1);
  }
  return out;
}

HttpReply problem(const core::Error& error, const std::string& instance) {
  HttpReply reply;
  reply.status = status_of(error.code);
  reply.content_type = "application/problem+json";
  const std::string detail = reply.status == 500 ? "something went wrong inside; the log of this host says what" : error.what;
  reply.body = std::make_shared<const std::string>(json::problem(
      reply.status, std::string(core::to_string(error.code)), title_of(error.code), detail, instance));
  return reply;
}

}  // namespace bascule::api
