// When a certificate of this host ends.
#pragma once

#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"

namespace bascule::alert {

/// Error io: the file is no certificate, or cannot be read.
core::Result<core::WallMs> certificate_end(const std::string& pem);

}  // namespace bascule::alert
