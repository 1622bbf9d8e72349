// The keys of an arbiter store with etcd's meaning of revisions, as a plain value: what FakeKv and the simulator stand
// on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/kv.hpp"

namespace bascule::testkit {

struct KvState {
  using Keys = std::map<std::string, core::kv::KeyValue>;
  Keys keys;
  std::vector<core::kv::Event> history;  ///< every change, in the order of revisions
  core::kv::Revision revision{1};
  core::kv::Revision compacted{0};

  /// Carries it out at once. Errors: as KvStore::txn promises them for a definite no.
  core::Result<core::kv::TxnReply> apply(const core::kv::Txn& txn);

 private:
  [[nodiscard]] Keys as_of(core::kv::Revision at) const;
  core::kv::OpReply carry_out(const core::kv::Op& op, core::kv::Revision next);
};

}  // namespace bascule::testkit
