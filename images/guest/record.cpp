#include "images/guest/record.hpp"

#include <algorithm>
#include <bit>
#include <boost/crc.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bascule::ledger {
namespace {

static_assert(std::endian::native == std::endian::little, "the medium is little-endian");

// On the medium. The checksum sits at the same place in both, and covers the block with itself 0.
struct RawHeader {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t block_bytes;
  Id disk;
  Mac mac;
  std::array<std::uint8_t, 2> pad;
  std::uint64_t slots;
  std::uint64_t wall_ns;
  std::array<std::uint64_t, 4> reserved;
  std::uint64_t sum;
};
struct RawRecord {
  std::array<char, 8> magic;
  std::uint64_t seq;
  Id disk;
  Id run;
  Mac mac;
  std::array<std::uint8_t, 2> pad;
  std::uint64_t mono_ns;
  std::uint64_t wall_ns;
  std::uint64_t nonce;
  std::uint64_t prev;
  std::uint64_t sum;
};
inline constexpr std::size_t kSumAt = 88;
inline constexpr std::size_t kFillAt = 96;
static_assert(offsetof(RawHeader, sum) == kSumAt && sizeof(RawHeader) == kFillAt);
static_assert(offsetof(RawRecord, sum) == kSumAt && sizeof(RawRecord) == kFillAt);

constexpr std::array<char, 8> kHeaderMagic{'B', 'S', 'C', 'L', 'H', 'D', 'R', '1'};
constexpr std::array<char, 8> kRecordMagic{'B', 'S', 'C', 'L', 'R', 'E', 'C', '1'};
constexpr std::uint32_t kVersion = 1;

using Crc64Xz = boost::crc_optimal<64, 0x42F0E1EBA9EA3693ULL, ~0ULL, ~0ULL, true, true>;

std::uint64_t next_fill(std::uint64_t& state) {  // splitmix64
  state += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31U);
}

template <class Raw>
BlockState load(const Block& block, const std::array<char, 8>& magic, Raw& raw) {
  if (is_zero(block)) return BlockState::zero;
  std::memcpy(&raw, block.bytes.data(), sizeof raw);
  return raw.magic == magic && raw.sum == checksum(block) ? BlockState::valid : BlockState::bad;
}

template <class Raw>
std::uint64_t store(Raw& raw, Block& out) {
  raw.sum = 0;
  std::memcpy(out.bytes.data(), &raw, sizeof raw);
  raw.sum = checksum(out);
  std::memcpy(out.bytes.data() + kSumAt, &raw.sum, sizeof raw.sum);
  return raw.sum;
}

}  // namespace

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  std::fprintf(stderr, "ledger: bug: %s\n", error.what.c_str());
  std::abort();
}

std::uint64_t checksum(const Block& block) {
  constexpr std::uint64_t kNone = 0;
  Crc64Xz crc;
  crc.process_bytes(block.bytes.data(), kSumAt);
  crc.process_bytes(&kNone, sizeof kNone);
  crc.process_bytes(block.bytes.data() + kFillAt, kBlockBytes - kFillAt);
  return crc.checksum();
}

bool is_zero(const Block& block) {
  return block.bytes[0] == std::byte{0} &&
         std::memcmp(block.bytes.data(), block.bytes.data() + 1, kBlockBytes - 1) == 0;
}

void encode(const Header& header, Block& out) {
  out.bytes.fill(std::byte{0});
  RawHeader raw{};
  raw.magic = kHeaderMagic;
  raw.version = kVersion;
  raw.block_bytes = kBlockBytes;
  raw.disk = header.disk;
  raw.mac = header.mac;
  raw.slots = header.slots;
  raw.wall_ns = header.wall_ns;
  store(raw, out);
}

void encode(Record& record, Block& out) {
  std::uint64_t state = record.nonce ^ record.seq;
  for (std::size_t at = kFillAt; at < kBlockBytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t value = next_fill(state);
    std::memcpy(out.bytes.data() + at, &value, sizeof value);
  }
  RawRecord raw{};
  raw.magic = kRecordMagic;
  raw.seq = record.seq;
  raw.disk = record.disk;
  raw.run = record.run;
  raw.mac = record.mac;
  raw.mono_ns = record.mono_ns;
  raw.wall_ns = record.wall_ns;
  raw.nonce = record.nonce;
  raw.prev = record.prev;
  record.sum = store(raw, out);
}

BlockState decode(const Block& block, Header& out) {
  RawHeader raw{};
  const BlockState state = load(block, kHeaderMagic, raw);
  if (state != BlockState::valid) return state;
  if (raw.version != kVersion || raw.block_bytes != kBlockBytes || raw.slots < kMinSlots || raw.slots > kMaxSlots)
    return BlockState::bad;
  out = {.disk = raw.disk, .mac = raw.mac, .slots = raw.slots, .wall_ns = raw.wall_ns};
  return state;
}

BlockState decode(const Block& block, Record& out) {
  RawRecord raw{};
  const BlockState state = load(block, kRecordMagic, raw);
  if (state != BlockState::valid) return state;
  if (raw.seq == 0) return BlockState::bad;
  out = {.seq = raw.seq,
         .disk = raw.disk,
         .run = raw.run,
         .mac = raw.mac,
         .mono_ns = raw.mono_ns,
         .wall_ns = raw.wall_ns,
         .nonce = raw.nonce,
         .prev = raw.prev,
         .sum = raw.sum};
  return state;
}

}  // namespace bascule::ledger
