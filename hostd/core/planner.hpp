// How `plan` is built: one function per verb, all const, all on one view. Private to plan*.cpp.
#pragma once

#include <string>
#include <vector>

#include "hostd/core/plan.hpp"

namespace bascule::core::planning {

using Steps = std::vector<Step>;

inline void add(Steps& steps, StepKind kind, const std::string& host) {
  Step step;
  step.kind = kind;
  step.host = host;
  steps.push_back(std::move(step));
}
inline void add_start(Steps& steps, const std::string& host) {
  add(steps, StepKind::admit_start, host);
  add(steps, StepKind::promote, host);
  add(steps, StepKind::start_domain, host);
}

struct Planner {
  const CellView& view;
  const Request& request;
  const std::string& self;

  Result<Plan> operator()(const PutVm& verb) const;
  Result<Plan> operator()(const StartVm& verb) const;
  Result<Plan> operator()(const ShutdownVm& verb) const;
  Result<Plan> operator()(const PowerOffVm& verb) const;
  Result<Plan> operator()(const ResetVm& verb) const;
  Result<Plan> operator()(const MigrateVm& verb) const;
  Result<Plan> operator()(const ResizeVm& verb) const;
  Result<Plan> operator()(const RemoveVm& verb) const;
  Result<Plan> operator()(const GrowVolume& verb) const;
  Result<Plan> operator()(const VerifyVolume& verb) const;
  Result<Plan> operator()(const ImportImage& verb) const;
  Result<Plan> operator()(const RemoveImage& verb) const;
  Result<Plan> operator()(const FailoverVm& verb) const;
  Result<Plan> operator()(const RestartVm& verb) const;
  Result<Plan> operator()(const FailbackVm& verb) const;
  Result<Plan> operator()(const CopyVm& verb) const;
  Result<Plan> operator()(const RepairVm& verb) const;
  Result<Plan> operator()(const AdoptVm& verb) const;
  Result<Plan> operator()(const ProveWatchdog& verb) const;
  Result<Plan> operator()(const SetMaintenance& verb) const;
  Result<Plan> operator()(const SetArmed& verb) const;

 private:
  Result<const VmView*> vm_for(const std::string& name) const;
  Result<> allowed(bool client_too, const std::string& project, bool host_too = false) const;
  Plan base(OpKind kind, const VmView& vm) const;
  Result<Plan> migration(OpKind kind, const VmView& vm, const std::string& target, const std::string& policy) const;
  Result<Plan> create(VmSpec spec) const;
  Result<Plan> update(const VmView& vm, VmSpec spec) const;
  Result<Plan> stop(const std::string& name, OpKind kind, StepKind step) const;
};

}  // namespace bascule::core::planning
