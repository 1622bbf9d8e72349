#include "api/hostctl/change.hpp"

#include <fmt/format.h>

#include "api/hostctl/paths.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

Table plan_table(const Json& plan) {
  Table table({">#", "STEP", "HOST"});
  std::size_t n = 0;
  for (const auto& s : plan.items()) table.add({std::to_string(++n), s.text("kind"), s.text("host")});
  return table;
}

}  // namespace

HttpRequest request_of(Session& session, const Change& change) {
  HttpRequest request;
  request.method = change.method;
  request.target = change.path + (session.args.dry_run ? "?dry_run=true" : "");
  request.headers["Accept"] = "application/json, application/problem+json";
  request.headers["Idempotency-Key"] = change.key.empty() ? session.key() : change.key;
  if (change.upload) {
    request.headers["Bascule-Reason"] = encode_header(session.args.reason);
    return request;
  }
  Json body = change.body;
  body.set("reason", std::string_view(session.args.reason));
  request.body = body.dump();
  request.headers["Content-Type"] = "application/json";
  return request;
}

Submission submission_of(const Json& b) {
  return {b.text("operation"), b.flag("unchanged"), b.flag("replayed"), b["plan"], b};
}

core::Result<Submission> submit(Session& session, const Change& change) {
  auto client = session.client();
  if (!client) return client.error();
  auto answer = (*client)->change(request_of(session, change));
  if (!answer) return answer.error();
  return submission_of(answer->body);
}

Exit report(Session& session, const Change& change, const Submission& done) {
  const bool watch = session.args.watch && !done.operation.empty();
  if (session.args.json && !watch) {
    session.json(done.raw);
    return Exit::done;
  }
  const std::string what = safe(change.object);
  if (session.args.dry_run) {
    const Table steps = plan_table(done.plan);
    if (steps.empty())
      session.print(what + ": " + (done.unchanged ? "unchanged" : "nothing to do but to write it down") + "\n");
    else
      session.print(what + ": would take these steps; nothing was changed\n" +
                    steps.render(session.colour, session.columns));
    return Exit::done;
  }
  if (done.unchanged || done.operation.empty()) {
    if (session.args.json)
      session.json(done.raw);
    else
      session.print(what + ": " + (done.unchanged ? "unchanged" : "done") + "\n");
    return Exit::done;
  }
  if (watch) return follow(session, done.operation);
  session.print(fmt::format("{}: operation {}{}\n  follow: hostctl op follow {}\n", what, safe(done.operation),
                            done.replayed ? " (as asked before with this key)" : "", safe(done.operation)));
  return Exit::done;
}

Exit carry_out(Session& session, const Change& change) {
  auto done = submit(session, change);
  if (!done) return session.fail(done.error());
  return report(session, change, *done);
}

}  // namespace bascule::hostctl
