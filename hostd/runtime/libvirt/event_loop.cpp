#include "hostd/runtime/libvirt/event_loop.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>

#include <csignal>
#include <mutex>

#include "hostd/core/error.hpp"

namespace bascule::runtime::libvirt {
namespace {
std::atomic<bool> lives{false};  // libvirt's loop is process-wide, so this guard is too

// Rounds after the stop, so that libvirt's deferred frees (timeouts of 0 ms) run.
constexpr int last_rounds = 20;
constexpr int last_round_ms = 1;

void ignore_error(void* /*user*/, virErrorPtr /*error*/) {}  // else libvirt prints every error to stderr
}  // namespace

EventLoop::EventLoop() {
  BASCULE_CHECK(!lives.exchange(true));
  static std::once_flag once;
  std::call_once(once, [] {
    // libvirt's client writes to its socket with plain write(): a daemon that was killed must not end this process too.
    // Children get the default back (spawn.cpp).
    static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
    BASCULE_CHECK(virInitialize() == 0);
    virSetErrorFunc(nullptr, ignore_error);
    BASCULE_CHECK(virEventRegisterDefaultImpl() == 0);
  });
  wake_timer_ = virEventAddTimeout(-1, [](int, void*) {}, nullptr, nullptr);
  BASCULE_CHECK(wake_timer_ >= 0);
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "lv-events");
}

EventLoop::~EventLoop() {
  stop_ = true;
  virEventUpdateTimeout(wake_timer_, last_round_ms);
  thread_.join();
  virEventRemoveTimeout(wake_timer_);
  lives = false;
}

void EventLoop::run() {
  while (!stop_) virEventRunDefaultImpl();
  for (int i = 0; i < last_rounds; ++i) virEventRunDefaultImpl();
}

}  // namespace bascule::runtime::libvirt
