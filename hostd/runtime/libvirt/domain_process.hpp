// The QEMU process of a domain, held by a pidfd: the kernel says when it has ended, whatever the daemon is busy with.
// Between killing a QEMU whose guest has left and saying so, libvirt takes down its network, cgroup and D-Bus scope
// with the domain locked; the guest stands paused on the target meanwhile. Thread rule: io thread.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <string>

#include "hostd/core/error.hpp"
#include "hostd/runtime/libvirt/calls.hpp"

namespace bascule::runtime::libvirt {

class DomainProcess {
 public:
  /// Finds it by the daemon's pid file, `folder`/NAME.pid, and by the uuid on its command line. Errors: not_found (no
  /// file, no such process, or another one).
  static core::Result<DomainProcess> open(const boost::asio::any_io_executor& executor, const std::string& folder,
                                          const Target& vm);

  /// True when the process has ended: no thread of it runs, its files are closed. False: the wait was cancelled or is
  /// not possible; nothing is known.
  boost::asio::awaitable<bool> ended();

 private:
  explicit DomainProcess(boost::asio::posix::stream_descriptor handle) : handle_(std::move(handle)) {}
  boost::asio::posix::stream_descriptor handle_;
};

}  // namespace bascule::runtime::libvirt
