// A block device or plain file, read and written past the page cache. One owner, one thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "images/guest/record.hpp"

namespace bascule::ledger {

class Medium {
 public:
  enum class Mode : std::uint8_t { read, write };

  /// O_DIRECT, so that the answer comes from the medium and not from this kernel's cache; a file
  /// system that has none (tmpfs) is read through the cache. In write mode a block device is
  /// claimed exclusively and a file is locked.
  static Result<Medium> open(const std::string& path, Mode mode);

  Medium(Medium&& other) noexcept;
  Medium& operator=(Medium&& other) noexcept;
  Medium(const Medium&) = delete;
  Medium& operator=(const Medium&) = delete;
  ~Medium();

  std::uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }

  /// All of it or an error; `offset` is a multiple of the block size.
  Result<> read(std::uint64_t offset, std::span<Block> out) const;
  /// All of it or an error. Durable only after flush().
  Result<> write(std::uint64_t offset, const Block& block);
  /// fdatasync: on return the device itself has confirmed a flush.
  Result<> flush();

 private:
  Medium(int fd, std::uint64_t size, std::string path);
  Error failure(const char* act, std::uint64_t offset, int error) const;

  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::string path_;
};

}  // namespace bascule::ledger
