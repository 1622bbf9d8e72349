// The verbs on VMs and volumes.
#include <fmt/format.h>

#include "api/hostctl/change.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

Change verb(const std::string& vm, const std::string& what) {
  Change c;
  c.path = paths::action(paths::one(paths::kVms, vm), what);
  c.object = "VM " + vm;
  return c;
}

/// "web/data" -> {"web", "data"}.
core::Result<std::pair<std::string, std::string>> split_volume(const std::string& text) {
  const std::size_t slash = text.find('/');
  const bool good = slash != std::string::npos && slash > 0 && slash + 1 < text.size() &&
                    text.find('/', slash + 1) == std::string::npos;
  if (!good) return core::fail(core::Errc::invalid, "'" + text + "': a volume is named VM/VOLUME");
  return std::pair(text.substr(0, slash), text.substr(slash + 1));
}

Exit change_volume(Session& session, const std::string& what, const Json& body) {
  const auto parts = split_volume(session.args.name);
  if (!parts) return session.fail(parts.error());
  Change c;
  c.path = paths::action(paths::one(paths::one(paths::kVolumes, parts->first), parts->second), what);
  c.object = "volume " + session.args.name;
  c.body = body;
  return carry_out(session, c);
}

}  // namespace

Exit vm_copy(Session& s) { return carry_out(s, verb(s.args.name, "copy")); }
Exit volume_repair(Session& s) { return carry_out(s, verb(s.args.name, "repair")); }
Exit vm_adopt(Session& s) {
  Change c = verb(s.args.name, "adopt");
  c.body.set("host", std::string_view(s.args.target));
  return carry_out(s, c);
}
Exit watchdog_prove(Session& s) {
  Change c;
  c.path = paths::action(paths::one(paths::kHosts, s.args.name), "prove-watchdog");
  c.object = "the watchdog of host " + s.args.name;
  return carry_out(s, c);
}

Exit vm_start(Session& s) {
  Change c = verb(s.args.name, "start");
  if (s.args.with_failed_disk) c.body.set("with_failed_disk", Json::of(true));
  return carry_out(s, c);
}
Exit vm_stop(Session& s) { return carry_out(s, verb(s.args.name, "shutdown")); }
Exit vm_off(Session& s) { return carry_out(s, verb(s.args.name, "power-off")); }
Exit vm_reset(Session& s) { return carry_out(s, verb(s.args.name, "reset")); }

Exit vm_migrate(Session& s) {
  Change c = verb(s.args.name, "migrate");
  if (!s.args.target.empty()) c.body.set("target", std::string_view(s.args.target));
  if (!s.args.policy.empty()) c.body.set("policy", std::string_view(s.args.policy));
  return carry_out(s, c);
}

Exit vm_failover(Session& s) {
  Change c = verb(s.args.name, "failover");
  if (s.args.host_is_off) c.body.set("host_is_off", Json::of(true));
  if (!s.args.target.empty()) c.body.set("sacrifice", std::string_view(s.args.target));
  return carry_out(s, c);
}

Exit vm_failback(Session& s) {
  Change c = verb(s.args.name, "failback");
  if (!s.args.policy.empty()) c.body.set("policy", std::string_view(s.args.policy));
  return carry_out(s, c);
}

Exit host_maintenance(Session& s) {
  Change c;
  c.path = paths::action(paths::one(paths::kHosts, s.args.name), "maintenance");
  c.object = "host " + s.args.name;
  c.body.set("on", Json::of(s.args.state == "on"));
  return carry_out(s, c);
}

namespace {
Exit switch_ha(Session& s, const std::string& what) {
  Change c;
  c.path = paths::action(paths::kHa, what);
  c.object = "automatic failover";
  return carry_out(s, c);
}
}  // namespace
Exit ha_arm(Session& s) { return switch_ha(s, "arm"); }
Exit ha_disarm(Session& s) { return switch_ha(s, "disarm"); }

Exit vm_resize(Session& s) {
  if (s.args.cpus == 0 && s.args.memory_mib == 0) {
    return s.fail(core::fail(core::Errc::invalid, "give --cpus, --memory or both; nothing was sent"));
  }
  Change c = verb(s.args.name, "resize");
  if (s.args.cpus > 0) c.body.set("cpus", s.args.cpus);
  if (s.args.memory_mib > 0) c.body.set("memory_mib", s.args.memory_mib);
  return carry_out(s, c);
}

Exit vm_remove(Session& s) {
  Change c;
  c.method = "DELETE";
  c.path = paths::one(paths::kVms, s.args.name);
  c.object = "VM " + s.args.name;
  return carry_out(s, c);
}

Exit volume_grow(Session& s) {
  Json body = Json::object();
  body.set("size_mib", s.args.size_mib);
  return change_volume(s, "grow", body);
}
Exit volume_verify(Session& s) { return change_volume(s, "verify", Json()); }

namespace {
Exit steer(Session& s, const std::string& how, const std::string& told) {
  Change c;
  c.path = paths::action(paths::one(paths::kOperations, s.args.name), how);
  c.object = "operation " + s.args.name;
  auto done = submit(s, c);
  if (!done) return s.fail(done.error());
  if (s.args.watch) return follow(s, s.args.name);
  if (s.args.json)
    s.json(done->raw);
  else
    s.print(safe("operation " + s.args.name) + ": " + told + "\n");
  return Exit::done;
}
}  // namespace
Exit op_cancel(Session& s) { return steer(s, "cancel", "asked to stop and undo its steps"); }
Exit op_approve(Session& s) { return steer(s, "approve", "approved, it goes on"); }

}  // namespace bascule::hostctl
