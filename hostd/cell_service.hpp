// The cell as the REST server sees it: CellStore plus this host's images and health.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/cell_port.hpp"
#include "hostd/countersigner.hpp"
#include "hostd/images.hpp"
#include "hostd/node.hpp"
#include "hostd/runtime/cell/history.hpp"
#include "hostd/runtime/cell/store.hpp"

namespace bascule {

class CellService final : public api::CellPort {
 public:
  using HealthProbe = std::function<Health()>;
  using Promise = std::function<core::Result<>(const std::string& host, const core::HostLease& lease)>;
  using PaceProbe = std::function<Pace()>;
  /// `alerts`: this host has lists of recipients.
  CellService(runtime::CellStore& store, runtime::HeadStore& heads, runtime::HistoryStore& history,
              const Countersigner& countersigner, ImageStore& images, HealthProbe health, PaceProbe pace,
              Promise promise, core::FourEyes four_eyes = {}, bool alerts = false);

  const core::CellView& view() const override { return store_.view(); }
  boost::asio::awaitable<core::Result<api::Submitted>> submit(core::Request request) override;
  boost::asio::awaitable<core::Result<>> steer(core::Caller caller, std::string operation, core::Steer how,
                                               std::string reason) override;
  boost::asio::awaitable<core::Result<core::RestorePlan>> restore(core::RestoreStep step,
                                                                  core::Request request) override;
  boost::asio::awaitable<core::Result<std::vector<core::AuditRecord>>> audit(std::int64_t from,
                                                                             std::size_t limit) override;
  boost::asio::awaitable<core::Result<std::vector<core::SignedHead>>> audit_heads() override;
  AuditWatch audit_watch() const override { return {countersigner_.signed_up_to(), countersigner_.problem()}; }
  core::Result<std::vector<api::Event>> events_after(core::Revision after, std::size_t limit) override;
  boost::asio::awaitable<core::Result<>> wait_event(core::Revision after, std::int64_t timeout_ms) override;
  core::Result<std::string> image_upload_path(const std::string& name, std::uint64_t bytes) override;
  boost::asio::awaitable<core::Result<api::Submitted>> import_image(core::Caller caller, std::string name,
                                                                    std::string temporary, std::string reason,
                                                                    std::string idempotency_key) override;
  Health health() const override { return health_(); }
  Pace pace() const override { return pace_(); }
  const core::AlertBook& alerts() const override { return store_.alerts(); }
  boost::asio::awaitable<core::Result<std::string>> test_alert(core::Request request) override;
  boost::asio::awaitable<core::Result<>> acknowledge(core::Caller caller, std::string id, std::string reason) override;
  boost::asio::awaitable<core::Result<core::History>> history(std::string vm, core::Revision incarnation,
                                                              std::size_t days) override;
  core::Result<> promise(const std::string& host, const core::HostLease& lease) override {
    return promise_(host, lease);
  }
  std::string host_id() const override { return store_.self(); }

 private:
  runtime::CellStore& store_;
  runtime::HeadStore& heads_;
  runtime::HistoryStore& history_;
  const Countersigner& countersigner_;
  ImageStore& images_;
  HealthProbe health_;
  PaceProbe pace_;
  Promise promise_;
  core::FourEyes four_eyes_;
  bool alerts_{};
  std::uint64_t tests_{};
};

}  // namespace bascule
