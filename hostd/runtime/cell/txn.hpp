// Short words for building a transaction. Private to this folder.
#pragma once

#include <string>
#include <utility>

#include "hostd/core/kv.hpp"

namespace bascule::runtime {

inline void put(core::kv::Txn& txn, std::string key, std::string value) {
  txn.success.emplace_back(core::kv::Put{std::move(key), std::move(value)});
}
inline void del(core::kv::Txn& txn, std::string key) { txn.success.emplace_back(core::kv::Delete{std::move(key)}); }
/// The key is as it was read; 0: it does not exist.
inline void expect(core::kv::Txn& txn, std::string key, core::kv::Revision revision) {
  txn.compares.push_back(core::kv::Compare::mod_revision(std::move(key), revision));
}

}  // namespace bascule::runtime
