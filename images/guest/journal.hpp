// The writing side: finds where the last run stopped, and appends. One owner, one thread.
#pragma once

#include <cstdint>

#include "images/guest/medium.hpp"
#include "images/guest/record.hpp"

namespace bascule::ledger {

struct Stamp {
  std::uint64_t mono_ns = 0;
  std::uint64_t wall_ns = 0;
  std::uint64_t nonce = 0;
};

class Journal {
 public:
  struct Options {
    std::uint64_t offset = kDefaultOffset;
    std::uint64_t max_slots = kMaxSlots;  ///< only when formatting
    Mac mac{};
    Id run{};       ///< fresh and random
    Id new_disk{};  ///< fresh and random; the medium's id if it is empty
    std::uint64_t wall_ns = 0;
  };

  /// Formats a medium that is zero from `offset` on; continues after the newest record of a valid
  /// one; refuses everything else and leaves it as it is.
  static Result<Journal> open(Medium medium, const Options& options);

  /// On return the record is durable: only then may it be reported. After an error the journal is
  /// closed for good, because what a failed flush left behind is unknown.
  Result<Record> append(const Stamp& stamp);

  std::uint64_t last() const { return last_; }
  std::uint64_t last_sum() const { return last_sum_; }
  const Header& header() const { return header_; }
  bool formatted() const { return formatted_; }  ///< this open() found the medium empty

 private:
  Journal(Medium medium, const Options& options) : medium_(std::move(medium)), options_(options) {}
  Result<> format(std::uint64_t slots);

  Block block_{};
  Medium medium_;
  Options options_;
  Header header_;
  std::uint64_t last_ = 0;
  std::uint64_t last_sum_ = 0;
  bool formatted_ = false;
  bool failed_ = false;
};

}  // namespace bascule::ledger
