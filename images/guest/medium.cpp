#include "images/guest/medium.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bascule::ledger {

Result<Medium> Medium::open(const std::string& path, Mode mode) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return Error{"cannot open " + path + ": " + std::strerror(errno)};
  if (!S_ISBLK(info.st_mode) && !S_ISREG(info.st_mode)) return Error{path + " is neither a block device nor a file"};

  int flags = O_CLOEXEC | O_DIRECT | (mode == Mode::write ? O_RDWR : O_RDONLY);
  if (mode == Mode::write && S_ISBLK(info.st_mode)) flags |= O_EXCL;
  int fd = ::open(path.c_str(), flags);
  if (fd < 0 && errno == EINVAL) fd = ::open(path.c_str(), flags & ~O_DIRECT);
  if (fd < 0) return Error{"cannot open " + path + ": " + std::strerror(errno)};

  const off_t size = ::lseek(fd, 0, SEEK_END);
  Medium medium(fd, size < 0 ? 0 : static_cast<std::uint64_t>(size), path);  // closes fd from here
  if (size < 0) return medium.failure("cannot find the size of", 0, errno);
  if (mode == Mode::write && ::flock(fd, LOCK_EX | LOCK_NB) != 0) return Error{path + " is in use by another ledger"};
  return medium;
}

Medium::Medium(int fd, std::uint64_t size, std::string path) : fd_(fd), size_(size), path_(std::move(path)) {}

Medium::Medium(Medium&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_(other.size_), path_(std::move(other.path_)) {}

Medium& Medium::operator=(Medium&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

Medium::~Medium() {
  if (fd_ >= 0) ::close(fd_);
}

Error Medium::failure(const char* act, std::uint64_t offset, int error) const {
  return Error{std::string(act) + " " + path_ + " at byte " + std::to_string(offset) + ": " + std::strerror(error)};
}

Result<> Medium::read(std::uint64_t offset, std::span<Block> out) const {
  auto* data = reinterpret_cast<char*>(out.data());
  std::size_t left = out.size_bytes();
  while (left > 0) {
    const ssize_t got = ::pread(fd_, data, left, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure("cannot read", offset, errno);
    if (got == 0) return Error{path_ + " ends at byte " + std::to_string(offset)};
    data += got;
    offset += static_cast<std::uint64_t>(got);
    left -= static_cast<std::size_t>(got);
  }
  return {};
}

Result<> Medium::write(std::uint64_t offset, const Block& block) {
  // Never continued after a short write: one record is one request to the device.
  ssize_t put = 0;
  do {
    put = ::pwrite(fd_, block.bytes.data(), kBlockBytes, static_cast<off_t>(offset));
  } while (put < 0 && errno == EINTR);
  if (put < 0) return failure("cannot write", offset, errno);
  if (put != static_cast<ssize_t>(kBlockBytes)) return failure("short write to", offset, EIO);
  return {};
}

Result<> Medium::flush() {
  if (::fdatasync(fd_) != 0) return failure("cannot flush", 0, errno);
  return {};
}

}  // namespace bascule::ledger
