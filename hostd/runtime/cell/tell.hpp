// What this host's own committed writes mean to whoever reads the log. After the commit: a log is no record, the audit
// chain is.
#pragma once

#include <string>

#include "hostd/core/model.hpp"
#include "hostd/runtime/messages.hpp"

namespace bascule::runtime {

/// Which event the beginning and the end of an operation are.
msg::Message begin_of(const core::Operation& op);
msg::Message end_of(const core::Operation& op);

void tell_begun(const core::Operation& op);
/// The operation is finished.
void tell_ended(const core::Operation& op);
/// Legs that left the record of a VM, and legs that came into it.
void tell_right(const std::string& vm, const core::Right& before, const core::Right& after, const std::string& why);

}  // namespace bascule::runtime
