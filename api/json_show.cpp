// What the API shows of the cell.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/json.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/core/drills.hpp"
#include "hostd/core/explain.hpp"
#include "hostd/core/if_lost.hpp"
#include "hostd/core/plan_rules.hpp"
#include "hostd/core/readiness.hpp"

namespace bascule::api::json {
namespace {

using Json = nlohmann::json;

/// Text from outside (a DRBD or QEMU message) may not be UTF-8: replaced, never thrown about.
std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// A record as the codec writes it, to be completed.
template <class T>
Json record(const T& value) {
  return Json::parse(codec::encode(value), nullptr, false);
}

Json leg(const core::VmView& vm, const std::string& volume, const core::Leg& leg) {
  Json j = {{"host", leg.host}, {"id", leg.id}};
  const auto insync = vm.right.value.insync.find(volume);
  j["insync"] = insync != vm.right.value.insync.end() && std::ranges::find(insync->second, leg) != insync->second.end();
  const auto status = vm.status.find(leg.host);
  if (status == vm.status.end()) return j;
  j["role"] = status->second.role;
  j["connection"] = status->second.connection;
  const auto seen = status->second.volumes.find(volume);
  if (seen == status->second.volumes.end()) return j;
  j["disk"] = seen->second.disk;
  j["replication"] = seen->second.replication;
  j["out_of_sync_kib"] = seen->second.out_of_sync_kib;
  return j;
}

Json forecast(const core::IfLost& f) {
  Json j = {{"vm", f.vm}, {"outcome", core::to_string(f.outcome)}, {"text", f.text}};
  if (!f.target.empty()) j["target"] = f.target;
  return j;
}

std::string joined(const std::vector<std::string>& items) {
  std::size_t size = 16;
  for (const auto& item : items) size += item.size() + 1;
  std::string out;
  out.reserve(size + 128);
  out += "{\"items\":[";
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += ',';
    out += items[i];
  }
  return out += ']';
}
void add_tail(std::string& out, const std::string& next, core::Revision revision) {
  if (!next.empty()) out += ",\"next\":" + dump(next);
  out += ",\"revision\":" + std::to_string(revision);
}

/// The provider's own affairs, such as the memory that is left on a host, are not a client's; what its guest did is.
constexpr const char* kProvider = "the provider sees to it";
bool hidden(const core::VmStatus& status, core::Role role) {
  return role == core::Role::client && !core::own_act(status);
}
void hide(std::string& sentence, const std::string& affair) {
  const auto at = affair.empty() ? std::string::npos : sentence.find(affair);
  if (at != std::string::npos) sentence.replace(at, affair.size(), kProvider);
}

}  // namespace

std::string vm_summary(const core::CellView& view, const core::VmView& vm) {
  const auto& s = vm.spec.value;
  Json j = {{"name", s.name},
            {"project", s.project},
            {"state", core::to_string(core::vm_state(view, vm))},
            {"host", vm.right.value.host},
            {"cpus", s.cpus},
            {"memory_mib", s.memory_mib},
            {"power", core::to_string(s.power)},
            {"protected", core::vm_protected(vm)},
            {"revision", vm.spec.revision}};
  if (vm.operation.revision != 0) j["operation"] = vm.operation.value;
  return dump(j);
}

