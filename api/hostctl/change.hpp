// Sending a change and telling what became of it. Used by every command that changes something.
#pragma once

#include <string>

#include "api/hostctl/client.hpp"
#include "api/hostctl/json.hpp"
#include "api/hostctl/session.hpp"

namespace bascule::hostctl {

struct Change {
  std::string method{"POST"};
  std::string path;
  Json body;           ///< its own arguments; the reason is added
  std::string object;  ///< for people: "VM web"
  std::string key;     ///< empty: the session's own
  bool upload{};       ///< the body is a file: the reason goes into a header
};

/// The request of a change: reason, idempotency key and dry run are added here and nowhere else.
HttpRequest request_of(Session& session, const Change& change);

/// What the cell answered to a change.
struct Submission {
  std::string operation;
  bool unchanged{}, replayed{};
  Json plan;  ///< steps of a dry run
  Json raw;
};
Submission submission_of(const Json& body);
core::Result<Submission> submit(Session& session, const Change& change);

/// Submits, prints the outcome or the plan, follows with --watch.
Exit carry_out(Session& session, const Change& change);
/// The part after the submission.
Exit report(Session& session, const Change& change, const Submission& done);

}  // namespace bascule::hostctl
