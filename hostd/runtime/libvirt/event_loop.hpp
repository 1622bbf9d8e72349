// libvirt's own poll loop in a thread of its own ("lv-events"). It must exist before the first connection and outlive
// the last one: keepalive, events and replies pass through it. libvirt allows one per process.
#pragma once

#include <atomic>
#include <thread>

namespace bascule::runtime::libvirt {

class EventLoop {
 public:
  EventLoop();   // a bug (BASCULE_CHECK) when another one lives
  ~EventLoop();  // runs what is still queued (deferred frees), then joins
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

 private:
  void run();
  std::atomic<bool> stop_{false};
  int wake_timer_{-1};
  std::thread thread_;
};

}  // namespace bascule::runtime::libvirt