std::string vm(const core::CellView& view, const core::VmView& vm, core::Role role) {
  const auto& s = vm.spec.value;
  Json j = {{"name", s.name},
            {"project", s.project},
            {"cpus", s.cpus},
            {"memory_mib", s.memory_mib},
            {"hosts", {{"nominal", s.nominal_host}, {"peer", s.peer_host}}},
            {"power", core::to_string(s.power)},
            {"protection", core::to_string(s.protection)},
            {"priority", s.priority},
            {"restart_on_panic", s.restart_on_panic},
            {"copy_at", s.copy_at},
            {"drill_every_days", s.drill_every_days},
            {"migration_policy", s.migration_policy},
            {"revision", vm.spec.revision},
            {"state", core::to_string(core::vm_state(view, vm))},
            {"host", vm.right.value.host},
            {"protected", core::vm_protected(vm)},
            {"volumes", Json::array()},
            {"networks", Json::array()},
            {"status", Json::object()}};
  for (const auto& [what, last] : vm.last) j["last"][what] = record(last);
  if (vm.right.revision != 0 && vm.right.value.host != s.nominal_host) {
    j["failback"] = {{"ready", true}, {"checks", Json::array()}};
    for (const auto& check : core::failback_readiness(view, vm, s.nominal_host)) {
      if (!check.ready) j["failback"]["ready"] = false;
      const bool own_affair = check.what == "capacity" || check.what == "host" || check.what == "lease";
      const bool foreign = own_affair && role == core::Role::client;
      j["failback"]["checks"].push_back(
          {{"what", check.what}, {"ready", check.ready}, {"text", foreign ? kProvider : check.text}});
    }
  }
  for (const auto& [host, status] : vm.status) {
    j["status"][host] = record(status);
    if (hidden(status, role)) j["status"][host].erase("waits");
  }
  for (const auto& v : s.volumes)
    j["volumes"].push_back({{"name", v.name}, {"size_mib", v.size_mib}, {"image", v.image}});
  for (const auto& n : s.nics) j["networks"].push_back({{"network", n.network}, {"mac", n.mac}});
  if (vm.right.revision != 0) {
    Json right = record(vm.right.value);
    right.erase("writer");
    right["revision"] = vm.right.revision;
    j["right"] = std::move(right);
  }
  if (vm.operation.revision != 0) j["operation"] = vm.operation.value;
  return dump(j);
}

std::string host(const core::CellView& view, const core::HostView& host) {
  const std::string& id = host.info.value.id;
  Json j = record(host.info.value);
  j["alive"] = host.alive() && host.lease.revision != 0;
  j["revision"] = host.info.revision;
  j["memory_free_mib"] = core::free_memory_mib(view, id, {});
  j["maintenance"] = host.maintenance.revision != 0;
  if (host.maintenance.revision != 0) j["maintenance_by"] = record(host.maintenance.value);
  if (host.fence.revision != 0) j["power_off"] = host.fence.value.confirmed ? "confirmed" : "asked";
  j["vms"] = std::ranges::count_if(view.vms, [&](const auto& v) { return v.second.right.value.host == id; });
  return dump(j);
}

std::string drill(const core::VmView& vm, core::WallMs now) {
  const auto& s = vm.spec.value;
  const core::Drill d = core::drill(vm, now);
  Json j = {{"vm", s.name}, {"project", s.project}, {"every_days", s.drill_every_days}, {"overdue", d.overdue}};
  if (d.due_ms) j["due_ms"] = *d.due_ms;
  if (d.last) {
    j["last"] = {{"what", core::to_string(d.last->what)},
                 {"when_ms", d.last->when_ms},
                 {"host", d.last->host},
                 {"operation", d.last->operation}};
  }
  return dump(j);
}

std::string if_lost(const core::CellView& view, const std::string& host) {
  Json j = {{"host", host}, {"revision", view.revision}, {"vms", Json::array()}};
  for (const auto& f : core::if_lost(view, host)) j["vms"].push_back(forecast(f));
  return dump(j);
}

std::string ha(const core::CellView& view) {
  Json j = {{"armed", view.disarmed.revision == 0}};
  if (view.disarmed.revision != 0) j["disarmed_by"] = record(view.disarmed.value);
  return dump(j);
}

std::string image(const core::Versioned<core::Image>& image) {
  Json j = record(image.value);
  j["revision"] = image.revision;
  return dump(j);
}

std::string volume(const core::VmView& vm, const core::VolumeLayout& volume) {
  Json j = {{"vm", vm.spec.value.name},    {"name", volume.name},   {"project", vm.spec.value.project},
            {"size_mib", volume.size_mib}, {"minor", volume.minor}, {"port", vm.layout.value.port},
            {"legs", Json::array()}};
  bool both = !volume.legs.empty();
  for (const auto& l : volume.legs) {
    j["legs"].push_back(leg(vm, volume.name, l));
    both = both && j["legs"].back()["insync"] == true;
  }
  j["insync"] = both;
  return dump(j);
}

