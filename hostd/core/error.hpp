// Errors as values. Thread rule: plain values, no shared state.
#pragma once

#include <boost/system/result.hpp>
#include <boost/system/system_error.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace bascule::core {

/// What kind of failure this is; the API maps each to one HTTP status.
enum class Errc : std::uint8_t {
  invalid,          ///< the input is malformed or out of limits
  not_found,        ///< no such object
  conflict,         ///< another operation holds the object, or it is in the wrong state
  stale,            ///< the revision compared is not the current one (ETag, etcd compare)
  forbidden,        ///< the caller's role or project does not allow it
  exhausted,        ///< no room: memory, disk, minors, queue
  unavailable,      ///< a part that is needed cannot be reached; nothing was changed
  outcome_unknown,  ///< sent, no answer: it may or may not have happened
  timeout,          ///< a local wait ended; the thing waited for did not happen (yet)
  cancelled,        ///< somebody asked to stop
  refused,          ///< the part was reached and said no (DRBD, libvirt, etcd)
  io,               ///< local disk, process or socket failure
  internal,         ///< a bug
};

std::string_view to_string(Errc code);

/// One sentence for a person: what happened, what state things are in, what to do next.
struct Error {
  Errc code{Errc::internal};
  std::string what;
  bool operator==(const Error&) const = default;
};

template <class T = void>
using Result = boost::system::result<T, Error>;

/// Needed by boost::system::result for value() on an error: a bug, so an exception.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& where);

inline Error fail(Errc code, std::string what) { return Error{code, std::move(what)}; }

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace bascule::core

/// An invariant that holds unless there is a bug; stays on in release builds.
#define BASCULE_CHECK(cond) ((cond) ? static_cast<void>(0) : ::bascule::core::check_failed(#cond, __FILE__, __LINE__))
