// A cell in memory behind the API's port: plans with the real core::plan, keeps operations until told how they end.
// Thread rule: io thread only, like the port.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/cell_port.hpp"
#include "hostd/core/plan.hpp"
#include "hostd/runtime/signal.hpp"

namespace bascule::test {

class FakeCell final : public api::CellPort {
 public:
  static constexpr core::WallMs kNow = 1'790'000'000'000;  ///< a test's time stands still
  /// Hosts a1 (site A) and b1 (site B); images go to `folder`.
  FakeCell(boost::asio::any_io_executor executor, std::string folder);

  // The port.
  const core::CellView& view() const override { return view_; }
  boost::asio::awaitable<core::Result<api::Submitted>> submit(core::Request request) override;
  boost::asio::awaitable<core::Result<>> steer(core::Caller caller, std::string operation, core::Steer how,
                                               std::string reason) override;
  boost::asio::awaitable<core::Result<core::RestorePlan>> restore(core::RestoreStep step,
                                                                  core::Request request) override;
  boost::asio::awaitable<core::Result<std::vector<core::AuditRecord>>> audit(std::int64_t from,
                                                                             std::size_t limit) override;
  boost::asio::awaitable<core::Result<std::vector<core::SignedHead>>> audit_heads() override;
  core::Result<std::vector<api::Event>> events_after(core::Revision after, std::size_t limit) override;
  core::Revision events_kept_after() const override { return forgotten_; }
  boost::asio::awaitable<core::Result<>> wait_event(core::Revision after, std::int64_t timeout_ms) override;
  core::Result<std::string> image_upload_path(const std::string& name, std::uint64_t bytes) override;
  boost::asio::awaitable<core::Result<api::Submitted>> import_image(core::Caller caller, std::string name,
                                                                    std::string temporary, std::string reason,
                                                                    std::string idempotency_key) override;
  const core::AlertBook& alerts() const override { return alerts_; }
  boost::asio::awaitable<core::Result<std::string>> test_alert(core::Request request) override;
  boost::asio::awaitable<core::Result<>> acknowledge(core::Caller caller, std::string id, std::string reason) override;
  boost::asio::awaitable<core::Result<core::History>> history(std::string vm, core::Revision incarnation,
                                                              std::size_t days) override;
  Health health() const override { return health_; }
  core::Result<> promise(const std::string& host, const core::HostLease& lease) override {
    if (refuses_promises) return core::fail(core::Errc::refused, "a takeover of a VM of " + host + " is at work on a1");
    promised[host] = lease;
    return {};
  }
  std::string host_id() const override { return "a1"; }

  bool refuses_promises{};                          ///< knob
  std::map<std::string, core::HostLease> promised;  ///< by host

  // What tests do to it. Every change makes a new revision and an event.
  void add_vm(const std::string& name, const std::string& project, bool running);
  void touch_vm(const std::string& name);
  /// Ends an operation as its hosts would have; false: there is none at work under that id.
  bool finish(const std::string& operation, core::OpState state);
  void progress(const std::string& operation, int percent);
  /// An alert as hosts write it; what it says is `id`'s.
  void add_alert(const std::string& id, const std::string& kind, const std::string& severity, bool over);
  void forget_events();
  void set_synced(bool synced) { view_.synced = synced; }
  void set_health(const Health& health) { health_ = health; }
  /// The next submit fails with this.
  void fail_next(core::Error error) { next_failure_ = std::move(error); }
  core::CellView& edit() { return view_; }
  core::Revision changed(const std::string& type, const std::string& object, const std::string& project);

  /// Puts it where history() finds it, ending now.
  void set_history(const std::string& vm, int days);

  std::vector<core::SignedHead> heads;
  core::FourEyes four_eyes;
  std::size_t submitted{};  ///< requests that reached the cell

 private:
  struct Answer {
    std::string request;
    api::Submitted submitted;
  };
  api::Submitted commit(const core::Plan& plan, const core::Request& request);
  void apply_end(const core::Operation& op);
  void append_audit(core::AuditRecord record);
  void put_alert(const core::Alert& alert, const core::Caller& caller, const std::string& why);

  std::string folder_;
  core::CellView view_;
  runtime::Signal news_;
  std::deque<api::Event> events_;
  core::Revision forgotten_{};
  std::vector<core::AuditRecord> audit_;
  core::AlertBook alerts_;
  std::map<std::string, std::vector<core::HistoryDay>> histories_;
  std::map<std::string, Answer> answers_;
  std::optional<core::Error> next_failure_;
  Health health_{true, true, true, true, "everything this host needs answers"};
  int uploads_{};
};

}  // namespace bascule::test
