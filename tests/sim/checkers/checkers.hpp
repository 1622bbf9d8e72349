// One checker for each invariant of DESIGN section 2. S6 (nothing reaches into a guest) is the boundary's own test
// (tests/lint/boundary.py), S8 (the timing budget) is checked when a cell is made.
#pragma once

#include "tests/sim/cell.hpp"

namespace bascule::sim {

std::unique_ptr<Checker> one_runner();       // S1
std::unique_ptr<Checker> no_lost_write();    // S2
std::unique_ptr<Checker> good_legs();        // S3
std::unique_ptr<Checker> two_primaries();    // S4
std::unique_ptr<Checker> by_a_person();      // S5
std::unique_ptr<Checker> traced();           // S7
std::unique_ptr<Checker> guests_run();       // L1
std::unique_ptr<Checker> operations_end();   // L2
std::unique_ptr<Checker> volumes_in_sync();  // L3

}  // namespace bascule::sim
