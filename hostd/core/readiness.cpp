#include "hostd/core/readiness.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "hostd/core/plan_rules.hpp"
#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

ReadinessCheck legs(const VmView& vm, const std::string& target) {
  const bool both = insync_everywhere(vm.right.value, vm.layout.value, target) &&
                    insync_everywhere(vm.right.value, vm.layout.value, vm.right.value.host);
  return {"legs", both,
          both ? "the record lists both legs of every volume as in sync"
               : "the record does not list the legs on " + target + " as in sync; wait for the resync"};
}

ReadinessCheck link(const VmView& vm) {
  const auto status = vm.status.find(vm.right.value.host);
  if (status == vm.status.end()) return {"link", false, "host " + vm.right.value.host + " has not reported"};
  for (const auto& v : vm.layout.value.volumes) {
    const auto seen = status->second.volumes.find(v.name);
    const bool good = status->second.connection == "Connected" && seen != status->second.volumes.end() &&
                      seen->second.replication == "Established" && seen->second.peer_disk == "UpToDate";
    if (!good)
      return {"link", false, "volume " + v.name + " is not replicated now (" + status->second.connection + ")"};
  }
  return {"link", true, "connected and UpToDate on both sites"};
}

/// "2026-11-28 01:30 UTC": an age would need a clock, and is out of date when it is read.
std::string moment(WallMs at) {
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(at)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(time - day).count();
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), minutes / 60,
                     minutes % 60);
}

/// A VM that was never verified may go back: the next verify is the calendar's business, a found difference is not.
ReadinessCheck verified(const VmView& vm) {
  std::string never;
  WallMs oldest = 0;
  for (const auto& v : vm.layout.value.volumes) {
    const auto last = vm.last.find(std::string(to_string(OpKind::volume_verify)) + '.' + v.name);
    if (last == vm.last.end()) {
      never += (never.empty() ? "" : ", ") + v.name;
    } else if (!last->second.good) {
      return {"verify", false,
              "the last verify of volume " + v.name + " (" + last->second.operation + ") found: " + last->second.text +
                  ". Verify it again (hostctl volume verify)"};
    } else {
      oldest = oldest == 0 ? last->second.when_ms : std::min(oldest, last->second.when_ms);
    }
  }
  return {"verify", true,
          never.empty() ? "every volume was found equal, the oldest such verify ended " + moment(oldest)
                        : "never verified: " + never};
}

ReadinessCheck capacity(const CellView& view, const VmView& vm, const std::string& target) {
  const HostView* host = view.host(target);
  if (host == nullptr) return {"capacity", false, "host " + target + " is not known"};
  const std::uint64_t free = free_memory_mib(view, target, vm.spec.value.name);
  const bool good = free >= vm.spec.value.memory_mib && host->info.value.cpus >= vm.spec.value.cpus;
  return {"capacity", good,
          fmt::format("{} MiB and {} CPUs are free or may be used on {}, the VM needs {} MiB and {}", free,
                      host->info.value.cpus, target, vm.spec.value.memory_mib, vm.spec.value.cpus)};
}

ReadinessCheck host(const CellView& view, const std::string& target) {
  if (auto ok = check_host_alive(view, target); !ok) return {"host", false, ok.error().what};
  if (auto ok = check_not_in_maintenance(view, target); !ok) return {"host", false, ok.error().what};
  return {"host", true, "alive and not in maintenance"};
}

ReadinessCheck lease(const CellView& view, const std::string& target) {
  const HostView* seen = view.host(target);
  const bool steady = seen != nullptr && seen->steady;
  return {"lease", steady,
          steady ? "renewed without a gap for a while"
                 : "host " + target + " was away a short while ago; wait until its lease is steady"};
}

}  // namespace

std::vector<ReadinessCheck> failback_readiness(const CellView& view, const VmView& vm, const std::string& target) {
  return {legs(vm, target),           link(vm),           verified(vm),
          capacity(view, vm, target), host(view, target), lease(view, target)};
}

}  // namespace bascule::core
