// Requests to etcd's JSON gateway, from typed values only. The gateway ignores fields it does not
// know, so a misspelt "compare" would make a guarded write unconditional: every name is written
// here and nowhere else, and the contract tests show each of them to be heeded.
#pragma once

#include <string>
#include <string_view>

#include "hostd/core/kv.hpp"

namespace bascule::runtime::etcd {

/// Body of POST /v3/kv/txn. The last byte is the closing brace: a body cut short is never valid
/// JSON.
std::string encode_txn(const core::kv::Txn& txn);
/// Body of POST /v3/watch for every key that begins with `prefix`.
std::string encode_watch(std::string_view prefix, core::kv::Revision from);

}  // namespace bascule::runtime::etcd
