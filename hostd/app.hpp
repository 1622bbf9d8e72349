// The composition root: builds every part in order and runs the one io_context until SIGTERM.
#pragma once

#include "hostd/config.hpp"

namespace bascule {

/// Returns the process's exit code: 0 after SIGTERM or SIGINT, 1 when a part could not be made.
int run_app(const Config& config);

}  // namespace bascule
