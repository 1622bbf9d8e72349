// From Beast's message to ours. All that comes from a socket passes here; the fuzzer enters here too.
#pragma once

#include <boost/beast/http/message.hpp>
#include <string_view>

#include "api/http.hpp"

namespace bascule::api {

/// The head, with the headers the routes know. Errors: invalid (a header given twice, no Host).
core::Result<HttpRequest> request_of(const boost::beast::http::request_header<>& head);

/// `type` is what this kind of body must say it is, parameters aside.
bool has_content_type(const HttpRequest& head, std::string_view type);

/// Head and body from memory, within a connection's limits. Errors: invalid, with Beast's word for it.
core::Result<HttpRequest> parse_message(std::string_view bytes, std::uint32_t header_bytes, std::uint64_t body_bytes);

}  // namespace bascule::api
