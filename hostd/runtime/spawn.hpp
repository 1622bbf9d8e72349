// Starting one child with posix_spawn; shared by `run` and `LineProcess`. No waiting happens here.
#pragma once

#include <sys/types.h>

#include "hostd/core/error.hpp"
#include "hostd/runtime/process.hpp"

namespace bascule::runtime {

/// A descriptor with one owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }
  int get() const { return fd_; }
  int release();
  void reset();

 private:
  int fd_{-1};
};

struct Spawned {
  pid_t pid{-1};
  Descriptor pidfd;  ///< readable once the child has ended; not yet reaped, so the pid cannot be reused
  Descriptor out;    ///< our end of its stdout, non-blocking
  Descriptor err;    ///< our end of its stderr; empty when `merge_err_to_null`
};

/// Errors: invalid, not_found, io. On an error nothing runs.
core::Result<Spawned> spawn(const Command& command, bool keep_stderr);

/// SIGKILL to the child's whole group. Only before the child is reaped.
void kill_group(pid_t pid);

/// Reaps without waiting. The wait status, or nullopt while it still runs.
std::optional<int> try_reap(pid_t pid);

}  // namespace bascule::runtime
