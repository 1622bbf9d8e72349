// JSON of the API: what is shown of the cell, and the bodies of requests. Decoding never throws and is strict: an
// unknown field or a wrong type is an error that names it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/cell_port.hpp"
#include "hostd/core/view.hpp"

namespace bascule::api::json {

/// One word for a VM: creating, running, off, starting, stopping, migrating, frozen, paused, unknown, removing, working.
std::string vm_state(const core::CellView& view, const core::VmView& vm);
/// True when both legs are in sync by the record on every volume.
bool vm_protected(const core::VmView& vm);

std::string vm(const core::CellView& view, const core::VmView& vm);
std::string vm_summary(const core::CellView& view, const core::VmView& vm);
std::string host(const core::HostView& host);
std::string volume(const core::VmView& vm, const core::VolumeLayout& volume);
std::string operation(const core::CellView& view, const core::Operation& op);
std::string submitted(const Submitted& s);
std::string health(const CellPort::Health& h, const std::string& host);
std::string text_field(const std::string& name, const std::string& value);
std::string event(const Event& e);
std::string problem(int status, const std::string& code, const std::string& title, const std::string& detail,
                    const std::string& instance);
/// {"items":[...],"next":"..."}
std::string list(const std::vector<std::string>& items, const std::string& next);

/// Fields common to bodies of changes.
struct Change {
  std::string reason;
};
core::Result<core::VmSpec> put_vm(const std::string& body, const std::string& name, std::string& reason);
core::Result<> only_reason(const std::string& body, std::string& reason);
core::Result<core::MigrateVm> migrate(const std::string& body, std::string& reason);
core::Result<core::ResizeVm> resize(const std::string& body, std::string& reason);
core::Result<core::GrowVolume> grow(const std::string& body, std::string& reason);

}  // namespace bascule::api::json
