// A request and its reply without any HTTP library: what the router and its tests work on.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/request.hpp"

namespace bascule::api {

struct HttpRequest {
  std::string method;
  std::string target;                          ///< path and query as sent
  std::map<std::string, std::string> headers;  ///< names in lower case; only those the routes know
  std::string body;
  core::Caller caller;
};

struct HttpReply {
  int status{200};
  std::string content_type{"application/json"};
  std::map<std::string, std::string> headers;
  std::shared_ptr<const std::string> body;  ///< shared: lists are serialized once and sent to many
};

/// Path and query, percent-decoded. Errors: invalid (bad escapes, control bytes, over-long, duplicate parameters).
struct Target {
  std::vector<std::string> segments;
  std::map<std::string, std::string> query;
};
core::Result<Target> parse_target(std::string_view target);

/// RFC 9457 problem details; internal errors show no detail.
HttpReply problem(const core::Error& error, const std::string& instance);
int status_of(core::Errc code);

}  // namespace bascule::api
