#include "api/json.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "hostd/codec/codec.hpp"
#include "hostd/core/right.hpp"

namespace bascule::api::json {
namespace {

using Json = nlohmann::json;
using core::Errc;
using core::fail;
using core::Result;

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// A record as the codec writes it, to be completed.
template <class T>
Json record(const T& value) {
  return Json::parse(codec::encode(value), nullptr, false);
}

/// Reads the fields of an object strictly; remembers the first fault.
class Reader {
 public:
  Reader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) fault("an object is needed");
  }
  void text(const char* name, std::string& out, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    if (j->is_string()) out = j->get_ref<const std::string&>();
    else fault(name, "a string");
  }
  template <class T>
  void number(const char* name, T& out, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    if (j->is_number_unsigned() && std::in_range<T>(j->get<std::uint64_t>())) out = j->get<T>();
    else fault(name, "a whole number in range");
  }
  const Json* array(const char* name, std::size_t most) {
    const Json* j = find(name, false);
    if (j == nullptr) return nullptr;
    if (j->is_array() && j->size() <= most) return j;
    fault(name, "a list of at most " + std::to_string(most));
    return nullptr;
  }
  const Json* object(const char* name) { return find(name, false); }
  void no_more() {
    if (!object_.is_object()) return;
    for (const auto& [name, value] : object_.items()) {
      if (!asked_.contains(name)) fault("unknown field '" + name.substr(0, 40) + "'");
    }
  }
  void fault(const std::string& what) {
    if (fault_.empty()) fault_ = path_.empty() ? what : path_ + ": " + what;
  }
  void fault(const char* name, const std::string& wanted) { fault(std::string(name) + ": " + wanted + " is needed"); }
  Result<> result() const {
    if (fault_.empty()) return {};
    return fail(Errc::invalid, fault_ + ". Nothing was changed");
  }

 private:
  const Json* find(const char* name, bool needed) {
    asked_.insert(name);
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(name);
    if (it == object_.end()) {
      if (needed) fault(std::string(name) + " is missing");
      return nullptr;
    }
    return &*it;
  }
  const Json& object_;
  std::string path_;
  std::set<std::string> asked_;
  std::string fault_;
};

constexpr int kMaxDepth = 8;  // the deepest body has 3

/// Fills `out`; an empty body is an empty object.
Result<> parse(const std::string& body, Json& out) {
  out = Json::object();
  if (body.empty()) return {};
  int depth = 0;
  bool deep = false;
  const auto guard = [&](int level, Json::parse_event_t, Json&) {
    depth = std::max(depth, level);
    deep = deep || level > kMaxDepth;
    return !deep;
  };
  out = Json::parse(body, guard, false);
  if (deep) return fail(Errc::invalid, "the body is nested too deeply");
  if (out.is_discarded()) return fail(Errc::invalid, "the body is not JSON");
  return {};
}

Json status_json(const core::VmView& vm) {
  Json out = Json::object();
  for (const auto& [host, status] : vm.status) out[host] = record(status);
  return out;
}

}  // namespace

std::string vm_state(const core::CellView& view, const core::VmView& vm) {
  if (vm.operation.revision != 0) {
    const auto op = view.operations.find(vm.operation.value);
    if (op == view.operations.end()) return "working";
    switch (op->second.value.kind) {
      case core::OpKind::vm_create: return "creating";
      case core::OpKind::vm_start: return "starting";
      case core::OpKind::vm_shutdown:
      case core::OpKind::vm_power_off: return "stopping";
      case core::OpKind::vm_migrate: return "migrating";
      case core::OpKind::vm_remove: return "removing";
      case core::OpKind::vm_update:
      case core::OpKind::vm_reset:
      case core::OpKind::volume_grow:
      case core::OpKind::volume_verify:
      case core::OpKind::image_import:
      case core::OpKind::image_remove: break;
    }
  }
  const auto here = vm.status.find(vm.right.value.host);
  if (here == vm.status.end()) return "off";
  if (here->second.suspended != "no" && !here->second.suspended.empty()) return "frozen";
  switch (here->second.domain) {
    case core::DomainState::absent: return "off";
    case core::DomainState::running: return "running";
    case core::DomainState::paused: return "paused";
    case core::DomainState::shutting_down: return "stopping";
    case core::DomainState::crashed: return "crashed";
    case core::DomainState::unknown: break;
  }
  return "unknown";
}

