// Reading a ring back and saying what is wrong with it. examine() is pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "images/guest/medium.hpp"
#include "images/guest/record.hpp"

namespace bascule::ledger {

struct Slot {
  BlockState state = BlockState::zero;
  Record record;  ///< meaningful when state is valid
};

/// What is on a medium, as read.
struct Ring {
  BlockState header_state = BlockState::zero;
  Header header;            ///< meaningful when header_state is valid
  std::vector<Slot> slots;  ///< as many as the header says; without a valid header none
};

/// Reads header and slots. An error means the medium could not be read, not that it is bad.
Result<Ring> read_ring(const Medium& medium, std::uint64_t offset);

/// How many slots fit from `offset` to the end of a medium; an error if too few.
Result<std::uint64_t> slots_that_fit(std::uint64_t medium_bytes, std::uint64_t offset);

/// Sequence numbers, ascending, of what is wrong. A ring that one program wrote in order, cut off
/// at any moment, has none of it.
struct RingFindings {
  std::uint64_t last = 0;   ///< newest valid record; 0: none
  std::uint64_t first = 1;  ///< oldest record that must be there; first > last: none
  std::uint64_t last_sum = 0;
  bool in_flight = false;                  ///< the block after the newest is damaged: a write was cut off
  std::vector<std::uint64_t> missing;      ///< a later record is there, this one is not
  std::vector<std::uint64_t> torn;         ///< bad checksum where this record belongs
  std::vector<std::uint64_t> misplaced;    ///< a valid record in another record's slot
  std::vector<std::uint64_t> foreign;      ///< a record with another disk's id
  std::vector<std::uint64_t> chain;        ///< does not follow the record before it
  std::vector<std::uint64_t> interleaved;  ///< a run goes on after another run began

  bool clean() const {
    return missing.empty() && torn.empty() && misplaced.empty() && foreign.empty() && chain.empty() &&
           interleaved.empty();
  }
};
RingFindings examine(const Ring& ring);

/// The valid record `seq` in its own slot, if it is there.
const Record* find_record(const Ring& ring, std::uint64_t seq);

}  // namespace bascule::ledger
