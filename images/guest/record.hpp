// What the ledger writes: one header block, then a ring of records, one 4 KiB block each.
// Thread rule: plain values, no shared state.
#pragma once

#include <array>
#include <boost/system/result.hpp>
#include <cstddef>
#include <cstdint>
#include <string>

namespace bascule::ledger {

// The judge must not depend on what it judges, so this folder uses nothing of the daemon's.
struct Error {
  std::string what;
};
template <class T = void>
using Result = boost::system::result<T, Error>;
/// Needed by boost::system::result for value() on an error: a bug, so it ends the program.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location&);

inline constexpr std::size_t kBlockBytes = 4096;              ///< unit of every read and write
inline constexpr std::uint64_t kDefaultOffset = 64ULL << 20;  ///< the boot image lies before it
inline constexpr std::uint64_t kMinSlots = 8;
/// 256 MiB, about 22 minutes at 50 records a second; bounds the scan at start and its memory.
inline constexpr std::uint64_t kMaxSlots = 65536;

struct alignas(kBlockBytes) Block {  // aligned because O_DIRECT asks for it
  std::array<std::byte, kBlockBytes> bytes;
};

using Id = std::array<std::uint8_t, 16>;
using Mac = std::array<std::uint8_t, 6>;

struct Header {
  Id disk{};  ///< drawn when the medium is formatted
  Mac mac{};  ///< of the VM that formatted it
  std::uint64_t slots = 0;
  std::uint64_t wall_ns = 0;
};

struct Record {
  std::uint64_t seq = 0;  ///< from 1, without holes
  Id disk{};
  Id run{};  ///< drawn at each start of the program
  Mac mac{};
  std::uint64_t mono_ns = 0;
  std::uint64_t wall_ns = 0;
  std::uint64_t nonce = 0;  ///< also the seed of the block's filling
  std::uint64_t prev = 0;   ///< checksum of record seq-1; 0 for the first
  std::uint64_t sum = 0;    ///< set by encode()
  bool operator==(const Record&) const = default;
};

enum class BlockState : std::uint8_t { zero, valid, bad };

/// CRC-64/XZ. The faults looked for are lost, stale, torn and misplaced blocks, not forgery: 64
/// bits leave a chance of 5e-20 per damaged block, and a cryptographic sum would slow the guest.
std::uint64_t checksum(const Block& block);

bool is_zero(const Block& block);

void encode(const Header& header, Block& out);
/// Fills the whole block, so that a torn write shows wherever it tore; sets record.sum.
void encode(Record& record, Block& out);

BlockState decode(const Block& block, Header& out);
BlockState decode(const Block& block, Record& out);

/// Where record `seq` lives in a ring of `slots`.
inline std::uint64_t slot_of(std::uint64_t seq, std::uint64_t slots) { return (seq - 1) % slots; }

}  // namespace bascule::ledger
