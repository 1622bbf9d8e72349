// Where the fence-peer helper asks: a socket of this host. Each question is handed to `Decide`; its answer goes back.
// Thread rule: the executor given, one thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "hostd/core/error.hpp"

namespace bascule::runtime {

/// The exit codes of the helper that hostd uses. Never 3, 5 or 6: they would mark a good leg for good.
enum class FenceAnswer : std::uint8_t {
  not_won = 1,    ///< I/O stays frozen
  excluded = 4,   ///< a committed record shuts the peer out
  power_off = 7,  ///< and its power is confirmed off
};

struct FenceServerState;

class FenceServer {
 public:
  /// Asked once for each call of the helper; may take as long as it needs. If the helper has gone meanwhile, the answer
  /// is dropped: the kernel asks anew when it wants to know.
  using Decide = std::function<boost::asio::awaitable<FenceAnswer>(std::string resource)>;

  static constexpr std::size_t max_questions = 4096;  // Limits::vms: a cut fibre asks for every VM at once
  static constexpr std::size_t max_line = 128;

  /// Takes the place of a socket left by an earlier hostd; mode 0600. Errors: io.
  static core::Result<std::unique_ptr<FenceServer>> make(boost::asio::any_io_executor executor, std::string path,
                                                         Decide decide);
  ~FenceServer();
  FenceServer(const FenceServer&) = delete;
  FenceServer& operator=(const FenceServer&) = delete;

  /// For ever; run it once.
  boost::asio::awaitable<void> run();
  void stop();
  /// Helpers that wait for an answer about this resource now; one that was killed is not among them.
  std::size_t waiting(const std::string& resource) const;

 private:
  explicit FenceServer(std::shared_ptr<FenceServerState> state);
  std::shared_ptr<FenceServerState> state_;
};

}  // namespace bascule::runtime
