// The senders of alerts as hostd has them, driven by lines. alert_rig HOSTD.TOML, then on stdin for each message:
//   LIST KEY repeat|first ACCEPTED ALERT   with the alert as the JSON of its record; ACCEPTED: a recipient, or +
// Answers one line of JSON: {"sent":..., "error":..., "accepted":[...]}.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "hostd/alert/sender.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/config.hpp"

int main(int argc, char** argv) {
  using nlohmann::json;
  if (argc != 2) return 2;
  auto config = bascule::load_config(argv[1]);
  if (!config) {
    std::cerr << config.error().what << '\n';
    return 2;
  }
  const bascule::alert::Sender sender(config->cell, config->host, config->alerts);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    bascule::core::AlertMessage message;
    std::string repeat, accepted;
    words >> message.job.first >> message.key >> repeat >> accepted;
    message.repeat = repeat == "repeat";
    if (accepted != "+") message.accepted.push_back(accepted);
    std::string record;
    std::getline(words, record);
    auto alert = bascule::codec::decode<bascule::core::Alert>(record);
    if (!alert) {
      std::cerr << alert.error().what << '\n';
      return 2;
    }
    message.job.second = alert->id;
    message.alerts.push_back(std::move(*alert));
    const auto outcome = sender.send(message);
    const json answer = {{"sent", outcome.sent}, {"error", outcome.error}, {"accepted", outcome.accepted}};
    std::cout << answer.dump(-1, ' ', true, json::error_handler_t::replace) << std::endl;
  }
  return 0;
}
