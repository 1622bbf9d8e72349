// PoolPort over LVM (thick or thin) or files on loop devices of this host.
// Thread rule: the executor given, one thread. Acts of one pool wait for each other, so that room
// checked is room taken.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <string>
#include <vector>

#include "storage/pool_port.hpp"
#include "storage/turn.hpp"

namespace bascule::storage {

/// For a configuration that `check` accepts.
std::unique_ptr<PoolPort> make_pool(const boost::asio::any_io_executor& executor, const PoolConfig& config);

class LvmPool final : public PoolPort {
 public:
  LvmPool(const boost::asio::any_io_executor& executor, PoolConfig config);
  const PoolConfig& config() const override { return config_; }
  Task<std::string> create(LegName leg, std::uint64_t size_mib) override;
  Task<std::string> activate(LegName leg) override;
  Task<> grow(LegName leg, std::uint64_t size_mib) override;
  Task<> remove(LegName leg) override;
  Task<> snapshot(LegName leg, Snapshot which) override;
  Task<bool> has_snapshot(LegName leg, Snapshot which) override;
  bool snapshots_at_once() const override { return true; }
  Task<PoolSpace> space() override;

 private:
  Task<std::vector<LvInfo>> list();
  Task<PoolSpace> space_now(std::vector<LvInfo> volumes);
  Task<std::string> make_active(LvInfo volume);
  /// Overwrites thick space with zeroes from this offset on, then swaps the tags.
  Task<> finish(LvInfo volume, std::uint64_t zero_from, std::string add, std::string drop);
  Task<> remove_one(std::string name);
  bool thick() const { return config_.kind == PoolKind::lvm; }

  PoolConfig config_;
  Turn turn_;
};

class LoopPool final : public PoolPort {
 public:
  LoopPool(const boost::asio::any_io_executor& executor, PoolConfig config);
  const PoolConfig& config() const override { return config_; }
  Task<std::string> create(LegName leg, std::uint64_t size_mib) override;
  Task<std::string> activate(LegName leg) override;
  Task<> grow(LegName leg, std::uint64_t size_mib) override;
  Task<> remove(LegName leg) override;
  Task<> snapshot(LegName leg, Snapshot which) override;
  Task<bool> has_snapshot(LegName leg, Snapshot which) override;
  bool snapshots_at_once() const override { return false; }
  Task<PoolSpace> space() override;

 private:
  Task<std::vector<LoopInfo>> devices_of(std::string file);
  Task<std::string> attach(std::string file);
  Task<> detach(std::string file);
  Task<> copy_file(std::string from, std::string to);
  core::Result<PoolSpace> space_now() const;

  PoolConfig config_;
  Turn turn_;
};

}  // namespace bascule::storage
