// `hostd --new-cluster`: after all of etcd was lost, by hand, with hostd stopped and no guest on this host.
#pragma once

#include <string>

#include "hostd/config.hpp"
#include "hostd/core/error.hpp"

namespace bascule {

/// Forgets the lost cluster's id and revisions in this host's notes, and nothing else: epochs and lost legs stay. What
/// was done, for people. Errors: conflict (hostd runs, a guest is here, a leg is in use), unavailable (libvirt or DRBD
/// cannot be asked), io, invalid (the notes).
core::Result<std::string> join_new_cluster(const Config& config);

}  // namespace bascule
