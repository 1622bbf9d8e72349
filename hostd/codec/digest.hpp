// Digests as text.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace bascule::codec {

/// Lower-case hexadecimal.
std::string hex(std::span<const unsigned char> bytes);
/// SHA-256, as `hex` writes it: 64 characters.
std::string sha256(std::string_view text);

}  // namespace bascule::codec
