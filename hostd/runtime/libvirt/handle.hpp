// Owners for libvirt's reference-counted pointers, and its errors as ours. Included by this folder's .cpp files only.
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <memory>
#include <string>

#include "hostd/core/error.hpp"

namespace bascule::runtime::libvirt {

struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using Domain = std::unique_ptr<virDomain, FreeDomain>;

/// A read can be asked again; a change whose answer was lost may have happened.
enum class Call : std::uint8_t { read, change };

/// The error of the call that just failed on this thread. `what` is a clause such as "'vm1' could not be started".
/// When the connection is dead: unavailable for a read, outcome_unknown for a change.
core::Error last_error(virConnectPtr connection, Call call, const std::string& what);

/// VIR_ERR_* of the call that just failed on this thread, or VIR_ERR_OK.
int last_code();

}  // namespace bascule::runtime::libvirt
