#include "hostd/core/error.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace bascule::core {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::invalid: return "invalid";
    case Errc::not_found: return "not-found";
    case Errc::conflict: return "conflict";
    case Errc::stale: return "stale";
    case Errc::forbidden: return "forbidden";
    case Errc::exhausted: return "exhausted";
    case Errc::unavailable: return "unavailable";
    case Errc::outcome_unknown: return "outcome-unknown";
    case Errc::timeout: return "timeout";
    case Errc::cancelled: return "cancelled";
    case Errc::refused: return "refused";
    case Errc::io: return "io";
    case Errc::internal: return "internal";
  }
  return "internal";
}

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw std::runtime_error(error.what);
}

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace bascule::core
