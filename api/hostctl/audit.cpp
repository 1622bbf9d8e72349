#include <fmt/format.h>
#include <charconv>

#include "api/hostctl/audit_json.hpp"
#include "api/hostctl/chain.hpp"
#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
core::AuditRecord record_of(const Json& j) {
  core::AuditRecord r;
  r.sequence = j.integer("sequence", -1);
  r.when_ms = j.integer("when_ms", -1);
  r.who = {j["who"].text("name"), j["who"].text("role"), j["who"].text("project")};
  r.why = j.text("why");
  r.what = j.text("what");
  r.object = j.text("object");
  r.project = j.text("project");
  r.operation = j.text("operation");
  r.result = j.text("result");
  r.previous = j.text("previous");
  r.hash = j.text("hash");
  return r;
}

namespace {
constexpr std::int64_t kShownByDefault = 50;

std::string since(std::int64_t from) { return fmt::format("{}?from={}", paths::kAudit, from); }

/// A record somebody noted earlier: a chain that was written anew from some point on does not hold it any more.
struct KnownRecord {
  explicit KnownRecord(const std::string& text) {
    if (text.empty()) return;
    hash = text.substr(text.find(':') + 1);
    // Its form was checked with the command line: at most 15 digits, then the colon.
    std::from_chars(text.data(), text.data() + text.size(), wanted);
  }
  std::optional<std::string> differs(const core::AuditRecord& r) const {
    if (r.sequence != wanted || r.hash == hash) return std::nullopt;
    return fmt::format("record {} is not the one you know: it has the hash {}", wanted, r.hash);
  }
  std::int64_t wanted{};
  std::string hash;
};

/// The number of the newest record; 0 when there is none.
core::Result<std::int64_t> head(Client& client) {
  auto answer = client.get(paths::kAudit + "?limit=1");
  if (!answer) return answer.error();
  return answer->body["head"].integer("sequence");
}

Exit broken(Session& session, const std::string& sentence, const ChainChecker& checker) {
  const std::string good = checker.count() == 0
                               ? std::string("no record before it could be checked")
                               : fmt::format("records 1 to {} are as they were written", checker.last_sequence());
  if (session.args.json) {
    Json j = Json::object();
    j.set("ok", Json::of(false)).set("checked", checker.count()).set("problem", std::string_view(sentence));
    session.json(j);
  } else {
    session.print(paint(session.colour, Colour::red, "broken") + ": " + safe(sentence) + "\n  " + good + "\n");
  }
  return Exit::refused;
}

}  // namespace

Exit audit_list(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  const std::int64_t limit = session.args.limit > 0 ? session.args.limit : kShownByDefault;
  std::int64_t from = session.args.from;
  if (from == 0) {
    auto newest = head(**client);
    if (!newest) return session.fail(newest.error());
    from = std::max<std::int64_t>(1, *newest - limit + 1);
  }
  std::vector<Json> records;
  auto r = each_item(**client, since(from), [&](const Json& item) {
    records.push_back(item);
    return static_cast<std::int64_t>(records.size()) < limit;
  });
  if (!r) return session.fail(r.error());
  if (session.args.json) {
    session.json(Json::array(records));
    return Exit::done;
  }
  if (records.empty()) session.print("No audit records.\n");
  Table table({">#", "WHEN", "WHO", "WHAT", "OBJECT", "RESULT", "WHY"});
  for (const auto& j : records) {
    const auto a = record_of(j);
    table.add(
        {std::to_string(a.sequence), utc(a.when_ms), a.who.role + ":" + a.who.name, a.what, a.object, a.result, a.why});
  }
  if (!table.empty()) session.print(table.render(session.colour, session.columns));
  return Exit::done;
}

Exit audit_verify(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  // Read first: records written while we check may be missing from the pages, never the other way round.
  auto newest = head(**client);
  if (!newest) return session.fail(newest.error());
  ChainChecker checker;
  KnownRecord known(session.args.known);
  std::optional<std::string> problem;
  auto r = each_item(**client, since(1), [&](const Json& item) {
    const auto record = record_of(item);
    problem = checker.add(record);
    if (!problem) problem = known.differs(record);
    return !problem.has_value();
  });
  if (!r) return session.fail(r.error());
  if (problem) {
    // A client's records have gaps: what was done to others' VMs is not in them.
    auto me = (*client)->get("/v1/whoami");
    if (me && me->body.text("role") == "client") {
      return session.fail(core::fail(core::Errc::forbidden, "a client gets its own records, not the whole chain; an "
                                                            "operator or auditor verifies it"));
    }
    return broken(session, *problem, checker);
  }
  if (checker.last_sequence() < *newest) {
    return broken(session, fmt::format("records {} to {} are missing at the end", checker.last_sequence() + 1, *newest),
                  checker);
  }
  if (known.wanted > checker.last_sequence()) {
    return broken(session, fmt::format("record {}, which you know, is missing at the end", known.wanted), checker);
  }
  if (session.args.json) {
    Json j = Json::object();
    j.set("ok", Json::of(true)).set("checked", checker.count()).set("head", std::string_view(checker.head()));
    session.json(j);
  } else if (checker.count() == 0) {
    session.print("ok: the audit chain has no records yet\n");
  } else {
    session.print(fmt::format("{}: {} records, the chain is whole\n  newest: {}:{}\n",
                              paint(session.colour, Colour::green, "ok"), checker.count(), checker.last_sequence(),
                              checker.head()));
  }
  return Exit::done;
}

}  // namespace bascule::hostctl
