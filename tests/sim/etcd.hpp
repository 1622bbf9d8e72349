// Three etcd members as far as their clients can tell: one linearizable store; no answer without a quorum, or while a
// leader is elected; answers that are lost, writes that are carried out late; watches that lag, break and find their
// revisions compacted.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "hostd/runtime/etcd/kv_store.hpp"
#include "tests/sim/net.hpp"
#include "tests/testkit/kv_state.hpp"

namespace bascule::sim {

class SimEtcd {
 public:
  SimEtcd(Engine& engine, Net& net, std::vector<std::string> members);

  // Faults. Call `refresh` after anything that changes who reaches whom.
  void stop_member(const std::string& member, bool stopped);
  void stop_all(bool stopped);
  void refresh();
  void compact();
  Us slow{};             ///< added to each request: a disk that syncs slowly
  double lose_answer{};  ///< of a write that was carried out
  Us watch_lag{};
  /// A restore from a copy: everything after that revision never happened, to be seen as another cluster or not (R6).
  void roll_back(core::kv::Revision to);
  /// All members have lost their data: whoever asks now asks another cluster, which is empty.
  void lose_all();

  /// A member with the quorum and a leader that this place reaches.
  bool serves(const std::string& place) const;
  core::Result<core::kv::TxnReply> apply(const core::kv::Txn& txn);
  std::function<void(const core::kv::Event&)> committed;  ///< told each change at once
  const testkit::KvState& state() const { return state_; }

 private:
  friend class SimKv;
  friend class SimWatch;
  bool in_majority(const std::string& member) const;
  Engine& engine_;
  Net& net_;
  std::vector<std::string> members_;
  std::set<std::string> stopped_, majority_;
  std::string leader_;
  Us elected_at_{};
  testkit::KvState state_;
  std::uint64_t cluster_{1};
  std::vector<class SimWatch*> watches_;  // in the order they were made: the same in every run
};

/// One hostd's client.
class SimKv final : public runtime::KvStore {
 public:
  SimKv(SimEtcd& etcd, Process& process, std::string place)
      : etcd_(etcd), process_(process), place_(std::move(place)) {}
  boost::asio::awaitable<core::Result<core::kv::TxnReply>> txn(core::kv::Txn txn, runtime::Deadline deadline) override;
  std::unique_ptr<runtime::KvWatch> watch(std::string prefix, core::kv::Revision from) override;
  [[nodiscard]] runtime::StoreHealth health() const override;
  /// R6: members of another cluster are not used. 0: the first one heard.
  void expect(std::uint64_t cluster) { cluster_ = cluster; }

 private:
  /// A member of the right cluster answers here.
  bool served();
  boost::asio::awaitable<void> wait_until(runtime::Deadline deadline);
  SimEtcd& etcd_;
  Process& process_;
  std::string place_;
  std::uint64_t cluster_{};
};

}  // namespace bascule::sim
