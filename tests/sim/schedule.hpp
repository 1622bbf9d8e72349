// What happens to a cell, as data: written by a person (scenarios/) or drawn from a seed. One schedule and one seed
// give one run, event by event.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/cell.hpp"

namespace bascule::sim {

/// A fault that stands for `length` and is healed then, or something a person asks for.
struct Act {
  Us at{};  ///< after the VMs run and are in sync
  std::string kind, where;
  Us length{};
  bool operator==(const Act&) const = default;
};

struct Schedule {
  CellOptions options;
  int vms{1};
  int volumes{1};
  std::vector<Act> acts;
};

/// The kinds that `where` names a host, a VM, an etcd member or nothing for.
enum class Where : std::uint8_t { host, vm, member, nothing };
struct Kind {
  std::string_view name;
  Where where;
  int weight;   ///< how often it is drawn
  bool asks{};  ///< after it a person may have to act
};
const std::vector<Kind>& kinds();

Schedule draw(std::uint64_t seed);
/// Errors: invalid, names the line.
core::Result<Schedule> parse(std::string_view text);
std::string to_text(const Schedule& schedule);

struct Report {
  std::vector<Violation> violations;
  Us simulated{};
  std::uint64_t events{}, acknowledged{};
  std::size_t operations{}, asked{};  ///< of them, that a person must look at
};
using Tell = std::function<void(Us, std::string_view who, std::string_view what)>;
Report run(const Schedule& schedule, const Tell& tell = {});
/// The same violation with as few acts as could be found.
Schedule shorten(const Schedule& schedule, const std::string& invariant);

}  // namespace bascule::sim
