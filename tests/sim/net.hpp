// The two networks between the places of a cell: management (etcd, promises) and replication (DRBD, migration). Cuts
// have a direction: a packet may be lost one way only.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "tests/sim/engine.hpp"

namespace bascule::sim {

enum class Lan : std::uint8_t { management, replication };

class Net {
 public:
  explicit Net(Engine& engine) : engine_(engine) {}

  void cut(Lan lan, const std::string& from, const std::string& to) { cuts_[index(lan)].insert({from, to}); }
  void join(Lan lan, const std::string& from, const std::string& to) { cuts_[index(lan)].erase({from, to}); }
  /// A machine that is off or hung sends and takes nothing.
  void silence(const std::string& place, bool on);
  void heal();

  bool one_way(Lan lan, const std::string& from, const std::string& to) const;
  bool both_ways(Lan lan, const std::string& a, const std::string& b) const {
    return one_way(lan, a, b) && one_way(lan, b, a);
  }
  /// Of one packet. TCP makes a late one of a lost one.
  Us delay();
  Us added_delay{};
  double loss{};

 private:
  static std::size_t index(Lan lan) { return lan == Lan::management ? 0 : 1; }
  Engine& engine_;
  std::set<std::pair<std::string, std::string>> cuts_[2];
  std::set<std::string> silent_;
};

}  // namespace bascule::sim
