// Operations, for people.
#include <fmt/format.h>

#include "api/hostctl/lists.hpp"
#include "api/hostctl/operation.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

std::string took(const OpView& op) {
  const std::int64_t end = op.finished_ms > 0 ? op.finished_ms : now_ms();
  return op.created_ms > 0 && end >= op.created_ms ? duration_ms(end - op.created_ms) : "";
}

}  // namespace

Exit op_list(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto items = all_items(
      **client, paths::query(paths::kOperations, {{"state", session.args.state}, {"vm", session.args.object}}));
  if (!items) return session.fail(items.error());
  if (session.args.json) {
    session.json(Json::array(*items));
    return Exit::done;
  }
  Table table({"OPERATION", "WHAT", "STATE", ">STEPS", "STARTED", ">TOOK", "BY", "REASON"});
  for (const auto& item : *items) {
    const OpView op = op_view(item);
    table.add({op.id,
               title(op),
               {op.state, colour_of_state(op.state)},
               fmt::format("{}/{}", op.done_steps(), op.steps.size()),
               ago(op.created_ms, now_ms()),
               took(op),
               op.author,
               op.reason});
  }
  session.print(table.empty() ? "No operations.\n" : table.render(session.colour, session.columns));
  return Exit::done;
}

Exit op_show(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto answer = (*client)->get(paths::one(paths::kOperations, session.args.name));
  if (!answer) return session.fail(answer.error());
  if (session.args.json) {
    session.json(answer->body);
    return Exit::done;
  }
  const OpView op = op_view(answer->body);
  std::string out = fmt::format("{}  operation {}\n", title(op), safe(op.id));
  out += "  state:   " + paint(session.colour, colour_of_state(op.state), safe(op.state)) +
         (op.cancel_requested ? " (cancel requested)" : "") + "\n";
  out += fmt::format("  by:      {}\n  reason:  {}\n  started: {} ({})\n  took:    {}\n", safe(op.author),
                     safe(op.reason), utc(op.created_ms), ago(op.created_ms, now_ms()), took(op));
  if (!op.finished() && op.percent >= 0) out += "  now:     " + status_line(op, 0) + "\n";
  for (const auto& [name, value] : op.result) out += fmt::format("  {}: {}\n", safe(name), safe(value));
  if (!op.error.empty()) out += "  why:     " + safe(op.error) + "\n";
  if (!op.todo.empty()) out += "  to do:   " + safe(op.todo) + "\n";
  if (!op.steps.empty()) out += render_steps(op.steps, session.colour, session.columns);
  session.print(out);
  return Exit::done;
}

}  // namespace bascule::hostctl