bool vm_protected(const core::VmView& vm) {
  if (vm.right.revision == 0 || vm.layout.value.volumes.empty()) return false;
  return std::ranges::all_of(vm.layout.value.volumes.front().legs, [&](const core::Leg& leg) {
    return core::insync_everywhere(vm.right.value, vm.layout.value, leg.host);
  });
}

std::string vm_summary(const core::CellView& view, const core::VmView& vm) {
  const auto& s = vm.spec.value;
  Json j = {{"name", s.name},         {"project", s.project}, {"state", vm_state(view, vm)},
            {"host", vm.right.value.host}, {"cpus", s.cpus},       {"memory_mib", s.memory_mib},
            {"power", core::to_string(s.power)}, {"protected", vm_protected(vm)}, {"revision", vm.spec.revision}};
  if (vm.operation.revision != 0) j["operation"] = vm.operation.value;
  return dump(j);
}

std::string vm(const core::CellView& view, const core::VmView& vm) {
  const auto& s = vm.spec.value;
  Json j = {{"name", s.name},
            {"project", s.project},
            {"cpus", s.cpus},
            {"memory_mib", s.memory_mib},
            {"hosts", {{"nominal", s.nominal_host}, {"peer", s.peer_host}}},
            {"power", core::to_string(s.power)},
            {"migration_policy", s.migration_policy},
            {"revision", vm.spec.revision},
            {"state", vm_state(view, vm)},
            {"protected", vm_protected(vm)},
            {"status", status_json(vm)}};
  j["volumes"] = Json::array();
  for (const auto& v : s.volumes) j["volumes"].push_back({{"name", v.name}, {"size_mib", v.size_mib}, {"image", v.image}});
  j["networks"] = Json::array();
  for (const auto& n : s.nics) j["networks"].push_back({{"network", n.network}, {"mac", n.mac}});
  if (vm.right.revision != 0) {
    Json right = record(vm.right.value);
    right.erase("writer");
    right["revision"] = vm.right.revision;
    j["right"] = std::move(right);
    j["host"] = vm.right.value.host;
  }
  if (vm.operation.revision != 0) j["operation"] = vm.operation.value;
  return dump(j);
}

std::string host(const core::HostView& host) {
  Json j = record(host.info.value);
  j["alive"] = !host.silent && host.lease.revision != 0;
  j["revision"] = host.info.revision;
  return dump(j);
}

std::string volume(const core::VmView& vm, const core::VolumeLayout& volume) {
  Json j = {{"vm", vm.spec.value.name}, {"name", volume.name}, {"size_mib", volume.size_mib}, {"minor", volume.minor},
            {"project", vm.spec.value.project}};
  const auto insync = vm.right.value.insync.find(volume.name);
  j["legs"] = Json::array();
  for (const auto& leg : volume.legs) {
    Json l = {{"host", leg.host}, {"id", leg.id}};
    l["insync"] = insync != vm.right.value.insync.end() &&
                  std::ranges::find(insync->second, leg) != insync->second.end();
    const auto status = vm.status.find(leg.host);
    if (status != vm.status.end()) {
      l["role"] = status->second.role;
      l["connection"] = status->second.connection;
      const auto seen = status->second.volumes.find(volume.name);
      if (seen != status->second.volumes.end()) {
        l["disk"] = seen->second.disk;
        l["replication"] = seen->second.replication;
        l["out_of_sync_kib"] = seen->second.out_of_sync_kib;
      }
    }
    j["legs"].push_back(std::move(l));
  }
  return dump(j);
}

std::string operation(const core::CellView& view, const core::Operation& op) {
  Json j = record(op);
  j.erase("writer");
  j.erase("spec");
  j.erase("restore");
  const auto progress = view.progress.find(op.id);
  if (progress != view.progress.end()) j["progress"] = record(progress->second);
  return dump(j);
}

std::string submitted(const Submitted& s) {
  Json j = {{"operation", s.operation}, {"unchanged", s.unchanged}, {"replayed", s.replayed}, {"revision", s.revision}};
  j["plan"] = Json::array();
  for (const auto& step : s.plan) j["plan"].push_back({{"kind", core::to_string(step.kind)}, {"host", step.host}});
  return dump(j);
}

