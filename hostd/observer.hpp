// Keeps Node::local true: DRBD's event stream and libvirt's events, turned into core::LocalVm. Decides nothing.
#pragma once

#include "hostd/node.hpp"

namespace bascule {

class Observer {
 public:
  /// Registers with the VM host; `follow_drbd` must be spawned once.
  explicit Observer(Node& node);
  boost::asio::awaitable<void> follow_drbd();

 private:
  void domain_event(const core::DomainEvent& event);
  void resource_changed(const std::string& name, const storage::ResourceState& state);
  void touch(const std::string& vm);
  Node& node_;
};

}  // namespace bascule
