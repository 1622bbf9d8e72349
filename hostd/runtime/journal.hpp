// Records on their way to journald, by a thread of their own: a journald that hangs, or that is restarted, holds up
// nobody who has something to say. The io thread renews the host's lease. Thread rule: any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace bascule::runtime {

class Journal {
 public:
  using Record = std::vector<std::string>;       ///< FIELD=value, each
  static constexpr std::size_t kWaiting = 4096;  ///< records, some 300 bytes each; beyond: the newest is dropped
  static constexpr std::chrono::seconds kFlush{1};

  Journal();
  /// Sends what waits, for kFlush at most; what journald does not take by then is lost.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  void add(Record record);
  /// Waits until all of it is sent, for kFlush at most.
  void flush();

 private:
  struct Waiting;
  std::shared_ptr<Waiting> waiting_;  ///< the thread's, too: one that journald holds up outlives this object
  std::thread thread_;
};

}  // namespace bascule::runtime
