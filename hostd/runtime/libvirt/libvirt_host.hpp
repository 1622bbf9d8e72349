// The real VmHost: libvirtd on this machine.
//
// Connections: one for ordinary calls and events, one for force_off, one per running migration. libvirtd stops reading
// a connection, keepalives included, when `max_client_requests` (default 5) calls are open on it: so each has fewer
// threads than that, and a VM can be forced off while others hang.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "hostd/runtime/libvirt/domain_xml.hpp"
#include "hostd/runtime/libvirt/vm_host.hpp"

namespace bascule::runtime {

struct LibvirtOptions {
  std::string uri{"qemu:///system"};
  std::string cell;  ///< with the VM's name it makes the domain's uuid
  std::string host;  ///< this host's id: proofs must name it
  /// How this host's daemon reaches another host's; {host} is replaced by its id, a valid name.
  std::string peer_uri{"qemu+tls://{host}/system"};
  libvirt::XmlOptions xml;
  /// Where the daemon keeps the pid files of its QEMU processes.
  std::string pid_folder{"/run/libvirt/qemu"};
};

class LibvirtHost final : public VmHost {
 public:
  /// A libvirt::EventLoop must exist, made before this and destroyed after it.
  LibvirtHost(boost::asio::any_io_executor executor, LibvirtOptions options);
  /// As stop().
  ~LibvirtHost() override;

  /// Connects, and again after every loss with a growing pause; returns after stop(). Run it once.
  boost::asio::awaitable<void> run();
  /// Ends run() and every waiting call (outcome_unknown), closes the connections. Bounded: a thread that libvirt does
  /// not release in time is left behind. Guests and daemons are not touched; running migrations go on.
  void stop();

  void on_event(Sink sink) override;
  bool connected() const override;
  Answer<> start(core::DomainSpec spec, core::StartProof proof) override;
  Answer<std::vector<core::DomainInfo>> list() override;
  Answer<core::DomainInfo> observe(std::string name) override;
  Answer<> request_shutdown(std::string name) override;
  Answer<> force_off(std::string name) override;
  Answer<> reset(std::string name) override;
  Answer<> resume(std::string name, core::ResumeProof proof) override;
  Answer<> migrate(std::string name, std::string host, core::MigrationParams params) override;
  Answer<> abort_migration(std::string name) override;
  Answer<core::MigrationStats> migration_progress(std::string name) override;
  Answer<core::MigrationStats> completed_migration(std::string name) override;
  Answer<> set_max_downtime(std::string name, std::uint64_t ms) override;
  Answer<> set_bandwidth(std::string name, std::uint64_t mib) override;
  Answer<> block_resize(std::string name, std::uint32_t disk_index, std::uint64_t bytes) override;
  Answer<core::HostCapacity> capacity() override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace bascule::runtime
