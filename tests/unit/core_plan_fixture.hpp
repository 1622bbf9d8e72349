// Requests and the text of a plan's steps.
#pragma once

#include <string>

#include "hostd/core/plan.hpp"

namespace bascule::core::test {

inline Request ask(Verb verb) {
  Request r;
  r.verb = std::move(verb);
  r.caller = {Role::operator_, "olga", ""};
  r.reason = "test";
  return r;
}

inline Caller client(const std::string& project) { return {Role::client, "carl", project}; }

/// "kind@host kind@host ..."
inline std::string steps(const Plan& plan) {
  std::string out;
  for (const auto& s : plan.operation.steps) {
    out += (out.empty() ? "" : " ") + std::string(to_string(s.kind)) + "@" + s.host;
  }
  return out;
}

}  // namespace bascule::core::test
