// The ports of one hostd, onto the simulated cell. What they promise is documented where the ports are.
#pragma once

#include "hostd/note_store.hpp"
#include "hostd/runtime/libvirt/vm_host.hpp"
#include "hostd/runtime/peer/peer_client.hpp"
#include "hostd/runtime/power/power_port.hpp"
#include "hostd/runtime/watchdog/watchdog_port.hpp"
#include "storage/drbd_port.hpp"
#include "tests/sim/cell.hpp"

namespace bascule::sim {

class SimVmHost final : public runtime::VmHost {
 public:
  SimVmHost(Cell& cell, Machine& machine, Process& process) : cell_(cell), machine_(machine), process_(process) {}
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

  void deliver(const core::DomainEvent& event);
  /// libvirtd has gone or come.
  void notice();

 private:
  /// Lets libvirt do something on this machine after a while, whether this hostd lives to hear of it or not.
  Answer<> act(Us length, std::function<core::Result<>()> what);
  boost::asio::awaitable<core::Result<>> reach(bool change);
  Guest* find(const std::string& name);
  Cell& cell_;
  Machine& machine_;
  Process& process_;
  std::vector<Sink> sinks_;
  bool connected_{};
};

class SimDrbd final : public storage::DrbdPort {
 public:
  SimDrbd(Cell& cell, Machine& machine, Process& process) : cell_(cell), machine_(machine), process_(process) {}
  storage::Task<> write_config(storage::Resource resource) override;
  storage::Task<> remove_config(std::string name) override;
  storage::Task<> create_metadata(storage::Resource resource, std::string volume) override;
  storage::Task<> up_standalone(storage::Resource resource) override;
  storage::Task<> mark_stale(storage::Resource resource, std::string volume) override;
  storage::Task<> connect(storage::Resource resource, storage::Discard discard) override;
  storage::Task<> disconnect(std::string name, bool force) override;
  storage::Task<> new_current_uuid_clear_bitmap(storage::Resource resource, std::string volume) override;
  storage::Task<> promote(std::string name, storage::PromotionProof proof) override;
  storage::Task<> demote(std::string name) override;
  storage::Task<> set_two_primaries(std::string name, bool allow) override;
  storage::Task<bool> two_primaries(std::string name) override;
  storage::Task<std::string> generation(storage::Resource resource, std::string volume) override;
  storage::Task<> verify(storage::Resource resource, std::string volume) override;
  storage::Task<> resize(storage::Resource resource, std::string volume, std::uint64_t size_mib) override;
  storage::Task<> detach(storage::Resource resource, std::string volume, bool force) override;
  storage::Task<> ask_again(storage::Resource resource) override;
  storage::Task<> suspend_io(std::string name) override;
  storage::Task<> resume_io(std::string name) override;
  storage::Task<> fail_io(storage::Resource resource) override;
  storage::Task<> down(std::string name) override;
  storage::Task<storage::ResourceState> query(std::string name) override;
  void listen(Changed changed, Trouble trouble) override;
  void stop() override {}
  bool following() const override { return true; }

  void deliver(const std::string& resource);

 private:
  /// One command of drbdsetup: a moment, then the kernel's answer.
  boost::asio::awaitable<void> command();
  core::Result<> answer(std::string refusal, const std::string& what) const;
  Cell& cell_;
  Machine& machine_;
  Process& process_;
  Changed changed_;
};

class SimNotes final : public NotePort {
 public:
  explicit SimNotes(Machine& machine) : machine_(machine) {}
  core::Result<std::optional<std::string>> read() override { return machine_.notes; }
  core::Result<> write(const std::string& text) override {
    machine_.notes = text;
    return {};
  }
  core::Result<std::vector<LostDisk>> lost_disks() override {
    std::vector<LostDisk> out;
    for (const auto& [vm, volume] : machine_.lost_disks) out.push_back({vm, volume});
    return out;
  }
  core::Result<> drop_lost_disk(const LostDisk& disk) override {
    machine_.lost_disks.erase({disk.vm, disk.volume});
    return {};
  }

 private:
  Machine& machine_;
};

class SimWatchdog final : public runtime::WatchdogPort {
 public:
  SimWatchdog(Cell& cell, Machine& machine) : cell_(cell), machine_(machine) {}
  core::Result<runtime::WatchdogInfo> arm(std::uint32_t timeout_s, bool accept_softdog) override;
  core::Result<> pet() override;
  core::Result<> disarm() override;
  bool armed() const override { return machine_.watchdog.armed; }
  core::Result<> expire_now() override;
  core::Result<> postpone() override { return {}; }

 private:
  Cell& cell_;
  Machine& machine_;
};

class SimPeers final : public runtime::PeerPort {
 public:
  SimPeers(Cell& cell, Machine& machine, Process& process) : cell_(cell), machine_(machine), process_(process) {}
  boost::asio::awaitable<core::Result<>> ask_promise(std::string host, std::string address, core::HostLease lease,
                                                     runtime::Deadline deadline) override;

 private:
  Cell& cell_;
  Machine& machine_;
  Process& process_;
};

class SimPower final : public runtime::PowerPort {
 public:
  SimPower(Cell& cell, Process& process) : cell_(cell), process_(process) {}
  bool configured(const std::string& host) const override;
  boost::asio::awaitable<core::Result<>> off(std::string host) override;

 private:
  Cell& cell_;
  Process& process_;
};

}  // namespace bascule::sim
