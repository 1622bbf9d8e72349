// The arbiter store in memory, with etcd's meaning of revisions, and with the faults that matter as
// knobs. It keeps the same contract tests as the real one. One thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "hostd/runtime/etcd/kv_store.hpp"

namespace bascule::testkit {

class FakeKv final : public runtime::KvStore {
 public:
  explicit FakeKv(boost::asio::any_io_executor executor);
  FakeKv(const FakeKv&) = delete;
  FakeKv& operator=(const FakeKv&) = delete;
  ~FakeKv() override;

  boost::asio::awaitable<core::Result<core::kv::TxnReply>> txn(core::kv::Txn txn, runtime::Deadline deadline) override;
  std::unique_ptr<runtime::KvWatch> watch(std::string prefix, core::kv::Revision from) override;
  [[nodiscard]] runtime::StoreHealth health() const override;

  /// A second handle on the same store: another host's client, with knobs of its own.
  std::unique_ptr<FakeKv> another();

  // Faults. Each counts down over the transactions that come next through this handle.
  void lose_answers(int count);  ///< applied, but the answer is outcome_unknown
  void lose_writes(int count);   ///< writes are not applied, and the answer is outcome_unknown
  void hold_writes(int count);   ///< the same, and they are applied by release_held()
  void release_held();
  void be_unavailable(bool unavailable);
  void answer_after(std::chrono::milliseconds latency);  ///< past the deadline: outcome_unknown, or unavailable

  // The whole store.
  void compact(core::kv::Revision revision);
  void break_watches();  ///< every stream ends and comes back
  [[nodiscard]] core::kv::Revision revision() const;
  /// For a test that sets the scene or looks at the end: now, no faults. Limits and compares as for
  /// txn.
  core::Result<core::kv::TxnReply> apply_now(const core::kv::Txn& txn);

 private:
  struct Store;
  struct Knobs;
  class Watch;
  FakeKv(boost::asio::any_io_executor executor, std::shared_ptr<Store> store);

  boost::asio::any_io_executor executor_;
  std::shared_ptr<Store> store_;
  std::unique_ptr<Knobs> knobs_;
};

}  // namespace bascule::testkit
