// `cell restore`: a file of `cell backup` is written back into an empty cell, a VM at a time (docs/cell-backup.md).
// What the file says is checked here as a whole, and by the cell record by record.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "api/hostctl/audit.hpp"
#include "api/hostctl/backup.hpp"
#include "api/hostctl/chain.hpp"
#include "api/hostctl/change.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"
#include "hostd/codec/digest.hpp"

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::Result;

constexpr std::size_t kFileBytes = std::size_t{1} << 30U;  // a million audit records and more

core::Error bad(const std::string& path, const std::string& what) {
  return core::fail(Errc::invalid, path + ": " + what + "; nothing was changed");
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return core::fail(Errc::invalid, path + ": " + std::strerror(errno) + "; nothing was changed");
  std::string text;
  std::string piece(std::size_t{1} << 20U, '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0) {
    text.append(piece, 0, static_cast<std::size_t>(in.gcount()));
    if (text.size() > kFileBytes) return bad(path, fmt::format("more than {} bytes", kFileBytes));
  }
  return text;
}

/// The whole chain, recomputed: it ends where the file says.
Result<> check_chain(const std::string& path, const Json& file) {
  ChainChecker checker;
  for (const auto& record : file["audit"].items()) {
    if (!checker.add(record_of(record))) break;
  }
  if (checker.broken()) return bad(path, "its audit chain is broken: " + checker.problem().value_or(""));
  const Json head = file["audit_head"];
  if (checker.last_sequence() != head.integer("sequence") || checker.head() != head.text("hash")) {
    return bad(path, "its audit chain does not end where it says");
  }
  return {};
}

/// What all requests of one restore say.
struct Source {
  Json common;            ///< the file's hash and the end of its chain
  std::vector<Json> vms;  ///< each as the request has it
  std::set<std::string> hosts;
  std::vector<std::string> left_out;
  bool disarmed{};
};

Json definition_of(const Json& vm) {
  Json out = Json::object();
  for (const char* field :
       {"name", "project", "cpus", "memory_mib", "hosts", "protection", "priority", "restart_on_panic", "copy_at",
        "drill_every_days", "migration_policy", "volumes", "networks"}) {
    if (vm.has(field)) out.set(field, vm[field]);
  }
  return out.set("power", std::string_view("off"));
}

/// The layout as the record has it, in the order of the definition's volumes.
Result<Json> layout_of(const std::string& path, const Json& vm, const std::vector<Json>& volumes,
                       std::set<std::string>& hosts) {
  const std::string name = vm.text("name");
  std::vector<Json> made;
  Json layout = Json::object();
  for (const auto& wanted : vm["volumes"].items()) {
    const auto it = std::ranges::find_if(volumes, [&](const Json& v) { return v.text("name") == wanted.text("name"); });
    if (it == volumes.end()) return bad(path, "it has no layout of volume " + name + "/" + wanted.text("name"));
    std::vector<Json> legs;
    for (const auto& leg : (*it)["legs"].items()) {
      hosts.insert(leg.text("host"));
      legs.push_back(Json::object().set("host", leg["host"]).set("id", leg["id"]));
    }
    Json volume = Json::object();
    volume.set("name", (*it)["name"]).set("minor", (*it)["minor"]).set("size_mib", (*it)["size_mib"]);
    made.push_back(volume.set("legs", Json::array(legs)));
    layout.set("port", (*it)["port"]);
  }
  return layout.set("volumes", Json::array(made));
}

Result<Source> read_source(const std::string& path) {
  auto text = read_file(path);
  if (!text) return text.error();
  auto file = Json::parse(*text);
  if (!file) return bad(path, "it is not JSON (" + file.error().what + ")");
  if (file->text("kind") != kBackupKind) return bad(path, "it is not a file of `hostctl cell backup`");
  if (file->integer("format") != kBackupFormat) {
    return bad(path,
               fmt::format("it has format {}, and this hostctl reads {}", file->integer("format"), kBackupFormat));
  }
  if (auto ok = check_chain(path, *file); !ok) return ok.error();
  Source out;
  out.disarmed = !(*file)["ha"].flag("armed");
  std::map<std::string, std::vector<Json>> volumes;
  for (const auto& v : (*file)["volumes"].items()) volumes[v.text("vm")].push_back(v);
  for (const auto& vm : (*file)["vms"].items()) {
    const std::string name = vm.text("name");
    // Its creation had not ended: it has never run, and its legs may be half-made.
    if (!vm.has("right")) {
      out.left_out.push_back(name);
      continue;
    }
    auto layout = layout_of(path, vm, volumes[name], out.hosts);
    if (!layout) return layout.error();
    Json right = Json::object();
    right.set("epoch", vm["right"]["epoch"]).set("host", vm["right"]["host"]);
    out.vms.push_back(Json::object({{"definition", definition_of(vm)}, {"layout", *layout}, {"right", right}}));
  }
  const Json head = (*file)["audit_head"];
  out.common.set("file", std::string_view(codec::sha256(*text)));
  out.common.set("audit_sequence", head["sequence"]).set("audit_hash", head["hash"]);
  out.common.set("vms", static_cast<std::int64_t>(out.vms.size()));
  return out;
}

Result<Json> send(Session& session, Json body, std::string_view part) {
  Change change;
  change.path = paths::kRestore;
  change.body = body.set("part", part);
  change.key = new_key();
  auto client = session.client();
  if (!client) return client.error();
  auto answer = (*client)->change(request_of(session, change));
  if (!answer) return answer.error();
  return answer->body;
}

/// All parts, in order. What is written already is left as it is, so that a second run goes on where one ended.
Result<Json> send_all(Session& session, const Source& source) {
  Json begin = source.common;
  std::vector<Json> hosts;
  for (const auto& host : source.hosts) hosts.push_back(Json::of(std::string_view(host)));
  auto done = send(session, begin.set("hosts", Json::array(hosts)), "begin");
  for (const auto& vm : source.vms) {
    if (!done) return done;
    Json body = source.common;
    done = send(session, body.set("vm", vm), "vm");
  }
  if (!done || session.args.dry_run) return done;
  return send(session, source.common, "end");
}

std::string names(const std::vector<Json>& vms) {
  std::string out;
  for (const auto& vm : vms) {
    const Json d = vm["definition"];
    out += fmt::format("  {} on {} and {}\n", safe(d.text("name")), safe(d["hosts"].text("nominal")),
                       safe(d["hosts"].text("peer")));
  }
  return out;
}

}  // namespace

Exit cell_restore(Session& session) {
  const std::string& path = session.args.files.front();
  auto source = read_source(path);
  if (!source) return session.fail(source.error());
  for (const auto& vm : source->left_out) {
    session.note("VM " + safe(vm) + " is left out: it had no run-right, its creation had not ended\n");
  }
  auto done = send_all(session, *source);
  if (!done) return session.fail(done.error());
  if (session.args.json) {
    session.json(*done);
    return Exit::done;
  }
  if (session.args.dry_run) {
    session.print(fmt::format("{}: would restore {} VMs, with power off and no run-right; nothing was changed\n{}",
                              safe(path), source->vms.size(), names(source->vms)));
    return Exit::done;
  }
  session.print(fmt::format("{}: {} VMs are restored, with power off and no run-right\n{}", safe(path),
                            source->vms.size(), names(source->vms)));
  session.print("  next, for each: hostctl vm adopt VM --host HOST\n");
  if (source->disarmed)
    session.print("  failover was switched off in that cell, and is on in this one: hostctl ha disarm\n");
  return Exit::done;
}

}  // namespace bascule::hostctl
