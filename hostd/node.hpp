// What the worker and the steps of this host share: the cell's view, the ports, this host's own observations.
// Thread rule: io thread only.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "hostd/config.hpp"
#include "hostd/core/domain.hpp"
#include "hostd/core/ha.hpp"
#include "hostd/core/reconcile.hpp"
#include "hostd/images.hpp"
#include "hostd/note_store.hpp"
#include "hostd/runtime/cell/store.hpp"
#include "hostd/runtime/clock.hpp"
#include "hostd/runtime/libvirt/vm_host.hpp"
#include "storage/drbd_port.hpp"
#include "storage/pool_port.hpp"
#include "storage/resource.hpp"

namespace bascule {

struct Node {
  Node(const Config& c, runtime::CellStore& s, runtime::VmHost& v, storage::DrbdPort& d, storage::PoolPort& p,
       ImageStore& i, NoteStore& n)
      : config(c), cell(s), vms(v), drbd(d), pool(p), images(i), notes(n) {}

  const Config& config;
  runtime::CellStore& cell;
  runtime::VmHost& vms;
  storage::DrbdPort& drbd;
  storage::PoolPort& pool;
  ImageStore& images;
  NoteStore& notes;
  core::Accel accel{core::Accel::tcg};

  /// What this host sees of each VM; kept by Observer.
  std::map<std::string, core::LocalVm> local;
  /// When a guest was last stopped here to be handed over.
  std::map<std::string, std::chrono::steady_clock::time_point> handover_began;
  std::map<std::string, core::DomainState> domains;  ///< active domains, while libvirt is reached
  std::set<std::string> strangers;                   ///< of them, those that are no VM of this cell: nothing ends them
  bool domains_known{};                              ///< libvirt has given a full list since it was last reached
  /// The entry of a VM that has a leg here, made when it is first asked for.
  core::LocalVm& local_vm(const std::string& vm);
  // Set once by the composition root, before anything runs.
  std::function<core::HaFacts()> facts;  ///< what this host knows of itself and of others' leases
  std::function<core::Result<>()> arm;   ///< the watchdog is armed when this succeeds; hostd/guardian.hpp
  /// Fence-peer helpers that wait for hostd's answer about a resource now.
  std::function<std::size_t(const std::string& resource)> helpers;
  std::function<void(bool)> prove_watchdog;  ///< true: it is not petted any more, so that it fires; false: it is again
  /// VMs with a write that may add a leg to the record and whose outcome is open, with the record's revision that it
  /// compares.
  std::map<std::string, core::Revision> adding;
  /// VMs with an R1 (the other host's legs out of the record, and a migration's mark) whose outcome is open.
  std::set<std::string> winning;
  /// VMs whose window a step is opening: no loss of the link is decided meanwhile.
  std::set<std::string> opening;
  /// VMs whose guest is being started here: they count as guests before libvirt tells of them.
  /// Shared: a start that a SIGTERM cuts off ends after the node.
  std::shared_ptr<std::set<std::string>> beginning = std::make_shared<std::set<std::string>>();
  /// When a guest was started here last.
  std::map<std::string, std::chrono::steady_clock::time_point> started_at;
  /// Its guest is `absent` because libvirt, which tells of one a moment after its answer, has not done so yet.
  bool start_untold(const std::string& vm) const;
  /// When the guest that runs here was first seen running; not there: it does not.
  std::map<std::string, std::chrono::steady_clock::time_point> running_since;
  std::set<std::string> read;     ///< VMs whose record the worker has read since this hostd started
  std::set<std::string> busy;     ///< VMs on which a step of this host is at work
  std::set<std::string> mending;  ///< VMs on which a remedy of this host is at work
  /// Hosts a takeover of whose VM is being asked for, with how many: no promise is given to them.
  std::map<std::string, int> taking_over;
  /// The same of unknown outcome, with the audit chain's revision when that became known. Each such request compares
  /// the chain's end: once that has moved on, it is in the journal or will never be.
  std::map<std::string, core::Revision> takeover_open;
  std::map<std::string, std::string> waits;  ///< by VM: why hostd does not start a guest that should run
  std::set<std::string> touched;             ///< VMs whose `local` changed since the worker looked

  /// etcd's revision when this hostd read the cell for the first time.
  core::Revision first_read{};
  /// The other host counts as in sync: such a write may arrive, since the record that it compares still stands.
  bool being_added(const std::string& name, const core::VmView& vm) const {
    const auto it = adding.find(name);
    return it != adding.end() && it->second == vm.right.revision;
  }
  /// A write of this record has committed since: none that an earlier hostd of this host sent can arrive any more (U).
  bool settled(const core::VmView& vm) const { return first_read != 0 && vm.right.revision > first_read; }

  const std::string& self() const { return cell.self(); }
};

/// R6: the record of this VM may be acted on, by what this host has kept on its own disk. Error refused: why not.
core::Result<> trusted(const Node& node, const std::string& vm);
/// The same, and R5: none of its legs here has lost its disk since it was last in sync.
core::Result<> may_promote(const Node& node, const std::string& vm);

/// Kept on this host's disk before a write on this record is sent that may list the other host's leg. Error io.
core::Result<> note_adding(Node& node, const std::string& vm, const core::Versioned<core::Right>& right);

/// The DRBD resource of a VM as both hosts configure it. Error: a record or host that is needed is not there.
core::Result<storage::Resource> resource_of(const Node& node, const std::string& vm);
/// The same with this host's backing devices activated and filled in.
boost::asio::awaitable<core::Result<storage::Resource>> resolved_resource(Node& node, std::string vm);
/// R5: legs that are noted as failed are brought up without their disk, whoever brings them up.
void leave_out_failed(const Node& node, const std::string& vm, storage::Resource& resource);
/// What DRBD says of a resource, into what this host knows of the VM.
void note_state(core::LocalVm& local, const storage::ResourceState& state, const core::VmView* view);
/// How the pool knows a leg.
storage::LegName leg_name(const std::string& vm, const core::VolumeLayout& volume, const std::string& host);
/// Writes this host's free pool space to its record: after a leg was made, grown or removed, and `changed_only` from
/// time to time.
boost::asio::awaitable<void> publish_free_space(Node& node, bool changed_only = false);
using runtime::wall_ms;
/// The domain of a VM as this host starts it.
core::Result<core::DomainSpec> domain_of(const Node& node, const std::string& vm);

}  // namespace bascule
