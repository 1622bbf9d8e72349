// How a VM fared, for people.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/show.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

/// "99.98 %", cut and not rounded: 100 % means that nothing was missing.
std::string percent(std::int64_t part, std::int64_t whole) {
  if (whole <= 0) return "-";
  const std::int64_t hundredths = part * 10'000 / whole;
  return fmt::format("{}.{:02} %", hundredths / 100, hundredths % 100);
}

std::string time(std::int64_t ms) { return ms == 0 ? "-" : duration_ms(ms); }

Cell available(const Json& t) {
  const std::int64_t up = t.integer("up_ms");
  const std::int64_t seen = up + t.integer("down_ms");
  return {percent(up, seen), up < seen ? Colour::red : Colour::none};
}

std::string sum_of(const Json& sum) {
  const std::int64_t up = sum.integer("up_ms");
  const std::int64_t seen = up + sum.integer("down_ms");
  const std::int64_t unseen = sum.integer("unknown_ms");
  std::string out = field("available", percent(up, seen) + " of the time it should run and was seen");
  if (unseen > 0) {
    out +=
        field("not seen", duration_ms(unseen) + " by any host: had it been down then, " + percent(up, seen + unseen));
  }
  if (sum.has("protected")) out += field("protected", percent(sum.integer("protected_ms"), seen) + " of that time");
  const std::int64_t outages = sum.integer("outages");
  out += field("outages",
               outages == 0 ? "none"
                            : fmt::format("{}, {} in all, the longest {}", outages, duration_ms(sum.integer("down_ms")),
                                          duration_ms(sum.integer("longest_outage_ms"))));
  return out + field("failovers", sum.text("failovers"));
}

std::uint64_t most_behind(const Json& day) {
  std::uint64_t most = 0;
  for (const auto& hour : day["behind_kib"].items()) {
    std::uint64_t kib = 0;
    const std::string text = hour.text();
    std::from_chars(text.data(), text.data() + text.size(), kib);
    most = std::max(most, kib);
  }
  return most * 1024;
}

std::string words(Session& session, const Json& history) {
  const auto days = history["days"].items();
  if (days.empty()) return "Nothing is known of VM " + safe(history.text("vm")) + " yet.\n";
  const Json sum = history["sum"];
  std::string out = "VM " + safe(history.text("vm")) + ", " + utc(sum.integer("from_ms")) + " to " +
                    utc(sum.integer("to_ms")) + "\n" + sum_of(sum);
  Table table({"DAY (UTC)", ">AVAILABLE", ">UP", ">DOWN", ">NOT SEEN", ">OFF", ">PROTECTED", ">MOST BEHIND"});
  Table outages({"DOWN FROM", "TO", ">FOR", "WHY", "OPERATION"});
  for (auto it = days.rbegin(); it != days.rend(); ++it) {
    const Json& d = *it;
    const std::uint64_t behind = most_behind(d);
    table.add(
        {d.text("day"),
         available(d),
         time(d.integer("up_ms")),
         {time(d.integer("down_ms")), d.integer("down_ms") > 0 ? Colour::red : Colour::none},
         time(d.integer("unknown_ms")),
         time(d.integer("off_ms")),
         sum.has("protected") ? percent(d.integer("protected_ms"), d.integer("up_ms") + d.integer("down_ms")) : "-",
         behind == 0 ? "-" : bytes(behind)});
    const auto all = d["outages"].items();
    for (auto o = all.rbegin(); o != all.rend(); ++o) {
      outages.add({utc(o->integer("from_ms")), utc(o->integer("to_ms")),
                   duration_ms(o->integer("to_ms") - o->integer("from_ms")), o->text("why"), o->text("operation")});
    }
    if (d.integer("more_outages") > 0) {
      outages.add({d.text("day"), "", "", fmt::format("and {} more that day", d.integer("more_outages")), ""});
    }
  }
  out += table.render(session.colour, session.columns);
  return outages.empty() ? out : out + outages.render(session.colour, session.columns);
}

}  // namespace

Exit vm_history(Session& session) {
  const std::string days = session.args.days > 0 ? std::to_string(session.args.days) : std::string();
  const auto path = paths::query(paths::one(paths::kVms, session.args.name) + "/history", {{"days", days}});
  return show_one(session, path, [&](const Json& history) { return words(session, history); });
}

}  // namespace bascule::hostctl
