// Small helpers for tests that drive coroutines on their own loop.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "hostd/runtime/etcd/kv_store.hpp"
#include "hostd/runtime/etcd/recipes.hpp"

namespace bascule::testkit {

using namespace std::chrono_literals;

inline runtime::Deadline in(std::chrono::milliseconds time) { return runtime::Deadline::clock::now() + time; }

/// Runs the loop until the coroutine has ended; other work on the loop goes on beside it.
template <class T>
T run(boost::asio::io_context& io, boost::asio::awaitable<T> work) {
  std::optional<T> result;
  std::exception_ptr failure;
  bool done = false;
  boost::asio::co_spawn(io, std::move(work), [&](std::exception_ptr error, T value) {
    failure = error;
    result.emplace(std::move(value));
    done = true;
  });
  io.restart();
  while (!done && io.run_one() > 0) continue;
  if (failure) std::rethrow_exception(failure);
  if (!result) throw std::runtime_error("the loop ran dry");
  return *std::move(result);
}

/// Runs the loop until the condition holds; false when that took too long.
inline bool wait_for(boost::asio::io_context& io, std::chrono::milliseconds limit, const std::function<bool()>& holds) {
  const auto until = in(limit);
  io.restart();
  while (!holds()) {
    if (runtime::Deadline::clock::now() >= until) return false;
    io.run_one_for(10ms);
    io.restart();
  }
  return true;
}

inline core::kv::Txn put(std::string key, std::string value) {
  core::kv::Txn txn;
  txn.success.emplace_back(core::kv::Put{std::move(key), std::move(value)});
  return txn;
}

/// A guarded write of `value` where `revision` is expected, that knows its own value again.
inline runtime::GuardedWrite guarded(const std::string& key, core::kv::Revision revision, const std::string& value) {
  runtime::GuardedWrite write;
  write.txn = put(key, value);
  write.txn.compares.push_back(core::kv::Compare::mod_revision(key, revision));
  write.key = key;
  write.ours = [value](const core::kv::KeyValue* there) { return there != nullptr && there->value == value; };
  return write;
}

}  // namespace bascule::testkit
