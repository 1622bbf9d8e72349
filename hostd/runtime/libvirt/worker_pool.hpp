// A named pool of threads for calls that block. Bounded: work that does not fit is refused, not queued for ever.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace bascule::runtime::libvirt {

class WorkerPool {
 public:
  /// `name` (at most 15 bytes) is what `top -H` shows. Threads start with the first job.
  WorkerPool(std::string name, std::size_t threads, std::size_t queue_limit);
  ~WorkerPool();  // close() with a short bound
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// False when the queue is full or closed; the job is then dropped. Any thread.
  bool post(std::function<void()> job);

  /// Drops what waits and joins the threads; one that is still inside a call at the bound is left behind with its
  /// state (a libvirt that never answers must not hold up the exit). True when all were joined.
  bool close(std::chrono::milliseconds bound);

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
  std::vector<std::thread> threads_;
};

}  // namespace bascule::runtime::libvirt
