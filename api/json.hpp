// JSON of the API: what is shown of the cell, and the bodies of requests. Decoding never throws and is strict: an
// unknown field, a wrong type or a field given twice is an error that names it.
#pragma once

#include <string>
#include <vector>

#include "api/cell_port.hpp"
#include "hostd/core/request.hpp"
#include "hostd/core/view.hpp"

namespace bascule::api::json {

// ---- shown ----
std::string vm(const core::CellView& view, const core::VmView& vm, core::Role role);
std::string vm_summary(const core::CellView& view, const core::VmView& vm);
std::string host(const core::CellView& view, const core::HostView& host);
std::string drill(const core::VmView& vm, core::WallMs now);
std::string if_lost(const core::CellView& view, const std::string& host);
std::string ha(const core::CellView& view);
std::string image(const core::Versioned<core::Image>& image);
std::string volume(const core::VmView& vm, const core::VolumeLayout& volume);
std::string operation(const core::CellView& view, const core::Versioned<core::Operation>& op);
std::string alert(const core::Versioned<core::Alert>& alert);
std::string why(const core::CellView& view, const core::VmView& vm, core::Role role);
/// `replicates`: two legs are meant to be in sync; else there is no protection to tell of.
std::string history(const std::string& vm, bool replicates, const core::History& history);
std::string submitted(const Submitted& s);
std::string restored(const core::RestorePlan& plan);
std::string health(const CellPort::Health& h, const std::string& host);
std::string version(const std::string& host);
std::string caller(const core::Caller& caller, const std::string& host);
std::string event(const Event& e);
std::string problem(int status, std::string_view code, std::string_view title, const std::string& detail,
                    const std::string& instance);
/// {"items":[...],"next":"...","revision":N}; no `next` when it is empty.
std::string list(const std::vector<std::string>& items, const std::string& next, core::Revision revision);
/// The same with the audit chain's head.
std::string audit_list(const std::vector<std::string>& items, const std::string& next, core::Revision revision,
                       const core::AuditHead& head);

// ---- asked ---- Each also yields the body's `reason`, empty when there is none.
core::Result<core::VmSpec> put_vm(const std::string& body, const std::string& name, std::string& reason);
core::Result<> only_reason(const std::string& body, std::string& reason);
core::Result<core::MigrateVm> migrate(const std::string& body, std::string& reason);
core::Result<core::StartVm> start(const std::string& body, std::string& reason);
core::Result<core::FailoverVm> failover(const std::string& body, std::string& reason);
core::Result<core::FailbackVm> failback(const std::string& body, std::string& reason);
core::Result<core::SetMaintenance> maintenance(const std::string& body, std::string& reason);
core::Result<core::HostLease> lease(const std::string& body);
core::Result<core::ResizeVm> resize(const std::string& body, std::string& reason);
core::Result<core::AdoptVm> adopt(const std::string& body, std::string& reason);
core::Result<core::RestoreStep> restore(const std::string& body, std::string& reason);
core::Result<core::GrowVolume> grow(const std::string& body, std::string& reason);

}  // namespace bascule::api::json
