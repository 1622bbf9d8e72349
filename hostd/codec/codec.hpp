// Records <-> JSON text, as kept in etcd. Decoding never throws: a value of the wrong type is an error that names the
// field; a missing field keeps its default and an unknown one is skipped, so that mixed versions can run side by side.
#pragma once

#include <string>
#include <string_view>

#include "hostd/core/alert.hpp"
#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"
#include "hostd/core/notes.hpp"

namespace bascule::codec {

/// Largest record accepted from etcd; an operation with all its steps stays below 16 KiB.
inline constexpr std::size_t kMaxRecordBytes = 256 * 1024;

template <class T>
inline constexpr std::size_t kMaxBytes = kMaxRecordBytes;
/// A host's own notes, about 100 bytes for each of Limits::vms.
template <>
inline constexpr std::size_t kMaxBytes<core::Notes> = 4 * 1024 * 1024;

template <class T>
std::string encode(const T& record);
template <class T>
core::Result<T> decode(std::string_view text);

/// SHA-256 over core::canonical(record), lower-case hex.
std::string audit_hash(const core::AuditRecord& record);

}  // namespace bascule::codec
