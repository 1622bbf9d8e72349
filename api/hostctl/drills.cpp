// When VMs were last really carried to the other site, and when that is due again, for people.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

/// The longest overdue first; those of which none is asked last.
bool sooner(const Json& a, const Json& b) {
  const auto key = [](const Json& d) {
    return std::tuple(d.integer("every_days") == 0, d.integer("due_ms"), d.text("vm"));
  };
  return key(a) < key(b);
}

Cell due(const Json& d) {
  if (d.integer("every_days") == 0) return "not asked for";
  const std::string when = d.has("due_ms") ? utc(d.integer("due_ms")) : "never made";
  return d.flag("overdue") ? Cell(when + ", OVERDUE", Colour::red) : Cell(when);
}

}  // namespace

Exit drills(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto items = all_items(**client, paths::query(paths::kDrills, {{"project", session.args.project}}));
  if (!items) return session.fail(items.error());
  std::ranges::sort(*items, sooner);
  if (session.args.json) {
    session.json(Json::array(*items));
    return Exit::done;
  }
  Table table({"DUE", "VM", "PROJECT", ">EVERY", "LAST", "BY", "RAN ON", "OPERATION"});
  for (const auto& d : *items) {
    const Json last = d["last"];
    const std::int64_t every = d.integer("every_days");
    table.add({due(d), d.text("vm"), d.text("project"), every == 0 ? "" : fmt::format("{} d", every),
               utc(last.integer("when_ms")), last.text("what"), last.text("host"), last.text("operation")});
  }
  session.print(table.empty() ? "No VMs.\n" : table.render(session.colour, session.columns));
  return Exit::done;
}

}  // namespace bascule::hostctl
