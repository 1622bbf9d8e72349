// Bodies of requests.
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "api/json.hpp"
#include "api/json_reader.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/core/names.hpp"

namespace bascule::api::json {
namespace {
constexpr int kMaxDepth = 8;  // the deepest body, of a restored VM, has 7
}  // namespace

Result<> parse(const std::string& body, Json& out) {
  out = Json::object();
  if (body.empty()) return {};
  std::vector<std::set<std::string>> open;  // the keys of each object that is being read
  std::string fault;
  const auto guard = [&](int level, Json::parse_event_t event, Json& value) {
    if (level > kMaxDepth && fault.empty()) fault = "the body is nested too deeply";
    if (!fault.empty()) return false;
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(value.get_ref<const std::string&>()).second) {
      fault = "field '" + shown(value.get_ref<const std::string&>()) + "' is there twice";
    }
    return fault.empty();
  };
  out = Json::parse(body, guard, false);
  if (!fault.empty()) return fail(Errc::invalid, fault + "; nothing was changed");
  if (out.is_discarded()) return fail(Errc::invalid, "the body is not JSON; nothing was changed");
  return {};
}

namespace {

Result<> read_volumes(Reader& r, core::VmSpec& spec) {
  const Json* volumes = r.array("volumes", core::Limits::volumes_per_vm, true);
  if (volumes == nullptr) return {};
  for (const auto& item : *volumes) {
    Reader v(item, "volumes[" + std::to_string(spec.volumes.size()) + "]");
    core::VolumeSpec volume;
    v.name("name", volume.name, true);
    v.number("size_mib", volume.size_mib, true);
    v.name("image", volume.image);
    if (auto ok = v.done(); !ok) return ok;
    spec.volumes.push_back(std::move(volume));
  }
  return {};
}

Result<> read_networks(Reader& r, core::VmSpec& spec) {
  const Json* networks = r.array("networks", core::Limits::nics_per_vm);
  if (networks == nullptr) return {};
  for (const auto& item : *networks) {
    Reader n(item, "networks[" + std::to_string(spec.nics.size()) + "]");
    core::NicSpec nic;
    n.name("network", nic.network, true);
    n.text("mac", nic.mac);
    if (!nic.mac.empty() && !core::valid_mac(nic.mac)) {
      n.fault("mac", "six lower-case hex pairs joined by colons, unicast, are needed");
    }
    if (auto ok = n.done(); !ok) return ok;
    spec.nics.push_back(std::move(nic));
  }
  return {};
}

}  // namespace

Result<core::VmSpec> put_vm(const std::string& body, const std::string& name, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::VmSpec spec;
  spec.name = name;
  Reader r(j, "");
  std::string power = "off";
  std::string named = name;
  r.reason(reason);
  r.name("name", named);
  if (named != name) r.fault("name", "is not the one in the path");
  r.name("project", spec.project, true);
  r.number("cpus", spec.cpus);
  r.number("memory_mib", spec.memory_mib, true);
  r.text("power", power);
  r.text("migration_policy", spec.migration_policy);
  std::string protection = "ha";
  r.text("protection", protection);
  r.number("priority", spec.priority);
  r.flag("restart_on_panic", spec.restart_on_panic);
  r.texts("copy_at", spec.copy_at, core::Limits::copies_per_day);
  r.number("drill_every_days", spec.drill_every_days);
  if (const auto level = core::parse_protection(protection))
    spec.protection = *level;
  else
    r.fault("protection", "ha, mirror, backup or none is needed");
  if (const auto p = core::parse_power(power))
    spec.power = *p;
  else
    r.fault("power", "on or off is needed");
  if (const Json* hosts = r.object("hosts")) {
    Reader h(*hosts, "hosts");
    h.name("nominal", spec.nominal_host);
    h.name("peer", spec.peer_host);
    if (auto ok = h.done(); !ok) return ok.error();
  }
  if (auto ok = read_volumes(r, spec); !ok) return ok.error();
  if (auto ok = read_networks(r, spec); !ok) return ok.error();
  if (auto ok = r.done(); !ok) return ok.error();
  return spec;
}

Result<> only_reason(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok;
  Reader r(j, "");
  r.reason(reason);
  return r.done();
}

Result<core::MigrateVm> migrate(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::MigrateVm out;
  Reader r(j, "");
  r.reason(reason);
  r.name("target", out.target);
  r.text("policy", out.policy);
  if (auto ok = r.done(); !ok) return ok.error();
  return out;
}

Result<core::StartVm> start(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::StartVm out;
  Reader r(j, "");
  r.reason(reason);
  r.flag("with_failed_disk", out.with_failed_disk);
  if (auto ok = r.done(); !ok) return ok.error();
  return out;
}

Result<core::FailoverVm> failover(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::FailoverVm out;
  Reader r(j, "");
  r.reason(reason);
  r.flag("host_is_off", out.host_is_off);
  r.name("sacrifice", out.sacrifice);
  if (auto ok = r.done(); !ok) return ok.error();
  return out;
}

Result<core::FailbackVm> failback(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::FailbackVm out;
  Reader r(j, "");
  r.reason(reason);
  r.text("policy", out.policy);
  if (auto ok = r.done(); !ok) return ok.error();
  return out;
}

Result<core::SetMaintenance> maintenance(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::SetMaintenance out;
  Reader r(j, "");
  r.reason(reason);
  r.flag("on", out.on, true);
  if (auto ok = r.done(); !ok) return ok.error();
  return out;
}

Result<core::HostLease> lease(const std::string& body) { return codec::decode<core::HostLease>(body); }

Result<core::ResizeVm> resize(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::ResizeVm out;
  Reader r(j, "");
  r.reason(reason);
  r.number("cpus", out.cpus);
  r.number("memory_mib", out.memory_mib);
  if (auto ok = r.done(); !ok) return ok.error();
  if (out.cpus == 0 && out.memory_mib == 0) {
    return fail(Errc::invalid, "cpus or memory_mib is needed, and neither can be 0; nothing was changed");
  }
  return out;
}

Result<core::GrowVolume> grow(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::GrowVolume out;
  Reader r(j, "");
  r.reason(reason);
  r.number("size_mib", out.size_mib, true);
  if (auto ok = r.done(); !ok) return ok.error();
  return out;
}

}  // namespace bascule::api::json
