// What is going on with a VM, in one sentence for a person at three in the morning. Pure.
#pragma once

#include <string>

#include "hostd/core/view.hpp"

namespace bascule::core {

std::string why(const CellView& view, const std::string& vm);

}  // namespace bascule::core
