// From a request's head to its route, and from the whole request to a reply. Knows no HTTP library and no socket.
// Thread rule: `handle` on the io thread; `open` and the metrics on any, they look at nothing of the cell.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <variant>

#include "api/console_files.hpp"
#include "api/handlers.hpp"
#include "api/seldom.hpp"

namespace bascule::api {

class Router {
 public:
  explicit Router(CellPort& cell, ConsoleFiles console = ConsoleFiles())
      : console_(std::move(console)), parts_{cell, pages_, metrics_, trust_} {}

  /// What the head alone decides: identity, address, method, role, parameters. A reply: it was refused.
  std::variant<Call, HttpReply> open(HttpRequest head, const core::Result<core::Caller>& identity);
  /// Never fails: every error is a problem document. The call's request has its body by now.
  boost::asio::awaitable<HttpReply> handle(const Call& call);
  /// A failed call's answer; what must not be shown is logged.
  static HttpReply refusal(const Call& call, const core::Error& error);

  Metrics& metrics() { return metrics_; }
  void set_trust(TrustStatus status) { trust_ = std::move(status); }
  const VmPages& pages() const { return pages_; }

 private:
  ConsoleFiles console_;
  VmPages pages_;
  Metrics metrics_;
  TrustStatus trust_;
  Seldom refused_;  ///< who asked for what his role may not do
  Parts parts_;
};

}  // namespace bascule::api
