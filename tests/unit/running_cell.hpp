// The records of a cell of two hosts in which core::test::running_vm() runs.
#pragma once

#include <string>

#include "core_fixture.hpp"
#include "hostd/runtime/cell/keys.hpp"

namespace bascule::testkit {

/// `set(key, record)` writes each.
template <class Set>
void running_cell(const std::string& root, const Set& set) {
  namespace keys = runtime::keys;
  for (const auto* host : {"a1", "b1"}) {
    const auto site = *host == 'a' ? core::Site::a : core::Site::b;
    set(keys::host_info(root, host), core::test::host(host, site).info.value);
    set(keys::host_lease(root, host), core::HostLease{"instance", 1, "boot-1"});
  }
  const core::VmView vm = core::test::running_vm();
  set(keys::vm_spec(root, "vm1"), vm.spec.value);
  set(keys::vm_layout(root, "vm1"), vm.layout.value);
  set(keys::vm_right(root, "vm1"), vm.right.value);
  for (const auto& [host, status] : vm.status) set(keys::vm_status(root, "vm1", host), status);
}

}  // namespace bascule::testkit
