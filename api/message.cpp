#include "api/message.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace bascule::api {
namespace http = boost::beast::http;
using core::Errc;
using core::fail;

namespace {

/// Headers a route may read; no other is copied.
constexpr std::array<const char*, 6> kHeaders{"if-match",       "if-none-match", "idempotency-key",
                                              "bascule-reason", "last-event-id", "content-type"};

bool same(std::string_view a, std::string_view lower) {
  return std::ranges::equal(
      a, lower, [](char x, char y) { return (x >= 'A' && x <= 'Z' ? static_cast<char>(x - 'A' + 'a') : x) == y; });
}

}  // namespace

core::Result<HttpRequest> request_of(const http::request_header<>& head) {
  HttpRequest out;
  out.method = std::string(head.method_string());
  out.target = std::string(head.target());
  if (head.version() >= 11 && head.count(http::field::host) != 1) {
    return fail(Errc::invalid, "Host: exactly one is needed");
  }
  for (const char* name : kHeaders) {
    const auto [first, last] = head.equal_range(name);
    if (first == last) continue;
    if (std::next(first) != last) return fail(Errc::invalid, std::string(name) + ": it is there twice");
    out.headers.emplace(name, std::string(first->value()));
  }
  return out;
}

bool has_content_type(const HttpRequest& head, std::string_view type) {
  const std::string* sent = head.header("content-type");
  if (sent == nullptr) return false;
  auto media = std::string_view(*sent).substr(0, sent->find(';'));
  while (!media.empty() && media.back() == ' ') media.remove_suffix(1);
  return same(media, type);
}

core::Result<HttpRequest> parse_message(std::string_view bytes, std::uint32_t header_bytes, std::uint64_t body_bytes) {
  http::request_parser<http::string_body> parser;
  parser.header_limit(header_bytes);
  parser.body_limit(body_bytes);
  parser.eager(true);
  boost::system::error_code ec;
  while (!bytes.empty() && !parser.is_done()) {
    const std::size_t used = parser.put(boost::asio::buffer(bytes), ec);
    if (ec) return fail(Errc::invalid, ec.message());
    if (used == 0) break;
    bytes.remove_prefix(used);
  }
  if (!parser.is_done()) return fail(Errc::invalid, "the message ends early");
  auto out = request_of(parser.get().base());
  if (out) out->body = std::move(parser.get().body());
  return out;
}

}  // namespace bascule::api
