// Hosts, images and the cell itself, for people.
#include <fmt/format.h>

#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/show.hpp"
#include "api/hostctl/table.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

Cell state_cell(const std::string& word) { return {word, colour_of_state(word)}; }

std::string joined(const Json& list) {
  std::string out;
  for (const auto& item : list.items()) out += (out.empty() ? "" : ", ") + item.text();
  return out;
}

/// "asked by olga: disks"; empty when nobody asked.
std::string asked_by(const Json& who) {
  return who.text("author").empty() ? std::string() : "asked by " + who.text("author") + ": " + who.text("reason");
}

std::string ha_words(const Json& ha) {
  if (ha.flag("armed")) return "automatic failover is armed\n";
  return "automatic failover is DISARMED, " + safe(asked_by(ha["disarmed_by"])) + "\n";
}

std::string host_words(const Json& h) {
  return "host " + safe(h.text("id")) + "\n" + field("site", h.text("site")) +
         field("state", h.flag("alive") ? "alive" : "silent") + field("maintenance", asked_by(h["maintenance_by"])) +
         field("power off", h.text("power_off")) + field("API", h.text("api_address")) +
         field("replication", h.text("replication_address")) + field("migration", h.text("migration_address")) +
         field("CPUs", h.text("cpus")) +
         field("memory", mib(h.integer("memory_mib")) + ", " + mib(h.integer("memory_free_mib")) + " free") +
         field("VMs", h.text("vms")) +
         field("pool", h.text("pool_kind") + ", " + mib(h.integer("pool_free_mib")) + " free") +
         field("networks", joined(h["networks"])) + field("accelerator", h.text("accel")) +
         field("hostd", h.text("hostd_version")) + field("libvirt", h.text("libvirt_version")) +
         field("QEMU", h.text("qemu_version")) + field("DRBD", h.text("drbd_version")) +
         field("kernel", h.text("kernel"));
}

}  // namespace

std::string field(const std::string& label, const std::string& value) {
  return value.empty() ? std::string() : fmt::format("  {:<13} {}\n", safe(label) + ":", safe(value));
}

Exit show_list(Session& session, const std::string& path, const std::string& empty, Table table, const Row& row) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto items = all_items(**client, path);
  if (!items) return session.fail(items.error());
  if (session.args.json) {
    session.json(Json::array(*items));
    return Exit::done;
  }
  for (const auto& item : *items) row(table, item);
  session.print(table.empty() ? empty + "\n" : table.render(session.colour, session.columns));
  return Exit::done;
}

Exit ha_status(Session& session) { return show_one(session, paths::kHa, ha_words); }

Exit show_one(Session& session, const std::string& path, const std::function<std::string(const Json&)>& words) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto answer = (*client)->get(path);
  if (!answer) return session.fail(answer.error());
  if (session.args.json)
    session.json(answer->body);
  else
    session.print(words(answer->body));
  return Exit::done;
}

Exit host_list(Session& session) {
  return show_list(session, paths::kHosts, "No hosts.",
                   Table({"HOST", "SITE", "STATE", ">VMS", ">CPUS", ">MEMORY", ">FREE", ">POOL FREE", "POOL", "ACCEL",
                          "HOSTD", "API"}),
                   [](Table& t, const Json& h) {
                     t.add({h.text("id"), h.text("site"), state_cell(h.flag("alive") ? "alive" : "silent"),
                            h.text("vms"), h.text("cpus"), mib(h.integer("memory_mib")),
                            mib(h.integer("memory_free_mib")), mib(h.integer("pool_free_mib")), h.text("pool_kind"),
                            h.text("accel"), h.text("hostd_version"), h.text("api_address")});
                   });
}

Exit host_show(Session& session) { return show_one(session, paths::one(paths::kHosts, session.args.name), host_words); }

Exit image_list(Session& session) {
  return show_list(session, paths::kImages, "No images.", Table({"IMAGE", ">SIZE", "HOST", "SHA-256"}),
                   [](Table& t, const Json& i) {
                     t.add({i.text("name"), bytes(static_cast<std::uint64_t>(i.integer("size_bytes"))), i.text("host"),
                            i.text("sha256")});
                   });
}

Exit why(Session& session) {
  return show_one(session, paths::one(paths::kVms, session.args.name) + "/why",
                  [](const Json& j) { return safe(j.text("why")) + "\n"; });
}

Exit health(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  // A host that is not well says so with 503 and the same body: that is the answer, not a reason to ask another one.
  auto answer = (*client)->get(paths::kHealth, Unwell::is_an_answer);
  if (!answer) return session.fail(answer.error());
  const Json& j = answer->body;
  if (session.args.json) {
    session.json(j);
  } else {
    std::string out =
        j.flag("ok") ? paint(session.colour, Colour::green, "ok") : paint(session.colour, Colour::red, "not ok");
    out += ": host " + safe(j.text("host")) + "\n";
    for (const char* part : {"etcd", "libvirt", "drbd"}) out += field(part, j.flag(part) ? "ok" : "down");
    out += field("means", j.text("sentence"));
    for (const auto& warning : j["warnings"].items()) out += field("warning", warning.text());
    session.print(out);
  }
  return j.flag("ok") ? Exit::done : Exit::refused;
}

Exit version(Session& session) {
  auto client = session.client();
  if (!client) return session.fail(client.error());
  auto answer = (*client)->get(paths::kVersion);
  if (!answer) return session.fail(answer.error());
  if (session.args.json) {
    session.json(answer->body);
    return Exit::done;
  }
  session.print("hostctl " BASCULE_VERSION "\nhostd   " + safe(answer->body.text("version")) + " on " +
                safe(answer->body.text("host")) + " (API " + safe(answer->body.text("api")) + ", " +
                to_string(answer->from) + ")" + "\n");
  return Exit::done;
}

}  // namespace bascule::hostctl
