// An audit record as the API says it.
#pragma once

#include "api/hostctl/json.hpp"
#include "hostd/core/model.hpp"

namespace bascule::hostctl {

core::AuditRecord record_of(const Json& j);

}  // namespace bascule::hostctl
