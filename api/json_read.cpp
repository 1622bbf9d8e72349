// Bodies of requests.
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "api/json.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/core/names.hpp"

namespace bascule::api::json {
namespace {

using Json = nlohmann::json;
using core::Errc;
using core::fail;
using core::Result;

constexpr int kMaxDepth = 8;                  // the deepest body has 3
constexpr std::size_t kMaxText = 128;         // every text but a reason is a name or an address
constexpr std::size_t kMaxReasonText = 4096;  // check_reason says the exact limit
constexpr std::size_t kShown = 40;            // of a name that came from outside, in a sentence

/// What of a client's text may stand in an answer: printable ASCII, cut.
std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kShown)) out += c >= 0x20 && c < 0x7F ? c : '?';
  return out;
}

/// Reads the fields of an object strictly; remembers the first fault.
class Reader {
 public:
  Reader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) say("an object is needed");
  }
  void text(const char* name, std::string& out, bool needed = false, std::size_t most = kMaxText) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    if (!j->is_string()) return fault(name, "a string is needed");
    const auto& value = j->get_ref<const std::string&>();
    if (value.size() > most) return fault(name, "at most " + std::to_string(most) + " bytes are allowed");
    out = value;
  }
  /// A name, or empty for "not given".
  void name(const char* field, std::string& out, bool needed = false) {
    text(field, out, needed);
    if (!out.empty() && !core::valid_name(out)) {
      fault(field, "a name is 1 to 40 lower-case letters, digits and inner hyphens");
    }
  }
  void reason(std::string& out) { text("reason", out, false, kMaxReasonText); }
  template <class T>
  void number(const char* name, T& out, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    const auto* value = j->get_ptr<const Json::number_unsigned_t*>();
    if (value == nullptr || *value > std::numeric_limits<T>::max()) {
      return fault(name, "a whole number from 0 to " + std::to_string(std::numeric_limits<T>::max()) + " is needed");
    }
    out = static_cast<T>(*value);
  }
  void flag(const char* name, bool& out, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    if (!j->is_boolean()) return fault(name, "true or false is needed");
    out = j->get<bool>();
  }
  const Json* array(const char* name, std::size_t most, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return nullptr;
    if (j->is_array() && j->size() <= most) return j;
    fault(name, "a list of at most " + std::to_string(most) + " is needed");
    return nullptr;
  }
  void texts(const char* name, std::vector<std::string>& out, std::size_t most) {
    const Json* list = array(name, most);
    if (list == nullptr) return;
    for (const auto& item : *list) {
      if (!item.is_string() || item.get_ref<const std::string&>().size() > kMaxText) {
        return fault(name, "a list of short strings is needed");
      }
      out.push_back(item.get<std::string>());
    }
  }
  const Json* object(const char* name) { return find(name, false); }
  void fault(const char* name, const std::string& what) { say(std::string(name) + ": " + what); }
  /// The verdict, once every field was asked for.
  Result<> done() {
    if (object_.is_object()) {
      for (const auto& [name, value] : object_.items()) {
        if (!asked_.contains(name)) say("unknown field '" + shown(name) + "'");
      }
    }
    // A misspelt name says more than that the right one is missing.
    const std::string& fault = fault_.empty() ? missing_ : fault_;
    if (fault.empty()) return {};
    return fail(Errc::invalid, fault + "; nothing was changed");
  }

 private:
  void say(const std::string& what) {
    if (fault_.empty()) fault_ = path_.empty() ? what : path_ + ": " + what;
  }
  const Json* find(const char* name, bool needed) {
    asked_.insert(name);
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(name);
    if (it != object_.end()) return &*it;
    if (needed && missing_.empty()) missing_ = (path_.empty() ? "" : path_ + ": ") + name + " is missing";
    return nullptr;
  }
  const Json& object_;
  std::string path_;
  std::set<std::string, std::less<>> asked_;
  std::string fault_, missing_;
};

/// Fills `out`; an empty body is an empty object.
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
