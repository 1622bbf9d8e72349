#include "hostd/core/restore.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "hostd/core/names.hpp"
#include "hostd/core/plan_rules.hpp"

namespace bascule::core {
namespace {

constexpr std::int64_t kMostEpochs = std::int64_t{1} << 53;  // what JSON numbers hold exactly

bool hex64(const std::string& text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Error damaged(const std::string& what) {
  return fail(Errc::invalid, what + ": the file is damaged; nothing was changed");
}

/// Only what this restore itself wrote is in the cell: the begin and each VM are one audit record, and whatever else
/// anybody changes is one, too.
bool untouched(const CellView& view) {
  return view.operations.empty() && view.audit.value.sequence == 1 + std::int64_t{view.restore.value.written} &&
         std::ranges::all_of(view.vms, [](const auto& vm) { return vm.second.right.revision == 0; });
}

Result<> check_same(const CellView& view, const RestoreStep& step) {
  const Restore& now = view.restore.value;
  if (now.file != step.file || now.head != step.head || now.vms != step.vms) {
    return fail(Errc::conflict, fmt::format("this cell was restored, or is being restored, from another file (SHA-256 "
                                            "{}); nothing was changed",
                                            now.file));
  }
  if (!now.ended && !untouched(view)) {
    return fail(Errc::conflict, "the cell was changed by others since this restore began; nothing was changed. A "
                                "restore goes into an empty cell: begin anew with an empty etcd");
  }
  return {};
}

Result<> check_empty(const CellView& view) {
  const char* has = !view.vms.empty()          ? "VMs"
                    : !view.operations.empty() ? "operations"
                    : view.audit.revision != 0 ? "audit records"
                    : !view.images.empty()     ? "images"
                                               : nullptr;
  if (has == nullptr) return {};
  return fail(Errc::conflict,
              fmt::format("this cell has {}: a restore goes only into an empty one, since what is there "
                          "is newer than any file; nothing was changed",
                          has));
}

Result<> check_hosts(const CellView& view, const std::vector<std::string>& hosts) {
  for (const auto& id : hosts) {
    const HostView* host = view.host(id);
    if (host != nullptr && host->info.revision != 0) continue;
    return fail(Errc::conflict, "host " + id.substr(0, Limits::name_bytes) +
                                    " of the file's layouts is not in this cell; nothing was changed. Start its hostd "
                                    "first (after `hostd --new-cluster`)");
  }
  return {};
}

/// As lay_out() makes them: one block of minors, a port, and a leg on each of the two hosts.
Result<> check_layout(const CellView& view, const VmSpec& spec, const Layout& layout) {
  const auto bad = [&](const std::string& what) { return damaged("layout of VM " + spec.name + ": " + what); };
  if (layout.volumes.size() != spec.volumes.size()) return bad("other volumes than in its definition");
  if (layout.port == 0) return bad("it has no port");
  const std::uint32_t first = layout.volumes.front().minor;
  if (!minor_block(first)) return bad("minors that no VM has");
  std::set<std::string> ids;
  for (std::uint32_t i = 0; i < layout.volumes.size(); ++i) {
    const auto& volume = layout.volumes[i];
    const auto& wanted = spec.volumes[i];
    if (volume.name != wanted.name || volume.size_mib != wanted.size_mib) {
      return bad("volume " + wanted.name + " is another one in its definition");
    }
    if (volume.minor != first + i) return bad("the minors do not follow each other");
    if (volume.legs.size() != 2) return bad("volume " + volume.name + " has not two legs");
    for (const auto& leg : volume.legs) {
      if (!valid_name(leg.id) || !ids.insert(leg.id).second) return bad("a leg's id is none, or is there twice");
    }
    if (volume.legs[0].host != spec.nominal_host || volume.legs[1].host != spec.peer_host) {
      return bad("legs on other hosts than in its definition");
    }
  }
  for (const auto& [name, vm] : view.vms) {
    if (name == spec.name || vm.layout.value.volumes.empty()) continue;
    if (vm.layout.value.port == layout.port) return bad("its port is " + name + "'s, too");
    if (minor_block(vm.layout.value.volumes.front().minor) == minor_block(first))
      return bad("its minors are " + name + "'s, too");
  }
  return {};
}

Result<> check_vm(const CellView& view, const RestoreStep& step) {
  const VmSpec& spec = step.spec;
  if (auto ok = check_spec(spec); !ok) return damaged(ok.error().what);
  if (spec.power != Power::off) return fail(Errc::invalid, "a VM is restored with its power off");
  if (spec.nominal_host.empty() || spec.peer_host.empty() || spec.nominal_host == spec.peer_host) {
    return damaged("VM " + spec.name + " has not two hosts");
  }
  if (auto ok = check_hosts(view, {spec.nominal_host, spec.peer_host}); !ok) return ok;
  if (std::ranges::any_of(spec.nics, [](const NicSpec& n) { return n.mac.empty(); })) {
    return damaged("VM " + spec.name + " has a network without a MAC address");
  }
  VmSpec with_macs = spec;
  if (auto ok = give_macs(view, with_macs); !ok) return ok;
  const auto& was = step.restored;
  if (was.epoch < 0 || was.epoch > kMostEpochs || (was.host != spec.nominal_host && was.host != spec.peer_host)) {
    return damaged("the run-right of VM " + spec.name + " is none of its hosts'");
  }
  return check_layout(view, spec, step.layout);
}

std::string source_of(const Restore& r) {
  return fmt::format("from the file with SHA-256 {}, whose chain ends with {}:{}", r.file, r.head.sequence,
                     r.head.hash);
}

Result<RestorePlan> begin(const CellView& view, const RestoreStep& step) {
  if (step.hosts.size() > kRestoreHosts) return damaged("more hosts than a cell has");
  if (auto ok = check_hosts(view, step.hosts); !ok) return ok.error();
  RestorePlan plan;
  plan.compare = view.restore.revision;
  if (plan.compare != 0) {
    if (auto ok = check_same(view, step); !ok) return ok.error();
    plan.next = view.restore.value;
    plan.unchanged = true;
    return plan;
  }
  if (auto ok = check_empty(view); !ok) return ok.error();
  plan.next = {step.file, step.head, step.vms, 0, false};
  plan.what = "cell restore begun";
  plan.result = source_of(plan.next);
  return plan;
}

Result<RestorePlan> one_vm(const CellView& view, const RestoreStep& step) {
  RestorePlan plan;
  plan.compare = view.restore.revision;
  plan.next = view.restore.value;
  if (auto ok = check_vm(view, step); !ok) return ok.error();
  if (step.dry_run && plan.compare == 0) {
    plan.next = {step.file, step.head, step.vms, 0, false};
    return plan;
  }
  if (plan.compare == 0) return fail(Errc::conflict, "no restore is at work in this cell; nothing was changed");
  if (auto ok = check_same(view, step); !ok) return ok.error();
  if (const VmView* there = view.vm(step.spec.name); there != nullptr) {
    const bool same = there->spec.value == step.spec && there->layout.value == step.layout;
    plan.unchanged = same || plan.next.ended;
    if (plan.unchanged) return plan;
    return fail(Errc::conflict, "VM " + step.spec.name + " is there already, and differs; nothing was changed");
  }
  if (plan.next.ended)
    return fail(Errc::conflict, "this restore has ended, and VM " + step.spec.name + " was removed since");
  if (plan.next.written >= plan.next.vms) return damaged("more VMs than were told at the beginning");
  ++plan.next.written;
  plan.what = "vm restored";
  plan.result =
      fmt::format("power off, no run-right; epoch {} and host {} in the file", step.restored.epoch, step.restored.host);
  return plan;
}

Result<RestorePlan> end(const CellView& view, const RestoreStep& step) {
  RestorePlan plan;
  plan.compare = view.restore.revision;
  plan.next = view.restore.value;
  if (plan.compare == 0) return fail(Errc::conflict, "no restore is at work in this cell; nothing was changed");
  if (auto ok = check_same(view, step); !ok) return ok.error();
  plan.unchanged = plan.next.ended;
  if (plan.unchanged) return plan;
  if (plan.next.written != plan.next.vms) {
    return fail(Errc::conflict,
                fmt::format("{} of {} VMs are restored: the others first", plan.next.written, plan.next.vms));
  }
  plan.next.ended = true;
  plan.what = "cell restore ended";
  plan.result = fmt::format("{} VMs, {}", plan.next.vms, source_of(plan.next));
  return plan;
}

}  // namespace

Result<RestorePlan> plan_restore(const CellView& view, const RestoreStep& step) {
  if (!view.synced) {
    return fail(Errc::unavailable, "this host has not heard from etcd yet, or lost it; nothing was changed. Ask "
                                   "another host or try again");
  }
  if (!hex64(step.file) || !hex64(step.head.hash) || step.head.sequence < 1) {
    return fail(Errc::invalid, "file: its SHA-256 and the end of its audit chain are needed; nothing was changed");
  }
  if (step.vms > Limits::vms) return damaged("more VMs than a cell may have");
  switch (step.kind) {
    case RestoreStep::Kind::begin: return begin(view, step);
    case RestoreStep::Kind::vm: return one_vm(view, step);
    case RestoreStep::Kind::end: return end(view, step);
  }
  return fail(Errc::internal, "no such part of a restore");
}

std::optional<Error> restore_at_work(const CellView& view) {
  if (view.restore.revision == 0 || view.restore.value.ended) return std::nullopt;
  const Restore& r = view.restore.value;
  return fail(Errc::conflict,
              fmt::format("this cell is being restored from a backup file ({} of {} VMs are written); "
                          "nothing was changed. Run `hostctl cell restore` with that file again, to its end",
                          r.written, r.vms));
}

}  // namespace bascule::core
