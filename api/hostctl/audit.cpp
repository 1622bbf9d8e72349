#include <fmt/format.h>

#include "api/hostctl/audit.hpp"
#include "api/hostctl/export.hpp"
#include "api/hostctl/heads.hpp"
#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
constexpr std::int64_t kShownByDefault = 50;

std::string since(std::int64_t from) { return fmt::format("{}?from={}", paths::kAudit, from); }
}  // namespace

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

core::Result<std::int64_t> newest_record(Client& client) {
  auto answer = client.get(paths::kAudit + "?limit=1");
  if (!answer) return answer.error();
  return answer->body["head"].integer("sequence");
}

core::Result<> whole_chain_allowed(Client& client) {
  auto me = client.get(paths::kWhoAmI);
  if (!me) return me.error();
  if (me->body.text("role") != "client") return {};
  return core::fail(
      core::Errc::forbidden,
      "a client gets its own records, not the whole chain; an operator or auditor verifies or exports it");
}

Exit audit_list(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  const std::int64_t limit = session.args.limit > 0 ? session.args.limit : kShownByDefault;
  std::int64_t from = session.args.from;
  if (from == 0) {
    auto newest = newest_record(**client);
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

/// First the heads, then the records: a record written meanwhile is in the file, a head without its record never is.
Exit audit_export(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  if (auto ok = whole_chain_allowed(**client); !ok) return session.fail(ok.error());
  const auto format = session.args.format == "csv" ? ExportFormat::csv : ExportFormat::jsonl;
  auto heads = all_items(**client, paths::kAuditHeads);
  if (!heads) return session.fail(heads.error());
  session.print(export_begin(format, now_ms()));
  for (const auto& j : *heads) session.print(export_head(format, head_of(j)));
  core::AuditHead last{0, {}};
  auto r = each_item(**client, since(1), [&](const Json& item) {
    const auto record = record_of(item);
    session.print(export_record(format, record));
    last = {record.sequence, record.hash};
    return true;
  });
  // Without its last line nobody takes the file for a whole one.
  if (!r) return session.fail(r.error());
  session.print(export_end(format, last));
  return Exit::done;
}

}  // namespace bascule::hostctl
