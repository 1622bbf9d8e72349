#include <CLI/CLI.hpp>

#include "api/hostctl/lists.hpp"
#include "api/hostctl/paths.hpp"
#include "api/hostctl/session.hpp"

namespace bascule::hostctl {
namespace {
/// A shell waits for this at a key press.
constexpr int kCompletionSeconds = 1;

std::vector<std::string> names_of(Session& session, const std::string& kind) {
  session.hurry(kCompletionSeconds);
  auto client = session.client();
  if (!client) return {};
  const std::string path = kind == "HOST"        ? paths::kHosts
                           : kind == "IMAGE"     ? paths::kImages
                           : kind == "OPERATION" ? paths::kOperations
                           : kind == "ALERT"     ? paths::kAlerts
                           : kind == "VM/VOLUME" ? paths::kVolumes
                                                 : paths::kVms;
  const auto items = all_items(**client, path);
  if (!items) return {};
  std::vector<std::string> out;
  for (const auto& item : *items) {
    if (kind == "VM/VOLUME")
      out.push_back(item.text("vm") + "/" + item.text("name"));
    else
      out.push_back(item.text(kind == "HOST" || kind == "OPERATION" || kind == "ALERT" ? "id" : "name"));
  }
  return out;
}
}  // namespace

Exit completion(Session& session) {
  session.print(completion_script(session.args.shell));
  return Exit::done;
}

Exit complete_words(Session& session) {
  session.print(
      complete(session.app, session.args.words, [&](const std::string& kind) { return names_of(session, kind); }));
  return Exit::done;
}

Exit commands(Session& session) {
  session.print(list_commands(session.app));
  return Exit::done;
}

}  // namespace bascule::hostctl
