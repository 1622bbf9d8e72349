#include "images/guest/journal.hpp"

#include <algorithm>
#include <vector>

#include "images/guest/ring.hpp"

namespace bascule::ledger {
namespace {

void name_first(const char* word, const std::vector<std::uint64_t>& seqs, std::string& out) {
  if (seqs.empty()) return;
  out += std::string(out.empty() ? "" : ", ") + std::to_string(seqs.size()) + " " + word +
         " (first: " + std::to_string(seqs.front()) + ")";
}

std::string describe(const RingFindings& found) {
  std::string out;
  name_first("missing", found.missing, out);
  name_first("torn", found.torn, out);
  name_first("misplaced", found.misplaced, out);
  name_first("of another disk", found.foreign, out);
  name_first("out of the chain", found.chain, out);
  name_first("of interleaved runs", found.interleaved, out);
  return out;
}

}  // namespace

Result<Journal> Journal::open(Medium medium, const Options& options) {
  const auto ring = read_ring(medium, options.offset);
  if (!ring) return ring.error();
  Journal journal(std::move(medium), options);

  if (ring->header_state == BlockState::bad)
    return Error{"the header block is neither zero nor a ledger's: refused, nothing written"};
  if (ring->header_state == BlockState::zero) {
    const auto used = [](const Slot& slot) { return slot.state != BlockState::zero; };
    if (std::ranges::any_of(ring->slots, used)) return Error{"no header but blocks in use: refused, nothing written"};
    const std::uint64_t slots = std::min<std::uint64_t>(ring->slots.size(), options.max_slots);
    if (auto r = journal.format(slots); !r) return r.error();
    return journal;
  }

  const RingFindings found = examine(*ring);
  if (!found.clean()) return Error{"the ledger is damaged: records " + describe(found) + ": refused, nothing written"};
  journal.header_ = ring->header;
  journal.last_ = found.last;
  journal.last_sum_ = found.last_sum;
  return journal;
}

Result<> Journal::format(std::uint64_t slots) {
  header_ = {
      .disk = options_.new_disk, .mac = options_.mac, .slots = std::max(slots, kMinSlots), .wall_ns = options_.wall_ns};
  encode(header_, block_);
  if (auto r = medium_.write(options_.offset, block_); !r) return r.error();
  if (auto r = medium_.flush(); !r) return r.error();
  formatted_ = true;
  return {};
}

Result<Record> Journal::append(const Stamp& stamp) {
  if (failed_) return Error{"an earlier write failed: nothing more is written"};
  Record record{.seq = last_ + 1,
                .disk = header_.disk,
                .run = options_.run,
                .mac = options_.mac,
                .mono_ns = stamp.mono_ns,
                .wall_ns = stamp.wall_ns,
                .nonce = stamp.nonce,
                .prev = last_sum_};
  encode(record, block_);
  const std::uint64_t at = options_.offset + (1 + slot_of(record.seq, header_.slots)) * kBlockBytes;
  failed_ = true;  // until both calls have returned well
  if (auto r = medium_.write(at, block_); !r) return r.error();
  if (auto r = medium_.flush(); !r) return r.error();
  failed_ = false;
  last_ = record.seq;
  last_sum_ = record.sum;
  return record;
}

}  // namespace bascule::ledger
