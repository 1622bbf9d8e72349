// VMs and volumes, for people.
#include <fmt/format.h>

#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/show.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"
#include "hostd/core/model.hpp"

namespace bascule::hostctl {
namespace {

/// What one host sees of one volume: "UpToDate", "Inconsistent, 3 MiB behind".
std::string disk_words(const Json& v) {
  const std::int64_t behind = v.integer("out_of_sync_kib");
  std::string out = v.text("disk");
  if (behind > 0) out += ", " + bytes(static_cast<std::uint64_t>(behind) * 1024) + " behind";
  return out;
}

Cell insync_cell(const Json& leg) {
  return leg.flag("insync") ? Cell("in sync", Colour::green) : Cell("not in sync", Colour::red);
}

std::string copy_times(const Json& vm) {
  std::string out;
  for (const auto& at : vm["copy_at"].items()) out += (out.empty() ? "" : ", ") + at.text() + " UTC";
  return out;
}

std::string drill_words(const Json& vm) {
  const std::int64_t days = vm.integer("drill_every_days");
  return days == 0 ? std::string() : fmt::format("every {} days (hostctl drills)", days);
}

std::string definition(const Json& vm) {
  std::string out = field("project", vm.text("project")) + field("CPUs", vm.text("cpus")) +
                    field("memory", mib(vm.integer("memory_mib"))) + field("wanted", vm.text("power")) +
                    field("nominal host", vm["hosts"].text("nominal")) + field("peer host", vm["hosts"].text("peer")) +
                    field("protection", vm.text("protection") + ", priority " + vm.text("priority") +
                                            (vm.flag("restart_on_panic") ? ", started again after a panic" : "")) +
                    field("cold copy at", copy_times(vm)) + field("drill", drill_words(vm)) +
                    field("migration", vm.text("migration_policy"));
  for (const auto& n : vm["networks"].items()) out += field("network", n.text("network") + ", MAC " + n.text("mac"));
  return out;
}

/// "host a1: running, Primary, Connected".
std::string seen_by(const std::string& host, const Json& status) {
  std::string out = status.text("domain");
  if (!status.text("domain_reason").empty()) out += " (" + status.text("domain_reason") + ")";
  for (const char* part : {"role", "connection"}) {
    if (!status.text(part).empty()) out += ", " + status.text(part);
  }
  const std::string suspended = status.text("suspended");
  if (core::io_stands_still(suspended)) out += ", I/O frozen: " + suspended;
  return field("on " + host, out);
}

Table volumes_of(const Json& vm) {
  Table table({"VOLUME", ">SIZE", "IMAGE", "HOST", "RECORD", "DISK", "REPLICATION"});
  for (const auto& v : vm["volumes"].items()) {
    const std::string name = v.text("name");
    const Json insync = vm["right"]["insync"][name];
    bool first = true;
    for (const auto& [host, status] : vm["status"].members()) {
      bool listed = false;
      for (const auto& leg : insync.items()) listed = listed || leg.text("host") == host;
      const Json seen = status["volumes"][name];
      table.add({first ? name : " ",
                 first ? mib(v.integer("size_mib")) : " ",
                 first ? v.text("image") : " ",
                 host,
                 listed ? Cell("in sync", Colour::green) : Cell("not in sync", Colour::red),
                 {disk_words(seen), colour_of_state(seen.text("disk"))},
                 seen.text("replication")});
      first = false;
    }
    if (first) table.add({name, mib(v.integer("size_mib")), v.text("image")});
  }
  return table;
}

std::string vm_words(Session& session, const Json& vm) {
  const std::string state = vm.text("state");
  std::string out = "VM " + safe(vm.text("name")) + ": " + paint(session.colour, colour_of_state(state), safe(state));
  if (!vm.text("host").empty()) out += " on " + safe(vm.text("host"));
  const std::string level = vm.text("protection");
  if (level == "backup" || level == "none")
    out += level == "none" ? ", one leg only\n" : ", with a cold copy\n";
  else
    out += vm.flag("protected") ? ", both legs in sync\n" : ", NOT protected: a leg is not in sync\n";
  out += field("operation", vm.text("operation")) + definition(vm);
  const Json right = vm["right"];
  if (right.is_object()) out += field("run-right", right.text("host") + ", epoch " + right.text("epoch"));
  out += field("moving to", right.text("migrating_to"));
  for (const auto& [host, status] : vm["status"].members()) out += seen_by(host, status);
  for (const auto& [what, last] : vm["last"].members()) {
    const std::string text = last.text("text");
    const std::string result = !last.flag("good") ? text : text.empty() ? "good" : "good, ran on " + text;
    out += field("last " + what, utc(last.integer("when_ms")) + ", " + result);
  }
  for (const auto& check : vm["failback"]["checks"].items()) {
    out += field("to go back",
                 (check.flag("ready") ? "ok, " : "NOT READY, ") + check.text("what") + ": " + check.text("text"));
  }
  const Table volumes = volumes_of(vm);
  return volumes.empty() ? out : out + volumes.render(session.colour, session.columns);
}

}  // namespace

Exit vm_list(Session& session) {
  const auto path = paths::query(paths::kVms, {{"project", session.args.project}, {"host", session.args.target}});
  return show_list(session, path, "No VMs. Define one with: hostctl apply -f FILE --reason TEXT",
                   Table({"VM", "PROJECT", "STATE", "HOST", "PROTECTED", ">CPUS", ">MEMORY", "OPERATION"}),
                   [](Table& t, const Json& v) {
                     t.add({v.text("name"),
                            v.text("project"),
                            {v.text("state"), colour_of_state(v.text("state"))},
                            v.text("host"),
                            v.flag("protected") ? Cell("yes", Colour::green) : Cell("no", Colour::red),
                            v.text("cpus"),
                            mib(v.integer("memory_mib")),
                            v.text("operation")});
                   });
}

Exit vm_show(Session& session) {
  return show_one(session, paths::one(paths::kVms, session.args.name),
                  [&](const Json& vm) { return vm_words(session, vm); });
}

Exit volume_list(Session& session) {
  const std::string only = session.args.name;
  const auto row = [](Table& t, const Json& v) {
    bool first = true;
    for (const auto& leg : v["legs"].items()) {
      t.add({first ? v.text("vm") + "/" + v.text("name") : " ",
             first ? mib(v.integer("size_mib")) : " ",
             leg.text("host"),
             insync_cell(leg),
             leg.text("role"),
             {disk_words(leg), colour_of_state(leg.text("disk"))},
             leg.text("connection"),
             leg.text("replication")});
      first = false;
    }
    if (first) t.add({v.text("vm") + "/" + v.text("name"), mib(v.integer("size_mib"))});
  };
  return show_list(session, paths::query(paths::kVolumes, {{"vm", only}}),
                   only.empty() ? "No volumes." : "VM " + safe(only) + " has no volumes.",
                   Table({"VOLUME", ">SIZE", "HOST", "RECORD", "ROLE", "DISK", "CONNECTION", "REPLICATION"}), row);
}

}  // namespace bascule::hostctl
