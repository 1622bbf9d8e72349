// A request and its reply without any HTTP library: what the router and its tests work on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"

namespace bascule::api {

struct HttpRequest {
  std::string method;
  std::string target;                          ///< path and query as sent
  std::map<std::string, std::string> headers;  ///< names in lower case; only those the routes know
  std::string body;

  /// nullptr when it was not sent.
  const std::string* header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? nullptr : &it->second;
  }
};

struct HttpReply {
  int status{200};
  std::string_view content_type{"application/json"};
  std::vector<std::pair<std::string_view, std::string>> headers;
  std::shared_ptr<const std::string> body;  ///< shared: lists are serialized once and sent to many
  std::string_view cache{"no-store"};
  bool body_stays{};  ///< HEAD, or 304: only its length is told
};

HttpReply reply(std::string body, int status = 200, std::string_view content_type = "application/json");

/// Path and query, percent-decoded. Errors: invalid (bad escapes, control bytes, dot segments, over-long, a parameter
/// given twice).
struct Target {
  std::vector<std::string> segments;
  std::map<std::string, std::string> query;
};
core::Result<Target> parse_target(std::string_view target);

/// The `Bascule-Reason` header: percent-encoded UTF-8. nullopt: a broken escape.
std::optional<std::string> decode_percent(std::string_view text);
/// The whole of `text` as a decimal number without sign or padding tricks; nullopt otherwise.
std::optional<std::int64_t> parse_number(std::string_view text);
/// A revision as an entity tag, `"123"`, and back. nullopt: anything else, weak tags included.
std::string etag(core::Revision revision);
std::optional<core::Revision> parse_etag(std::string_view text);

/// The one place where an error becomes a status.
int status_of(core::Errc code);
/// RFC 9457 problem details; a 500 shows no detail. `instance` is cut to the path.
HttpReply problem(const core::Error& error, std::string_view instance);
/// The same for what HTTP itself refuses: 405, 411, 413, 415, 431 ...
HttpReply problem(int status, std::string_view title, std::string detail, std::string_view instance);
std::string_view reason_phrase(int status);

}  // namespace bascule::api
