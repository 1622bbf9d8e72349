#include "images/guest/ring.hpp"

#include <algorithm>
#include <set>

namespace bascule::ledger {
namespace {

constexpr std::size_t kBlocksPerRead = 128;  // 512 KiB

bool at_home(const Slot& slot, std::uint64_t index, const Header& header) {
  return slot.state == BlockState::valid && slot.record.disk == header.disk &&
         slot_of(slot.record.seq, header.slots) == index;
}

// One record that must be there: what, if anything, is in its place?
void examine_one(const Ring& ring, std::uint64_t seq, RingFindings& out) {
  const std::uint64_t index = slot_of(seq, ring.header.slots);
  const Slot& slot = ring.slots[index];
  if (slot.state == BlockState::bad) {
    out.torn.push_back(seq);
  } else if (slot.state == BlockState::zero) {
    out.missing.push_back(seq);
  } else if (slot.record.disk != ring.header.disk) {
    out.foreign.push_back(seq);
    out.missing.push_back(seq);
  } else if (slot.record.seq != seq) {
    if (!at_home(slot, index, ring.header)) out.misplaced.push_back(slot.record.seq);
    out.missing.push_back(seq);  // an older lap's record, or a stray one
  }
}

void examine_order(const Ring& ring, RingFindings& out) {
  const Record* before = nullptr;
  std::set<Id> ended;  // runs that another run followed
  for (std::uint64_t seq = out.first; seq <= out.last; ++seq) {
    const Record* record = find_record(ring, seq);
    if (record == nullptr) {
      before = nullptr;
      continue;
    }
    if (before != nullptr && record->prev != before->sum) out.chain.push_back(seq);
    if (seq == 1 && record->prev != 0) out.chain.push_back(seq);
    if (before != nullptr && before->run != record->run) ended.insert(before->run);
    if (ended.contains(record->run)) out.interleaved.push_back(seq);
    before = record;
  }
}

// Slots that no record has reached yet must still be empty.
void examine_unused(const Ring& ring, RingFindings& out) {
  const std::uint64_t slots = ring.header.slots;
  for (std::uint64_t seq = out.last + 2; seq <= slots; ++seq) {
    const Slot& slot = ring.slots[slot_of(seq, slots)];
    if (slot.state == BlockState::bad) out.torn.push_back(seq);
    if (slot.state != BlockState::valid) continue;
    const bool ours = slot.record.disk == ring.header.disk;
    (ours ? out.misplaced : out.foreign).push_back(slot.record.seq);
  }
}

}  // namespace

Result<std::uint64_t> slots_that_fit(std::uint64_t medium_bytes, std::uint64_t offset) {
  const std::uint64_t blocks = medium_bytes < offset ? 0 : (medium_bytes - offset) / kBlockBytes;
  if (blocks < kMinSlots + 1)
    return Error{"the medium has " + std::to_string(medium_bytes) + " bytes: no room for a ledger from byte " +
                 std::to_string(offset)};
  return std::min(blocks - 1, kMaxSlots);
}

Result<Ring> read_ring(const Medium& medium, std::uint64_t offset) {
  if (offset % kBlockBytes != 0) return Error{"the offset is not a multiple of " + std::to_string(kBlockBytes)};
  const auto fit = slots_that_fit(medium.size(), offset);
  if (!fit) return fit.error();

  Ring ring;
  std::vector<Block> buffer(kBlocksPerRead);
  if (auto r = medium.read(offset, std::span(buffer).first(1)); !r) return r.error();
  ring.header_state = decode(buffer[0], ring.header);
  // A disk that shrank below its own ring has lost records; there is no honest way to go on.
  if (ring.header_state == BlockState::valid && ring.header.slots > *fit)
    return Error{medium.path() + " holds a ledger of " + std::to_string(ring.header.slots) +
                 " records but has room for " + std::to_string(*fit)};
  const std::uint64_t count = ring.header_state == BlockState::valid ? ring.header.slots : *fit;

  ring.slots.resize(count);
  for (std::uint64_t at = 0; at < count; at += kBlocksPerRead) {
    const auto part = std::span(buffer).first(std::min<std::size_t>(kBlocksPerRead, count - at));
    if (auto r = medium.read(offset + (1 + at) * kBlockBytes, part); !r) return r.error();
    for (std::size_t i = 0; i < part.size(); ++i) ring.slots[at + i].state = decode(part[i], ring.slots[at + i].record);
  }
  return ring;
}

const Record* find_record(const Ring& ring, std::uint64_t seq) {
  if (seq == 0 || ring.header_state != BlockState::valid) return nullptr;
  const std::uint64_t index = slot_of(seq, ring.header.slots);
  const Slot& slot = ring.slots[index];
  return at_home(slot, index, ring.header) && slot.record.seq == seq ? &slot.record : nullptr;
}

RingFindings examine(const Ring& ring) {
  RingFindings out;
  const std::uint64_t slots = ring.header.slots;
  if (ring.header_state != BlockState::valid || slots == 0) return out;
  for (std::uint64_t index = 0; index < slots; ++index) {
    const Slot& slot = ring.slots[index];
    if (!at_home(slot, index, ring.header) || slot.record.seq <= out.last) continue;
    out.last = slot.record.seq;
    out.last_sum = slot.record.sum;
  }
  // The slot after the newest is the one a cut-off write may have damaged: what it held is excused.
  out.first = out.last + 2 > slots ? out.last + 2 - slots : 1;
  out.in_flight = ring.slots[slot_of(out.last + 1, slots)].state == BlockState::bad;
  for (std::uint64_t seq = out.first; seq <= out.last; ++seq) examine_one(ring, seq, out);
  examine_order(ring, out);
  examine_unused(ring, out);
  for (auto* list : {&out.torn, &out.misplaced, &out.foreign}) std::ranges::sort(*list);
  return out;
}

}  // namespace bascule::ledger
