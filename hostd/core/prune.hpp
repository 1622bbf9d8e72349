// Which finished operations the journal forgets. The journal is for resuming and for people who look back; the audit
// chain keeps who, why and what for good, and is never touched here. Pure; CellStore::forget_old is the shell.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "hostd/core/view.hpp"

namespace bascule::core {

/// So many newest ones stay whatever their age: two evacuations of a large site and the way back can be read up. They
/// are counted in etcd's own order, so no clock can make them vanish.
inline constexpr std::size_t kOperationsKept = 1000;
/// Above that the rest stay this long: a week, so that Monday can ask what the weekend did.
inline constexpr WallMs kOperationsKeptMs = WallMs{7} * 24 * 3600 * 1000;
/// But so many at most: at 16 KiB each, the worst case of the codec, they are 80 MB of etcd's 2 GiB.
inline constexpr std::size_t kOperationsMost = 5000;
/// At once: with two more keys each, one transaction stays below kv::kMaxOpsPerTxn. One batch follows each operation
/// that ends, so a backlog shrinks forty times as fast as it could grow.
inline constexpr std::size_t kForgetBatch = 40;

/// Ids of the operations to forget now, oldest first, at most kForgetBatch. Only what is done or undone: what is at
/// work or needs an operator stays.
std::vector<std::string> prune(const CellView& view, WallMs now);

}  // namespace bascule::core
