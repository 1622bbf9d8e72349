// Hypervisors in memory: one world, a FakeVmHost per host, live migration between them. Keeps the same contract tests
// as LibvirtHost. Knobs for what goes wrong are on the world. One thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hostd/runtime/libvirt/vm_host.hpp"

namespace bascule::testkit {

class FakeVmHost;

/// All hosts' hypervisors and what lies between them.
class FakeHypervisors {
 public:
  explicit FakeHypervisors(boost::asio::any_io_executor ex) : executor(std::move(ex)) {}

  struct Guest {
    core::DomainSpec spec;
    core::DomainInfo info;
    core::MigrationStats last_migration;
    std::uint64_t ran{};  ///< how often it was started or resumed, on any host
  };
  boost::asio::any_io_executor executor;
  std::map<std::string, std::map<std::string, Guest>> guests;  ///< host -> VM -> guest
  std::map<std::string, FakeVmHost*> hosts;

  // Knobs.
  std::set<std::string> panics;          ///< VMs whose kernel panics at once; seen only with a panic device
  std::set<std::string> deaf;            ///< VMs that ignore the power button
  std::set<std::string> missing_disks;   ///< device paths that cannot be opened
  std::set<std::string> unreachable;     ///< hosts that no daemon reaches
  std::set<std::string> unkillable;      ///< VMs whose process waits in the kernel
  std::set<std::string> never_converge;  ///< VMs whose migration only ends by abort
  std::chrono::milliseconds migration_time{20};
  /// Where a migration that is asked for next breaks: the source is told nothing (outcome_unknown).
  enum class Break : std::uint8_t { none, before_arrival, after_arrival };
  Break next_migration{Break::none};

  /// True when two hosts have this VM running at once: what S1 forbids.
  bool runs_twice(const std::string& name) const;
};

class FakeVmHost final : public runtime::VmHost {
 public:
  FakeVmHost(FakeHypervisors& world, std::string cell, std::string host);
  FakeVmHost(const FakeVmHost&) = delete;
  FakeVmHost& operator=(const FakeVmHost&) = delete;
  ~FakeVmHost() override;

  void connect();                    ///< emits `connected` with the list
  void lose();                       ///< the daemon died: emits `disconnected`; frozen calls end as outcome_unknown
  void freeze() { frozen_ = true; }  ///< the daemon takes calls and answers none until lose()
  void guest_powers_off(const std::string& name);
  void host_dies();                ///< all guests gone, no events, not connected
  std::vector<std::string> calls;  ///< "start vm1", in order

  void on_event(Sink sink) override { sinks_.push_back(std::move(sink)); }
  bool connected() const override { return connected_; }
  Answer<> start(core::DomainSpec spec, core::StartProof proof) override;
  Answer<std::vector<core::DomainInfo>> list() override;
  Answer<core::DomainInfo> observe(std::string name) override;
  Answer<> request_shutdown(std::string name) override;
  Answer<> force_off(std::string name) override;
  Answer<> reset(std::string name) override;
  Answer<> resume(std::string name, core::ResumeProof proof) override;
  Answer<> migrate(std::string name, std::string host, core::MigrationParams params) override;
  Answer<> abort_migration(std::string name) override;
  Answer<core::MigrationStats> migration_progress(std::string name) override;
  Answer<core::MigrationStats> completed_migration(std::string name) override;
  Answer<> set_max_downtime(std::string name, std::uint64_t ms) override;
  Answer<> set_bandwidth(std::string name, std::uint64_t mib) override;
  Answer<> block_resize(std::string name, std::uint32_t disk_index, std::uint64_t bytes) override;
  Answer<core::HostCapacity> capacity() override;

 private:
  using Guest = FakeHypervisors::Guest;
  struct Job {
    bool aborted{};
    std::uint64_t max_downtime_ms{}, bandwidth_mib{};
  };
  std::map<std::string, Guest>& mine() { return world_.guests[host_]; }
  Guest* find(const std::string& name);
  std::vector<core::DomainInfo> all();
  /// Notes the call; an error when it cannot be answered.
  boost::asio::awaitable<core::Result<>> enter(std::string call, bool change);
  boost::asio::awaitable<core::Result<Guest*>> enter_on(std::string call, std::string name, bool change);
  core::Result<> arrive(const std::string& name, const std::string& host);
  void change(Guest& guest, core::DomainState state, core::DomainReason reason);
  void emit(core::DomainEvent event);
  void gone(const std::string& name, core::DomainReason reason);

  FakeHypervisors& world_;
  std::string cell_, host_;
  std::vector<Sink> sinks_;
  bool connected_{false};
  bool frozen_{false};
  std::shared_ptr<boost::asio::steady_timer> thaw_;  // never ends by itself; cancelled by lose()
  std::map<std::string, Job> jobs_;                  // outgoing migrations
  std::set<std::string> incoming_;                   // VMs being received
  std::map<std::string, std::uint64_t> disk_bytes_;  // "vm1/0"
};

}  // namespace bascule::testkit
