// DRBD in memory: one world of legs and links, a FakeDrbd per host. It keeps the promises of DrbdPort that
// tests/lab/t_storage.py shows of the real one: who may promote, what freezes, what a disconnect outdates. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "storage/drbd_port.hpp"
#include "storage/pool_port.hpp"

namespace bascule::testkit {

class FakeDrbd;

/// All hosts' legs and what lies between them.
class FakeDrbdWorld {
 public:
  /// One host's side of one resource.
  struct Side {
    bool up{}, wants_link{}, configured{};
    storage::Role role{storage::Role::secondary};
    bool two_primaries{}, frozen{}, suspended{};
    int asked_again{};  ///< how often the kernel was made to ask its helper anew
    bool held_open{};   ///< knob: a demote is refused
    struct Leg {
      bool metadata{}, fresh{}, attached{}, stale{};
      storage::Disk disk{storage::Disk::diskless};
      std::uint32_t minor{};
      std::uint64_t size_mib{};
      std::string backing;
    };
    std::map<std::uint16_t, Leg> legs;
  };
  std::map<std::string, std::map<std::string, Side>> sides;  ///< resource -> host -> side
  std::map<std::string, FakeDrbd*> hosts;
  std::set<std::string> unknown_next;  ///< knob: hosts whose next change ends as outcome_unknown, after it happened

  bool link_up() const { return link_up_; }
  void cut();   ///< Primaries freeze
  void heal();  ///< those that want to, connect; stale legs are resynced at once

  /// The host at the other end of an established connection; nullptr without one.
  Side* linked(const std::string& resource, const std::string& host);
  std::string peer_host(const std::string& resource, const std::string& host) const;
  storage::ResourceState state(const std::string& resource, const std::string& host);
  void settle(const std::string& resource);  ///< after any change: connects, resyncs, tells the listeners
  /// True when both sides are Primary outside a window: what S4 forbids.
  bool split(const std::string& resource) const;

 private:
  bool link_up_{true};
  std::map<std::string, storage::ResourceState> told_;  // resource@host
};

class FakeDrbd : public storage::DrbdPort {
 public:
  FakeDrbd(FakeDrbdWorld& world, std::string host);
  ~FakeDrbd() override;

  /// The fence-peer decision was won (exit 4): the frozen Primary goes on alone.
  void fence_won(const std::string& name);

  storage::Task<> write_config(storage::Resource resource) override;
  storage::Task<> remove_config(std::string name) override;
  storage::Task<> create_metadata(storage::Resource resource, std::string volume) override;
  storage::Task<> up_standalone(storage::Resource resource) override;
  storage::Task<> mark_stale(storage::Resource resource, std::string volume) override;
  using DrbdPort::connect;
  storage::Task<> connect(storage::Resource resource, storage::Discard discard) override;
  storage::Task<std::string> generation(storage::Resource resource, std::string volume) override;
  storage::Task<> disconnect(std::string name, bool force) override;
  storage::Task<> new_current_uuid_clear_bitmap(storage::Resource resource, std::string volume) override;
  storage::Task<> promote(std::string name, storage::PromotionProof proof) override;
  storage::Task<> demote(std::string name) override;
  storage::Task<> set_two_primaries(std::string name, bool allow) override;
  storage::Task<bool> two_primaries(std::string name) override;
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
  void stop() override { changed_ = nullptr; }
  bool following() const override { return changed_ != nullptr; }

  const std::string& host() const { return host_; }

 private:
  friend class FakeDrbdWorld;
  using Side = FakeDrbdWorld::Side;
  Side& side(const std::string& name) { return world_.sides[name][host_]; }
  Side::Leg* leg(const storage::Resource& resource, const std::string& volume);
  /// After a change: settles the world, then answers as the knob says.
  core::Result<> changed(const std::string& name);

  FakeDrbdWorld& world_;
  std::string host_;
  Changed changed_;
};

/// Backing devices in memory, with a size limit.
class FakePool final : public storage::PoolPort {
 public:
  explicit FakePool(std::uint64_t total_mib) : total_mib_(total_mib) { config_.path = "/fake"; }
  const storage::PoolConfig& config() const override { return config_; }
  storage::Task<std::string> create(storage::LegName leg, std::uint64_t size_mib) override;
  storage::Task<std::string> activate(storage::LegName leg) override;
  storage::Task<> grow(storage::LegName leg, std::uint64_t size_mib) override;
  storage::Task<> remove(storage::LegName leg) override;
  storage::Task<> snapshot(storage::LegName leg, storage::Snapshot which) override;
  storage::Task<bool> has_snapshot(storage::LegName leg, storage::Snapshot which) override;
  bool snapshots_at_once() const override { return true; }
  storage::Task<storage::PoolSpace> space() override;

  std::map<std::string, std::uint64_t> devices;  ///< name -> MiB of backing

 private:
  storage::PoolSpace room() const;
  std::uint64_t total_mib_;
  storage::PoolConfig config_;
};

}  // namespace bascule::testkit
