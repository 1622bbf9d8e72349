#include "tests/sim/checkers/checkers.hpp"

namespace bascule::sim {

std::vector<std::unique_ptr<Checker>> all_checkers() {
  std::vector<std::unique_ptr<Checker>> all;
  all.push_back(one_runner());
  all.push_back(no_lost_write());
  all.push_back(good_legs());
  all.push_back(two_primaries());
  all.push_back(by_a_person());
  all.push_back(traced());
  all.push_back(guests_run());
  all.push_back(operations_end());
  all.push_back(volumes_in_sync());
  return all;
}

}  // namespace bascule::sim
