// Alerts, for people.
#include <fmt/format.h>

#include <algorithm>

#include "api/hostctl/change.hpp"
#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

Colour colour_of(const std::string& severity) {
  return severity == "critical" ? Colour::red : severity == "warning" ? Colour::yellow : Colour::none;
}

/// "noc-mail sent by b1, oncall-sms failed 3 times".
std::string went(const Json& alert) {
  std::string out;
  for (const auto& [list, d] : alert["deliveries"].members()) {
    const std::string state = d.text("state");
    out += (out.empty() ? "" : ", ") + list + " " + state + " by " + d.text("by");
    if (state == "failed") out += fmt::format(" ({} tries)", d.integer("tries"));
    if (d.flag("repeat")) out += ", maybe twice";
  }
  return out.empty() ? "to nobody" : out;
}

std::string state_of(const Json& alert) {
  if (alert.integer("acked_ms") != 0) return "acknowledged";
  return alert.integer("ended_ms") != 0 ? "over" : "open";
}

/// What could not be delivered, and why.
std::string troubles(const Json& alert) {
  std::string out;
  for (const auto& [list, d] : alert["deliveries"].members()) {
    const std::string error = d.text("error");
    if (!error.empty()) out += "  " + safe(alert.text("id")) + " to " + safe(list) + ": " + safe(error) + "\n";
  }
  return out;
}

Exit done(Session& session, const Change& change, const std::function<std::string(const Json&)>& words) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto answer = (*client)->change(request_of(session, change));
  if (!answer) return session.fail(answer.error());
  if (session.args.json)
    session.json(answer->body);
  else
    session.print(words(answer->body));
  return Exit::done;
}

}  // namespace

Exit alert_list(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto items = all_items(**client, paths::kAlerts);
  if (!items) return session.fail(items.error());
  std::ranges::sort(*items, std::ranges::greater{},
                    [](const Json& a) { return std::pair(a.integer("created_ms"), a.text("id")); });
  if (session.args.json) {
    session.json(Json::array(*items));
    return Exit::done;
  }
  Table table({"WHEN", "SEVERITY", "STATE", "WHAT", "ALERT", "WENT"});
  std::string trouble;
  for (const auto& a : *items) {
    table.add({utc(a.integer("created_ms")),
               {a.text("severity"), colour_of(a.text("severity"))},
               state_of(a),
               a.text("title"),
               a.text("id"),
               went(a)});
    trouble += troubles(a);
  }
  session.print(table.empty() ? "No alerts.\n" : table.render(session.colour, session.columns));
  if (!trouble.empty()) session.print("Not delivered, or not to all:\n" + trouble);
  return Exit::done;
}

Exit alert_test(Session& session) {
  Change change;
  change.path = paths::action(paths::kAlerts, "test");
  return done(session, change, [](const Json& a) {
    return "alert " + safe(a.text("id")) + " goes to every list; how that went: hostctl alert list\n";
  });
}

Exit alert_ack(Session& session) {
  Change change;
  change.path = paths::action(paths::one(paths::kAlerts, session.args.name), "ack");
  return done(session, change, [](const Json& a) {
    return "alert " + safe(a.text("id")) + " is acknowledged: it goes to nobody further\n";
  });
}

}  // namespace bascule::hostctl
