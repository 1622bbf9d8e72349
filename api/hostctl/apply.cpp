// `hostctl apply`: everything is checked here before the first document is sent.
#include <fmt/format.h>
#include <unistd.h>

#include "api/hostctl/change.hpp"
#include "api/hostctl/manifest.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

struct Loaded {
  std::string file;
  Document document;
};

core::Result<std::string> read_input(const std::string& file) {
  if (file != "-") return read_file(file, kMaxManifestBytes);
  std::string text;
  std::array<char, 16384> piece{};
  while (true) {
    const ssize_t n = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return core::fail(core::Errc::io, "standard input cannot be read");
    if (n == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(n));
    if (text.size() > kMaxManifestBytes) {
      return core::fail(core::Errc::invalid, fmt::format("standard input is larger than {} bytes", kMaxManifestBytes));
    }
  }
}

/// The API's form of a manifest is the same without its kind.
Json body_of(const Json& manifest) {
  std::vector<std::pair<std::string, Json>> members;
  for (const auto& member : manifest.members()) {
    if (member.first != "kind") members.push_back(member);
  }
  return Json::object(members);
}

core::Result<std::vector<Loaded>> load(const std::vector<std::string>& files) {
  std::vector<Loaded> out;
  std::string problems;
  for (const auto& file : files) {
    auto text = read_input(file);
    if (!text) return text.error();
    const std::string shown = file == "-" ? "<stdin>" : file;
    Reading reading = read_yaml(*text);
    for (const auto& p : reading.problems) problems += "\n" + to_string(shown, p);
    if (!reading.problems.empty()) continue;
    for (auto& document : reading.documents) {
      for (const auto& p : check_vm(document)) problems += "\n" + to_string(shown, p);
      out.push_back({shown, std::move(document)});
    }
  }
  if (problems.empty()) return out;
  return core::fail(core::Errc::invalid, "nothing was applied:" + problems);
}

}  // namespace

Exit apply(Session& session) {
  auto loaded = load(session.args.files);
  if (!loaded) return session.fail(loaded.error());
  for (std::size_t i = 0; i < loaded->size(); ++i) {
    const auto& [file, document] = (*loaded)[i];
    Change change;
    change.method = "PUT";
    const std::string name = document.value.text("name");
    change.path = paths::one(paths::kVms, name);
    change.body = body_of(document.value);
    change.object = "VM " + name;
    // One key names one change: each document has its own, all from the one given or made for this run.
    change.key = loaded->size() == 1 ? session.key() : fmt::format("{}-{}", session.key(), i + 1);
    const Exit exit = carry_out(session, change);
    if (exit == Exit::done) continue;
    const std::size_t left = loaded->size() - i - 1;
    session.note(fmt::format("hostctl: stopped at {}:{} (VM {}){}\n", safe(file), document.line, safe(name),
                             left > 0 ? fmt::format("; {} more not applied", left) : std::string()));
    return exit;
  }
  return Exit::done;
}

}  // namespace bascule::hostctl