std::string operation(const core::CellView& view, const core::Versioned<core::Operation>& op) {
  Json j = record(op.value);
  for (const char* inner : {"writer", "spec", "restore", "idempotency"}) j.erase(inner);
  j["revision"] = op.revision;
  const auto progress = view.progress.find(op.value.id);
  if (progress != view.progress.end()) j["progress"] = record(progress->second);
  return dump(j);
}

std::string alert(const core::Versioned<core::Alert>& alert) {
  Json j = record(alert.value);
  for (auto& [list, delivery] : j["deliveries"].items()) delivery.erase("instance");
  j["revision"] = alert.revision;
  return dump(j);
}

std::string why(const core::CellView& view, const core::VmView& vm, core::Role role) {
  const std::string& name = vm.spec.value.name;
  std::string sentence = core::why(view, name);
  for (const auto& [host, status] : vm.status) {
    if (hidden(status, role)) hide(sentence, status.waits);
  }
  if (role == core::Role::client) {
    hide(sentence, core::disarmed_text(view, vm.right.value.host, name));
  }
  Json j = {{"vm", name}, {"state", core::to_string(core::vm_state(view, vm))}, {"why", std::move(sentence)}};
  for (const auto& f : core::if_lost(view, vm.right.value.host)) {
    if (f.vm != name) continue;
    j["if_lost"] = forecast(f);
    const bool own_affair = f.outcome == core::IfLost::Outcome::waits || f.outcome == core::IfLost::Outcome::stays;
    if (role == core::Role::client && own_affair) j["if_lost"]["text"] = "the provider decides when it starts again";
  }
  return dump(j);
}

std::string submitted(const Submitted& s) {
  Json j = {{"operation", s.operation},
            {"unchanged", s.unchanged},
            {"replayed", s.replayed},
            {"revision", s.revision},
            {"plan", Json::array()}};
  for (const auto& step : s.plan) j["plan"].push_back({{"kind", core::to_string(step.kind)}, {"host", step.host}});
  return dump(j);
}

std::string restored(const core::RestorePlan& plan) {
  const core::Restore& r = plan.next;
  return dump({{"vms", r.vms}, {"written", r.written}, {"ended", r.ended}, {"unchanged", plan.unchanged}});
}

std::string health(const CellPort::Health& h, const std::string& host) {
  return dump({{"host", host},
               {"ok", h.ok},
               {"etcd", h.etcd},
               {"libvirt", h.libvirt},
               {"drbd", h.drbd},
               {"sentence", h.sentence},
               {"warnings", h.warnings}});
}

std::string version(const std::string& host) {
  return dump({{"version", BASCULE_VERSION}, {"api", "1"}, {"host", host}});
}

std::string caller(const core::Caller& caller, const std::string& host) {
  static constexpr const char* kRoles[] = {"operator", "client", "auditor", "host"};
  Json j = {{"name", caller.name}, {"role", kRoles[static_cast<std::size_t>(caller.role)]}, {"host", host}};
  if (!caller.project.empty()) j["project"] = caller.project;
  if (!caller.projects.empty()) j["projects"] = caller.projects;
  return dump(j);
}

std::string event(const Event& e) { return dump({{"type", e.type}, {"object", e.object}, {"revision", e.revision}}); }

std::string problem(int status, std::string_view code, std::string_view title, const std::string& detail,
                    const std::string& instance) {
  return dump({{"type", "urn:bascule:problem:" + std::string(code)},
               {"title", title},
               {"status", status},
               {"detail", detail},
               {"instance", instance},
               {"code", code}});
}

std::string list(const std::vector<std::string>& items, const std::string& next, core::Revision revision) {
  std::string out = joined(items);
  add_tail(out, next, revision);
  return out += '}';
}

std::string audit_list(const std::vector<std::string>& items, const std::string& next, core::Revision revision,
                       const core::AuditHead& head) {
  std::string out = joined(items);
  add_tail(out, next, revision);
  return out += ",\"head\":" + codec::encode(head) + '}';
}

}  // namespace bascule::api::json
