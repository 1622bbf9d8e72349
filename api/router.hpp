// Routes: one table of method, path and handler; everything that is not a stream. Uploads and event streams are in
// session.cpp because they live as long as their connection.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "api/cell_port.hpp"
#include "api/http.hpp"

namespace bascule::api {

inline constexpr std::size_t kPageDefault = 100;
inline constexpr std::size_t kPageMost = 1000;

class Router {
 public:
  explicit Router(CellPort& cell) : cell_(cell) {}
  /// Never fails: every error is a problem document.
  boost::asio::awaitable<HttpReply> handle(HttpRequest request);
  /// Whether these are this role's to see; used by the streams too.
  static bool may_see(const core::Caller& caller, const std::string& project);

 private:
  CellPort& cell_;
  /// Pages of VMs already serialized, by query and caller's project; thrown away when any VM changes.
  std::map<std::string, std::shared_ptr<const std::string>> pages_;
  core::Revision pages_of_{-1};

  friend struct Handlers;
};

}  // namespace bascule::api
