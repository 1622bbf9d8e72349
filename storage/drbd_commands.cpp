#include "storage/drbd_commands.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace bascule::storage {
namespace {

void append(Argv& argv, const Options& options) {
  for (const auto& [key, value] : options) argv.push_back(fmt::format("--{}={}", key, value));
}

Argv setup(std::initializer_list<std::string> rest) {
  Argv argv{std::string(kDrbdsetup)};
  argv.insert(argv.end(), rest.begin(), rest.end());
  return argv;
}

}  // namespace

core::Result<DrbdCommands> DrbdCommands::make(Resource resource, const DrbdOptions& options, DrbdVersion version,
                                              std::string_view self) {
  if (auto ok = check(resource, self); !ok) return ok.error();
  if (auto ok = check(options); !ok) return ok.error();
  DrbdCommands commands;
  commands.name_ = resource_name(resource.vm);
  commands.sections_ = sections(resource, options, version);
  commands.version_ = version;
  commands.own_ = *side_of(resource, self);
  commands.resource_ = std::move(resource);
  return commands;
}

Argv DrbdCommands::meta(const Volume& volume) const {
  return {std::string(kDrbdmeta), std::to_string(volume.minor), nine() ? "v09" : "v08", backing(volume), "internal"};
}

Argv DrbdCommands::create_metadata(const Volume& volume) const {
  Argv argv = meta(volume);
  argv.emplace_back("create-md");
  if (nine()) argv.emplace_back("1");  // peers
  argv.emplace_back("--force");
  return argv;
}

Argv DrbdCommands::metadata_generation(const Volume& volume) const {
  Argv argv = meta(volume);
  argv.emplace_back("get-gi");
  if (nine()) argv.push_back("--node-id=" + peer_id());
  return argv;
}

Argv DrbdCommands::apply_activity_log(const Volume& volume) const {
  Argv argv = meta(volume);
  argv.emplace_back("apply-al");
  return argv;
}

Argv DrbdCommands::invalidate(const Volume& volume) const {
  Argv argv = meta(volume);
  argv.emplace_back("invalidate");
  return argv;
}

Argv DrbdCommands::new_resource() const {
  Argv argv = setup({"new-resource", name_});
  if (nine()) argv.push_back(std::to_string(self().node_id));
  append(argv, sections_.resource);
  return argv;
}

Argv DrbdCommands::new_minor(const Volume& volume) const {
  return setup({"new-minor", name_, std::to_string(volume.minor), std::to_string(volume.index)});
}

std::vector<Argv> DrbdCommands::new_peer() const {
  if (!nine()) return {};
  std::vector<Argv> list;
  list.push_back(setup({"new-peer", name_, peer_id(), "--_name=" + peer().host}));
  append(list.back(), sections_.net);
  list.push_back(setup({"new-path", name_, peer_id(), address_argument(self()), address_argument(peer())}));
  for (const Volume& volume : resource_.volumes) {
    list.push_back(setup({"peer-device-options", name_, peer_id(), std::to_string(volume.index)}));
    append(list.back(), sections_.peer_device);
  }
  return list;
}

Argv DrbdCommands::metadata_details(const Volume& volume) const {
  Argv argv = meta(volume);
  argv.emplace_back("show-gi");
  if (nine()) argv.push_back("--node-id=" + peer_id());
  return argv;
}

Argv DrbdCommands::attach(const Volume& volume, std::uint64_t size_kib) const {
  Argv argv = setup({"attach", std::to_string(volume.minor), backing(volume), backing(volume), "internal"});
  append(argv, sections_.disk);
  argv.push_back(fmt::format("--size={}K", size_kib));
  return argv;
}

Argv DrbdCommands::connect(bool discard_own_data) const {
  Argv argv = nine() ? setup({"connect", name_, peer_id()})
                     : setup({"connect", name_, address_argument(self()), address_argument(peer())});
  if (discard_own_data) argv.emplace_back("--discard-my-data");
  if (nine()) return argv;
  append(argv, sections_.net);
  return argv;
}

Running DrbdCommands::running() const {
  Running running{version_, name_, {}, address_argument(self()), address_argument(peer()), peer().node_id};
  for (const Volume& volume : resource_.volumes) running.minors.push_back(volume.minor);
  return running;
}

std::vector<Argv> Running::primary(bool force) const {
  std::vector<Argv> list;
  if (version == DrbdVersion::v9) list.push_back(setup({"primary", name}));
  if (version == DrbdVersion::v8_4) {
    for (const auto minor : minors) list.push_back(setup({"primary", std::to_string(minor)}));
  }
  if (force) {
    for (auto& argv : list) argv.emplace_back("--force");
  }
  return list;
}

