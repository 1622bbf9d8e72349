// The cell of the failover tests: b1, the other side of vm1, which a1 held and no longer renews for.
#pragma once

#include <map>
#include <string>

#include "core_fixture.hpp"
#include "hostd/core/ha.hpp"

namespace bascule::core::test {

inline constexpr Mono kTakeover{17'000};  // standard: 16 s, and one verification of 1 s

/// b1, the other side of vm1, which a1 held; a1 is silent since `absent`.
struct Cell {
  CellView view = cell();
  std::map<std::string, LocalVm> locals;
  HaFacts facts;
  std::string self{"b1"};

  Cell() {
    view.hosts["a1"].silent = true;
    view.hosts["a1"].lease = {{"ia", 7, "boot-a"}, 1, 700};
    facts.renewed = true;
    facts.up_for = Mono(3'600'000);
    facts.absent = {{"a1", kTakeover}};
    LocalVm& b = locals["vm1"];
    b.up = true;
    b.role = "Secondary";
    b.peer_role = "Unknown";
    b.connection = "Connecting";
    b.domain = DomainState::absent;
    b.volumes["root"] = {"UpToDate", "DUnknown", "Off", 0};
  }
  VmView& vm() { return view.vms["vm1"]; }
  LocalVm& local() { return locals["vm1"]; }
};

inline void operation(Cell& c, OpKind kind) {
  c.vm().operation = {"op-1", 40, 40};
  auto& op = c.view.operations["op-1"];
  op.revision = 40;
  op.value.id = "op-1";
  op.value.kind = kind;
  op.value.vm = "vm1";
}
inline void fenced(Cell& c, bool confirmed, const char* boot = "boot-a") {
  c.view.hosts["a1"].fence = {{"b1", boot, "lost", confirmed, {}}, 50, 51};
}

}  // namespace bascule::core::test
