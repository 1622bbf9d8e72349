// When a certificate ends.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <string>

#include "hostd/core/error.hpp"

namespace bascule::runtime {

/// Unix time; 0: it is none.
std::int64_t unix_seconds(const ASN1_TIME* time);

/// Unix time at which the certificate in that PEM file ends. Error io: the file is none, or cannot be read.
core::Result<std::int64_t> certificate_end(const std::string& pem);

}  // namespace bascule::runtime
