// Bodies of the way back from a backup file: what `hostctl cell restore` sends of it, a VM at a time, and of `vm
// adopt`.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/json.hpp"
#include "api/json_reader.hpp"

namespace bascule::api::json {

namespace {
Result<> read_layout(const Json& j, core::Layout& layout) {
  Reader r(j, "layout");
  r.number("port", layout.port, true);
  const Json* volumes = r.array("volumes", core::Limits::volumes_per_vm, true);
  if (volumes == nullptr) return r.done();
  for (const auto& item : *volumes) {
    const std::string path = "layout.volumes[" + std::to_string(layout.volumes.size()) + "]";
    Reader v(item, path);
    core::VolumeLayout volume;
    v.name("name", volume.name, true);
    v.number("minor", volume.minor, true);
    v.number("size_mib", volume.size_mib, true);
    if (const Json* legs = v.array("legs", 2, true)) {
      for (const auto& l : *legs) {
        Reader leg(l, path + ".legs[" + std::to_string(volume.legs.size()) + "]");
        leg.name("host", volume.legs.emplace_back().host, true);
        leg.name("id", volume.legs.back().id, true);
        if (auto ok = leg.done(); !ok) return ok;
      }
    }
    if (auto ok = v.done(); !ok) return ok;
    layout.volumes.push_back(std::move(volume));
  }
  return r.done();
}

Result<> read_restored_vm(const Json& j, core::RestoreStep& out) {
  Reader r(j, "vm");
  const Json* definition = r.object("definition");
  const Json* layout = r.object("layout");
  const Json* right = r.object("right");
  if (definition == nullptr || layout == nullptr || right == nullptr) {
    r.fault("definition", "definition, layout and right are needed");
    return r.done();
  }
  std::string reason;
  const auto name = definition->is_object() ? definition->find("name") : definition->end();
  if (name == definition->end() || !name->is_string()) {
    r.fault("definition", "a name is needed");
    return r.done();
  }
  auto spec =
      put_vm(definition->dump(-1, ' ', false, Json::error_handler_t::replace), name->get<std::string>(), reason);
  if (!spec) return spec.error();
  out.spec = std::move(*spec);
  if (auto ok = read_layout(*layout, out.layout); !ok) return ok;
  Reader was(*right, "right");
  std::uint64_t epoch = 0;
  was.number("epoch", epoch, true);
  was.name("host", out.restored.host, true);
  out.restored.epoch =
      static_cast<std::int64_t>(std::min<std::uint64_t>(epoch, std::numeric_limits<std::int64_t>::max()));
  if (auto ok = was.done(); !ok) return ok;
  return r.done();
}
}  // namespace

Result<core::RestoreStep> restore(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::RestoreStep out;
  Reader r(j, "");
  r.reason(reason);
  std::string part;
  r.text("part", part, true);
  r.text("file", out.file, true);
  r.number("vms", out.vms, true);
  std::uint64_t sequence = 0;
  r.number("audit_sequence", sequence, true);
  r.text("audit_hash", out.head.hash, true);
  out.head.sequence =
      static_cast<std::int64_t>(std::min<std::uint64_t>(sequence, std::numeric_limits<std::int64_t>::max()));
  using Kind = core::RestoreStep::Kind;
  r.texts("hosts", out.hosts, core::kRestoreHosts);
  const Json* vm = r.object("vm");
  if (part == "vm") {
    out.kind = Kind::vm;
    if (vm == nullptr) r.fault("vm", "a VM is needed");
  } else if (part == "end") {
    out.kind = Kind::end;
  } else if (part != "begin" && !part.empty()) {
    r.fault("part", "begin, vm or end is needed");
  }
  if (auto ok = r.done(); !ok) return ok.error();
  if (out.kind == Kind::vm) {
    if (auto ok = read_restored_vm(*vm, out); !ok) return ok.error();
  }
  return out;
}

Result<core::AdoptVm> adopt(const std::string& body, std::string& reason) {
  Json j;
  if (auto ok = parse(body, j); !ok) return ok.error();
  core::AdoptVm out;
  Reader r(j, "");
  r.reason(reason);
  r.name("host", out.host, true);
  if (out.host.empty()) r.fault("host", "the host whose legs the VM starts from is needed");
  if (auto ok = r.done(); !ok) return ok.error();
  return out;
}

}  // namespace bascule::api::json
