// The shell around core::guard: renews the host lease, asks for promises when etcd is silent, pets the watchdog on
// proof of either, and stops guests that another host may take over when there is none. Decides nothing. Thread rule:
// io thread only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "hostd/core/guard.hpp"
#include "hostd/node.hpp"
#include "hostd/runtime/peer/peer_client.hpp"
#include "hostd/runtime/watchdog/watchdog_port.hpp"

namespace bascule {

class Guardian {
 public:
  /// `boot`: the kernel's boot id, so that a restart of hostd is told from one of the machine.
  Guardian(Node& node, runtime::WatchdogPort& watchdog, runtime::PeerPort& peers, std::string instance,
           std::string boot);

  /// For ever; run it once. The first renewal is its first act.
  boost::asio::awaitable<void> run();

  /// Arms the watchdog when it is not. Errors: why no guest may start on this host.
  core::Result<> arm();

  /// This host's own lease was renewed within renew_timeout: it may decide about others.
  bool renewed() const;

  /// A promise to `host` not to take its VMs over for the takeover time, counted from now. Error refused: this host is
  /// taking over from it, or does not know whether it has.
  core::Result<> promise(const std::string& host, const core::HostLease& lease);

  /// The watchdog is to fire: it is not petted, until this is taken back. No guest may be here.
  void prove(bool on) { proving_ = on; }

  /// Before an orderly end: with no guest here the watchdog is let go, so that the host is not reset.
  void release();

 private:
  boost::asio::awaitable<void> renew();
  boost::asio::awaitable<void> ask(std::string host);
  boost::asio::awaitable<void> stop(std::string vm, std::string why);
  core::GuardInput input() const;
  std::vector<core::GuardedVm> guarded() const;
  bool guest_may_be(const std::string& name, const core::VmView& vm) const;
  /// Since this hostd started. Before, this host's notes say what they can.
  bool records_read() const { return node_.cell.view().revision != 0; }
  /// Carries out what core::guard says of the state now.
  void look();
  core::Mono now() const;
  bool disarmed() const { return node_.cell.view().disarmed.revision != 0; }
  /// An intent to switch this host off that is older than the takeover time, and yet it lives.
  bool intent_is_void();

  Node& node_;
  runtime::WatchdogPort& watchdog_;
  runtime::PeerPort& peers_;
  core::HostLease lease_;
  /// A lease that says so is committed: this host does not stop its guests by itself while failover is disarmed.
  bool free_{};
  core::Revision intent_{};  ///< the newest intent to switch this host off, and since when it was seen
  core::Mono intent_seen_{};
  core::Mono started_{};
  std::optional<core::Mono> renewed_, last_pet_, last_success_, unguarded_since_;
  std::map<std::string, core::Mono> promised_;
  std::set<std::string> asking_, stopping_;
  bool checked_{};  ///< the armed watchdog has the time-out that [timing] asks for
  bool proving_{};
  bool unstoppable_{};  ///< the watchdog's driver does not let itself be stopped
  std::string last_trouble_, last_refusal_;
};

}  // namespace bascule
