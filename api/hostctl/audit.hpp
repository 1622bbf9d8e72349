// What the commands of the audit chain share.
#pragma once

#include <string>

#include "api/hostctl/client.hpp"
#include "api/hostctl/json.hpp"
#include "hostd/core/model.hpp"

namespace bascule::hostctl {

core::AuditRecord record_of(const Json& j);
/// The number of the newest record; 0 when there is none.
core::Result<std::int64_t> newest_record(Client& client);
/// Error forbidden for a client: what was done to others' VMs is not in what it gets.
core::Result<> whole_chain_allowed(Client& client);

}  // namespace bascule::hostctl