std::string health(const CellPort::Health& h, const std::string& host) {
  return dump({{"host", host}, {"ok", h.ok}, {"etcd", h.etcd}, {"libvirt", h.libvirt}, {"drbd", h.drbd}, {"sentence", h.sentence}});
}
std::string text_field(const std::string& name, const std::string& value) { return dump({{name, value}}); }
std::string event(const Event& e) {
  return dump({{"type", e.type}, {"object", e.object}, {"revision", e.revision}});
}
std::string problem(int status, const std::string& code, const std::string& title, const std::string& detail,
                    const std::string& instance) {
  return dump({{"type", "about:blank"}, {"status", status}, {"code", code}, {"title", title}, {"detail", detail},
               {"instance", instance}});
}

std::string list(const std::vector<std::string>& items, const std::string& next) {
  std::string out = "{\"items\":[";
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i != 0) out += ',';
    out += items[i];
  }
  out += ']';
  if (!next.empty()) out += ",\"next\":" + dump(next);
  out += '}';
  return out;
}

Result<core::VmSpec> put_vm(const std::string& body, const std::string& name, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::VmSpec spec;
  spec.name = name;
  Reader r(j, "");
  std::string power = "off";
  r.text("reason", reason);
  std::string named = name;
  r.text("name", named);
  if (named != name) r.fault("name: is not the one in the path");
  r.text("project", spec.project, true);
  r.number("cpus", spec.cpus);
  r.number("memory_mib", spec.memory_mib, true);
  r.text("power", power);
  r.text("migration_policy", spec.migration_policy);
  if (const auto p = core::parse_power(power)) spec.power = *p;
  else r.fault("power: on or off is needed");
  if (const Json* hosts = r.object("hosts")) {
    Reader h(*hosts, "hosts");
    h.text("nominal", spec.nominal_host);
    h.text("peer", spec.peer_host);
    h.no_more();
    if (auto ok = h.result(); !ok) return ok.error();
  }
  if (const Json* volumes = r.array("volumes", core::Limits::volumes_per_vm)) {
    for (const auto& item : *volumes) {
      Reader v(item, "volumes[" + std::to_string(spec.volumes.size()) + "]");
      core::VolumeSpec volume;
      v.text("name", volume.name, true);
      v.number("size_mib", volume.size_mib, true);
      v.text("image", volume.image);
      v.no_more();
      if (auto ok = v.result(); !ok) return ok.error();
      spec.volumes.push_back(std::move(volume));
    }
  }
  if (const Json* networks = r.array("networks", core::Limits::nics_per_vm)) {
    for (const auto& item : *networks) {
      Reader n(item, "networks[" + std::to_string(spec.nics.size()) + "]");
      core::NicSpec nic;
      n.text("network", nic.network, true);
      n.text("mac", nic.mac);
      n.no_more();
      if (auto ok = n.result(); !ok) return ok.error();
      spec.nics.push_back(std::move(nic));
    }
  }
  r.no_more();
  if (auto ok = r.result(); !ok) return ok.error();
  return spec;
}

Result<> only_reason(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  Reader r(j, "");
  r.text("reason", reason);
  r.no_more();
  return r.result();
}

Result<core::MigrateVm> migrate(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::MigrateVm out;
  Reader r(j, "");
  r.text("reason", reason);
  r.text("target", out.target);
  r.text("policy", out.policy);
  r.no_more();
  if (auto ok = r.result(); !ok) return ok.error();
  return out;
}

Result<core::ResizeVm> resize(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::ResizeVm out;
  Reader r(j, "");
  r.text("reason", reason);
  r.number("cpus", out.cpus);
  r.number("memory_mib", out.memory_mib);
  if (out.cpus == 0 && out.memory_mib == 0) r.fault("cpus or memory_mib is needed");
  r.no_more();
  if (auto ok = r.result(); !ok) return ok.error();
  return out;
}

Result<core::GrowVolume> grow(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::GrowVolume out;
  Reader r(j, "");
  r.text("reason", reason);
  r.number("size_mib", out.size_mib, true);
  r.no_more();
  if (auto ok = r.result(); !ok) return ok.error();
  return out;
}

}  // namespace bascule::api::json
