// Numbers of this host's API and of the cell as it sees it, for Prometheus.
// Thread rule: any thread, but for `text`, which reads the cell: io thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "api/cell_port.hpp"
#include "api/routes.hpp"
#include "api/trust_status.hpp"

namespace bascule::api {

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// nullptr: no route was found.
  void answered(const Route* route, int status, std::chrono::nanoseconds took);
  void handshake_failed();
  void refused(const char* why);  ///< a connection, stream or upload beyond a limit; `why` is one of a few words
  void connections(core::Role role, std::int64_t change);
  void streams(std::int64_t change);
  void stream_dropped();

  /// Prometheus text format; reads the cell's gauges at this moment.
  std::string text(const CellPort& cell, const TrustStatus& trust) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bascule::api
