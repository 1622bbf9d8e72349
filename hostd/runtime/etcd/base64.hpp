// Base64 as etcd's JSON gateway writes keys and values: standard alphabet, padded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bascule::runtime::etcd {

/// Appends, so that a request is built in one buffer.
void append_base64(std::string& out, std::string_view bytes);
/// nullopt unless the text is exactly what append_base64 writes for some bytes.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace bascule::runtime::etcd
