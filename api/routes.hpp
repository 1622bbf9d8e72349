// The table of routes: literal paths, who may, what they take. The handlers are in handlers_*.cpp.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "api/http.hpp"
#include "hostd/core/request.hpp"

namespace bascule::api {

/// Who may call a route at all; what they then see is the handler's matter.
enum class Access : std::uint8_t {
  everyone,  ///< every role; a client sees its own project's
  staff,     ///< operators, auditors, hosts
  owners,    ///< operators, and clients for what is theirs
  operators,
  hosts_only,  ///< other hostds of the cell
};
bool allowed(Access access, core::Role role);

/// What a route's body is; also how its connection goes on.
enum class Kind : std::uint8_t {
  read,    ///< no body
  change,  ///< JSON of at most ServerLimits::body_bytes
  upload,  ///< octets, streamed to a file
  events,  ///< the answer is a stream
};

struct Call;
using Handler = boost::asio::awaitable<core::Result<HttpReply>> (*)(const Call&);

struct Route {
  std::string_view method;
  std::string_view path;  ///< {x} takes one segment; all but {operation} and {alert} are names
  Access access;
  Kind kind;
  std::string_view query;  ///< parameters it knows, separated by blanks
  Handler handler;         ///< nullptr for uploads and event streams: they live in their connection
};

std::span<const Route> routes();

struct Found {
  const Route* route{};  ///< nullptr: nothing at this path, or not with this method
  std::string allow;     ///< methods the path does take
};
Found find_route(std::string_view method, const std::vector<std::string>& segments);

}  // namespace bascule::api
