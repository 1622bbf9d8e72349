// The way from libvirt's threads back to the io thread. Once closed nothing passes, so a call that returns late, or an
// event after the stop, touches neither the io_context nor what lived on it.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <mutex>
#include <utility>

namespace bascule::runtime::libvirt {

class IoGate {
 public:
  explicit IoGate(boost::asio::any_io_executor executor) : executor_(std::move(executor)) {}

  /// Any thread. Runs `job` on the io thread unless the gate is closed by then.
  template <class Job>
  void post(std::shared_ptr<IoGate> self, Job job) {
    const std::lock_guard lock(mutex_);
    if (!open_) return;
    boost::asio::post(executor_, [self = std::move(self), job = std::move(job)]() mutable {
      if (self->open_on_io_) job();
    });
  }
  /// The io thread.
  void close() {
    open_on_io_ = false;
    const std::lock_guard lock(mutex_);
    open_ = false;
    executor_ = {};
  }

 private:
  std::mutex mutex_;
  bool open_{true};        // guarded by mutex_
  bool open_on_io_{true};  // the io thread only
  boost::asio::any_io_executor executor_;
};

}  // namespace bascule::runtime::libvirt
