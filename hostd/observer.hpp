// Keeps Node::local true: DRBD's event stream and libvirt's events, turned into core::LocalVm. Decides nothing.
#pragma once

#include "hostd/node.hpp"

namespace bascule {

class Observer {
 public:
  /// Registers with both ports; make it once.
  explicit Observer(Node& node);

 private:
  boost::asio::awaitable<void> see_the_end(std::string vm);
  void domain_event(const core::DomainEvent& event);
  void resource_changed(const storage::ResourceState& state);
  void set_domain(const std::string& vm, core::LocalVm& local, const core::DomainInfo& info);
  using Volumes = std::map<std::string, core::VmStatus::Volume>;
  void note_failures(const std::string& vm, const Volumes& before, const Volumes& after);
  void note_domain(const core::DomainInfo& info);
  void touch(const std::string& vm);
  Node& node_;
};

}  // namespace bascule
