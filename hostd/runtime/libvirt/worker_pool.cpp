#include "hostd/runtime/libvirt/worker_pool.hpp"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "hostd/core/error.hpp"

namespace bascule::runtime::libvirt {
namespace {
constexpr std::chrono::milliseconds last_wait{2000};
}

struct WorkerPool::State {
  std::string name;
  std::size_t thread_limit{}, queue_limit{};
  std::mutex mutex;
  std::condition_variable wake, ended;
  std::deque<std::function<void()>> queue;
  std::size_t idle{}, alive{};
  bool closed{};
};

WorkerPool::WorkerPool(std::string name, std::size_t threads, std::size_t queue_limit)
    : state_(std::make_shared<State>()) {
  BASCULE_CHECK(name.size() <= 15 && threads > 0);
  state_->name = std::move(name);
  state_->thread_limit = threads;
  state_->queue_limit = queue_limit;
  threads_.reserve(threads);
}

WorkerPool::~WorkerPool() { close(last_wait); }

bool WorkerPool::post(std::function<void()> job) {
  const std::lock_guard lock(state_->mutex);
  if (state_->closed || state_->queue.size() >= state_->queue_limit) return false;
  state_->queue.push_back(std::move(job));
  if (state_->idle < state_->queue.size() && threads_.size() < state_->thread_limit) {
    ++state_->alive;
    threads_.emplace_back([state = state_] { work(state); });
    pthread_setname_np(threads_.back().native_handle(), state_->name.c_str());
  }
  state_->wake.notify_one();
  return true;
}

void WorkerPool::work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (true) {
    ++state->idle;
    state->wake.wait(lock, [&] { return state->closed || !state->queue.empty(); });
    --state->idle;
    if (state->closed) break;
    auto job = std::move(state->queue.front());
    state->queue.pop_front();
    lock.unlock();
    job();
    job = nullptr;  // its captures go before the lock is taken
    lock.lock();
  }
  --state->alive;
  state->ended.notify_all();
}

bool WorkerPool::close(std::chrono::milliseconds bound) {
  std::deque<std::function<void()>> dropped;
  bool all = true;
  {
    std::unique_lock lock(state_->mutex);
    if (state_->closed && threads_.empty()) return state_->alive == 0;
    state_->closed = true;
    dropped.swap(state_->queue);
    state_->wake.notify_all();
    all = state_->ended.wait_for(lock, bound, [&] { return state_->alive == 0; });
  }
  for (auto& thread : threads_) {
    if (all) {
      thread.join();
    } else {
      thread.detach();
    }
  }
  threads_.clear();
  return all;
}

}  // namespace bascule::runtime::libvirt
