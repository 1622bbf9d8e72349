// A watch on etcd: one stream at a time, moved to another member whenever its own is no longer
// good.
#pragma once

#include <memory>
#include <string>

#include "hostd/core/kv.hpp"
#include "hostd/runtime/etcd/kv_store.hpp"
#include "hostd/runtime/etcd/members.hpp"

namespace bascule::runtime::etcd {

inline constexpr std::size_t kWatchQueue = 64;  ///< items read ahead; then etcd's own buffers fill

std::unique_ptr<KvWatch> start_watch(std::shared_ptr<Members> members, std::string prefix, core::kv::Revision from);

}  // namespace bascule::runtime::etcd
