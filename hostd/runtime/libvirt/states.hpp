// libvirt's numbers for states, events and job statistics as core values. Pure.
#pragma once

#include <libvirt/libvirt.h>

#include <optional>

#include "hostd/core/domain.hpp"

namespace bascule::runtime::libvirt {

struct Seen {
  core::DomainState state{core::DomainState::unknown};
  core::DomainReason reason{core::DomainReason::other};
};

/// virDomainState and its reason.
Seen state_of(int state, int reason);
/// A lifecycle event; nullopt for those that say nothing about running (defined, undefined).
std::optional<Seen> state_of_event(int event, int detail);

struct Stats {
  bool migration{};  ///< the job is an outgoing or incoming migration
  core::MigrationStats values;
};
/// `type` is a virDomainJobType. A completed job that says success=0 becomes failed or, if it says so, cancelled.
Stats stats_of(const virTypedParameter* params, int count, int type);

}  // namespace bascule::runtime::libvirt
