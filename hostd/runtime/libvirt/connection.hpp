// One connection to a libvirt daemon, with keepalive. Blocking; used on worker threads.
#pragma once

#include <libvirt/libvirt.h>

#include <functional>
#include <memory>
#include <string>

#include "hostd/core/domain.hpp"
#include "hostd/core/error.hpp"
#include "hostd/runtime/libvirt/handle.hpp"

namespace bascule::runtime::libvirt {

class Connection {
 public:
  /// Called on the event thread: must only pass the news on.
  struct Listener {
    std::function<void(core::DomainEvent)> event;  ///< empty: only `closed` is wanted
    std::function<void()> closed;
  };

  /// Blocks. Error `unavailable`. With a listener, events are registered before this returns, so a list taken
  /// afterwards misses nothing.
  static core::Result<std::shared_ptr<Connection>> open(const std::string& uri,
                                                        std::shared_ptr<const Listener> listener);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  virConnectPtr get() const { return connection_; }

  /// By uuid, never by name: a domain that is not ours is not touched even if it has the name of one of our VMs.
  /// Null with last_code() == VIR_ERR_NO_DOMAIN when there is none.
  Domain lookup(const std::string& uuid) const;

 private:
  explicit Connection(virConnectPtr connection) : connection_(connection) {}
  bool listen(const std::shared_ptr<const Listener>& listener);
  virConnectPtr connection_;
  int event_ids_[3]{-1, -1, -1};
  bool close_callback_{false};
};

}  // namespace bascule::runtime::libvirt
