#include "storage/drbd_config.hpp"

#include <fmt/format.h>

namespace bascule::storage {
namespace {

using core::Result;

void write_section(std::string& text, std::string_view name, const Options& options, std::string_view indent) {
  text += fmt::format("{}{} {{\n", indent, name);
  for (const auto& [key, value] : options) {
    // `check` has let no quote, backslash or control character through.
    const bool quoted = key == "shared-secret";
    text += fmt::format("{}    {} {}{}{};\n", indent, key, quoted ? "\"" : "", value, quoted ? "\"" : "");
  }
  text += fmt::format("{}}}\n", indent);
}

std::string address_text(const Endpoint& endpoint) {
  std::string text = address_argument(endpoint);  // ipv4:a:p -> ipv4 a:p
  text[text.find(':')] = ' ';
  return text;
}

}  // namespace

Sections sections(const Resource& resource, const DrbdOptions& o, DrbdVersion version) {
  const bool nine = version == DrbdVersion::v9;
  Sections s;
  s.resource = {{"on-no-data-accessible", "suspend-io"}};
  if (nine) {
    s.resource.emplace_back("auto-promote", "no");  // only hostd promotes
    s.resource.emplace_back("quorum", "off");       // the arbiter is etcd
    s.resource.emplace_back("on-no-quorum", "suspend-io");
  }
  // It detaches all the same, and before the peer hears of it the helper has written that down (R5).
  s.disk = {{"on-io-error", "call-local-io-error"},
            {"disk-flushes", "yes"},
            {"md-flushes", "yes"},
            {"al-extents", std::to_string(o.al_extents)},
            {"discard-zeroes-if-aligned", "yes"},
            {"rs-discard-granularity", "65536"}};
  const Options resync = {{"c-plan-ahead", "20"},
                          {"c-fill-target", fmt::format("{}K", o.resync_fill_kib)},
                          {"c-max-rate", fmt::format("{}K", o.resync_max_kib)},
                          {"c-min-rate", fmt::format("{}K", o.resync_min_kib)}};
  s.net = {{"protocol", "C"},
           {"after-sb-0pri", "disconnect"},
           {"after-sb-1pri", "disconnect"},
           {"after-sb-2pri", "disconnect"},
           {"rr-conflict", "disconnect"},
           {"allow-two-primaries", "no"},
           {"timeout", std::to_string(o.timeout_ds)},
           {"ping-int", std::to_string(o.ping_int_s)},
           {"ping-timeout", std::to_string(o.ping_timeout_ds)},
           {"connect-int", std::to_string(o.connect_int_s)},
           {"ko-count", std::to_string(o.ko_count)},
           {"max-buffers", std::to_string(o.max_buffers)},
           {"verify-alg", o.verify_alg},
           {"csums-alg", o.csums_alg}};
  if (nine) {
    s.peer_device = resync;
    s.net.emplace_back("fencing", "resource-and-stonith");
  } else {
    s.disk.insert(s.disk.end(), resync.begin(), resync.end());
    s.disk.emplace_back("fencing", "resource-and-stonith");
  }
  if (!resource.secret.empty()) {
    s.net.emplace_back("cram-hmac-alg", o.hmac_alg);
    s.net.emplace_back("shared-secret", resource.secret);
  }
  return s;
}

Result<std::string> resource_config(const Resource& resource, const DrbdOptions& options, DrbdVersion version,
                                    std::string_view self) {
  if (auto ok = check(resource, self); !ok) return ok.error();
  if (auto ok = check(options); !ok) return ok.error();
  const std::size_t own = *side_of(resource, self);
  Sections s = sections(resource, options, version);
  s.disk.insert(s.disk.end(), s.peer_device.begin(), s.peer_device.end());

  std::string text = fmt::format("{}\nresource {} {{\n", kConfigMark, resource_name(resource.vm));
  write_section(text, "options", s.resource, "    ");
  // exec: at a timeout drbdadm kills the shell only, and a child of the shell would live on.
  text += fmt::format(
      "    handlers {{\n        fence-peer \"exec {0}\";\n        local-io-error \"exec {0} lost-disk {1}\";\n    }}\n",
      options.fence_peer, options.lost_disks);
  write_section(text, "disk", s.disk, "    ");
  write_section(text, "net", s.net, "    ");
  for (std::size_t side = 0; side < resource.hosts.size(); ++side) {
    const Endpoint& endpoint = resource.hosts[side];
    text += fmt::format("    on {} {{\n", endpoint.host);
    if (version == DrbdVersion::v9) text += fmt::format("        node-id {};\n", endpoint.node_id);
    text += fmt::format("        address {};\n", address_text(endpoint));
    for (const Volume& volume : resource.volumes) {
      // The tools want a device for the peer too, but never use it here.
      const std::string& backing = volume.backing[side].empty() ? volume.backing[own] : volume.backing[side];
      text += fmt::format("        volume {} {{ # {}\n            device minor {};\n            disk \"{}\";\n"
                          "            meta-disk internal;\n            disk {{\n                size {}K;\n       "
                          "     }}\n        }}\n",
                          volume.index, volume.name, volume.minor, backing, volume.size_mib * 1024);
    }
    text += "    }\n";
  }
  text += "}\n";
  return text;
}

Result<std::string> global_config(const DrbdOptions& options) {
  if (auto ok = check(options); !ok) return ok.error();
  return fmt::format("{}\nglobal {{\n    usage-count no;\n    disable-ip-verification;\n    cmd-timeout-long "
                     "{};\n}}\ncommon {{\n}}\n",
                     kConfigMark, options.handler_timeout_s);
}

}  // namespace bascule::storage
