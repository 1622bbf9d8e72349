// How a VM fared, as the API shows it.
#include <nlohmann/json.hpp>

#include "api/json.hpp"

namespace bascule::api::json {
namespace {

using Json = nlohmann::json;

Json times(const core::HistoryDay& d) {
  return {{"from_ms", d.since_ms},          {"to_ms", d.until_ms},        {"up_ms", d.up_ms},
          {"down_ms", d.down_ms},           {"unknown_ms", d.unknown_ms}, {"off_ms", d.off_ms},
          {"protected_ms", d.protected_ms}, {"resync_ms", d.resync_ms},   {"failovers", d.failovers}};
}

Json day(const core::HistoryDay& d) {
  Json j = times(d);
  j["day"] = d.day;
  j["behind_kib"] = d.behind_kib;
  j["more_outages"] = d.more_outages;
  j["outages"] = Json::array();
  for (const auto& o : d.outages) {
    Json outage = {{"from_ms", o.from_ms}, {"to_ms", o.to_ms}, {"why", core::to_string(o.why)}};
    if (!o.operation.empty()) outage["operation"] = o.operation;
    j["outages"].push_back(std::move(outage));
  }
  return j;
}

}  // namespace

std::string history(const std::string& vm, bool replicates, const core::History& history) {
  Json j = {{"vm", vm}, {"days", Json::array()}};
  for (const auto& d : history.days) j["days"].push_back(day(d));
  Json& sum = j["sum"] = times(history.sum);
  sum["outages"] = history.outages;
  sum["longest_outage_ms"] = history.longest_ms;
  if (history.available) sum["available"] = *history.available;
  if (history.available_least) sum["available_least"] = *history.available_least;
  if (history.protection && replicates) sum["protected"] = *history.protection;
  // A record is UTF-8 already; whatever is not is replaced, never thrown about.
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace bascule::api::json
