#include "tests/sim/net.hpp"

namespace bascule::sim {

void Net::silence(const std::string& place, bool on) {
  if (on)
    silent_.insert(place);
  else
    silent_.erase(place);
}

void Net::heal() {
  for (auto& cuts : cuts_) cuts.clear();
  added_delay = 0;
  loss = 0;
}

bool Net::one_way(Lan lan, const std::string& from, const std::string& to) const {
  if (silent_.contains(from) || silent_.contains(to)) return false;
  return from == to || !cuts_[index(lan)].contains({from, to});
}

Us Net::delay() {
  Us total = engine_.rng().in(300, 1500) + added_delay;
  for (int again = 0; again < 6 && loss > 0 && engine_.rng().chance(loss); ++again) total += 200 * kMs << again;
  return total;
}

}  // namespace bascule::sim