std::vector<Argv> Running::secondary() const {
  if (version == DrbdVersion::v9) return {setup({"secondary", name})};
  std::vector<Argv> list;
  for (const auto minor : minors) list.push_back(setup({"secondary", std::to_string(minor)}));
  return list;
}

Argv Running::disconnect(bool force) const {
  Argv argv = version == DrbdVersion::v9 ? setup({"disconnect", name, std::to_string(peer_id)})
                                         : setup({"disconnect", local, remote});
  if (force) argv.emplace_back("--force");
  return argv;
}

Argv Running::two_primaries(bool allow) const {
  Argv argv = version == DrbdVersion::v9 ? setup({"net-options", name, std::to_string(peer_id)})
                                         : setup({"net-options", local, remote});
  argv.emplace_back(allow ? "--allow-two-primaries=yes" : "--allow-two-primaries=no");
  return argv;
}

std::vector<Argv> Running::suspend_io() const {
  std::vector<Argv> list;
  for (const auto minor : minors) list.push_back(setup({"suspend-io", std::to_string(minor)}));
  return list;
}

std::vector<Argv> Running::resume_io() const {
  // safety: only the words of a command; drbd_adapter_freeze.cpp proves each use.
  std::vector<Argv> list;
  for (const auto minor : minors) list.push_back(setup({"resume-io", std::to_string(minor)}));
  return list;
}

Argv DrbdCommands::skip_first_sync(const Volume& volume) const {
  return setup({"new-current-uuid", std::to_string(volume.minor), "--clear-bitmap"});
}

Argv DrbdCommands::verify(const Volume& volume) const {
  return nine() ? setup({"verify", name_, peer_id(), std::to_string(volume.index)})
                : setup({"verify", std::to_string(volume.minor)});
}

Argv DrbdCommands::resize(const Volume& volume, std::uint64_t size_mib, bool assume_clean) const {
  Argv argv = setup({"resize", std::to_string(volume.minor), fmt::format("--size={}K", size_mib * 1024)});
  if (assume_clean) argv.emplace_back("--assume-clean");
  return argv;
}

Argv DrbdCommands::detach(const Volume& volume, bool force) const {
  Argv argv = setup({"detach", std::to_string(volume.minor)});
  if (force) argv.emplace_back("--force");
  return argv;
}

Argv Running::generation(std::uint16_t volume, std::uint32_t minor) const {
  return version == DrbdVersion::v9 ? setup({"get-gi", name, std::to_string(peer_id), std::to_string(volume)})
                                    : setup({"get-gi", std::to_string(minor)});
}

Argv DrbdCommands::generation(const Volume& volume) const { return running().generation(volume.index, volume.minor); }

Argv DrbdCommands::check_resize(const Volume& volume) const {
  return setup({"check-resize", std::to_string(volume.minor)});
}

Argv down_command(std::string_view name) { return setup({"down", std::string(name)}); }
Argv show_command(std::string_view name) { return setup({"show", std::string(name)}); }
Argv events_now_command(std::string_view name) {
  return setup({"events2", "--now", "--timestamps", "--statistics", std::string(name)});
}
Argv events_stream_command() { return setup({"events2", "--timestamps", "--statistics", "all"}); }

int failure_code(std::string_view said) {
  for (const std::string_view label : {"Failure: (", "failed: ("}) {
    const auto at = said.find(label);
    if (at == std::string_view::npos) continue;
    const std::string_view number = said.substr(at + label.size());
    int code = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), code);
    if (error == std::errc{} && end != number.data() + number.size() && *end == ')') return code;
  }
  return 0;
}

std::optional<std::uint64_t> agreed_kib(std::string_view details) {
  static constexpr std::string_view kNever = "zero size device -- never seen peer yet?";
  static constexpr std::string_view kBefore = "last agreed size: ";
  if (details.find(kNever) != std::string_view::npos) return 0;
  const auto line = details.find(kBefore);
  if (line == std::string_view::npos) return std::nullopt;
  std::string_view rest = details.substr(line, details.find('\n', line) - line);
  const auto open = rest.find('(');
  if (open == std::string_view::npos) return std::nullopt;
  rest.remove_prefix(open + 1);
  std::uint64_t sectors = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), sectors);
  if (error != std::errc{} || std::string_view(end, rest.data() + rest.size()) != " sectors)") return std::nullopt;
  return sectors / 2;
}

bool just_created(std::string_view generation) {
  const std::string_view current = generation.substr(0, generation.find(':'));
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(current.data(), current.data() + current.size(), value, 16);
  return error == std::errc{} && current.size() == 16 && end == current.data() + current.size() &&
         (value & ~std::uint64_t{1}) == 4;
}

}  // namespace bascule::storage
