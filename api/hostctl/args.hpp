// What the command line said, as plain values. Only cli.cpp and completion.cpp compile CLI11.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/hostctl/client.hpp"
#include "api/hostctl/settings.hpp"

namespace CLI {
class App;
}

namespace bascule::hostctl {

class Session;

struct Args {
  Given given;
  bool json{}, no_color{};
  std::string idempotency_key;  ///< empty: a new one is made
  // Changes
  std::string reason;
  bool dry_run{}, watch{};
  // Arguments of single commands
  std::string name;  ///< VM, image, host, operation id, or VM/VOLUME
  std::vector<std::string> files;
  std::string target, policy, project, state, object, type, since, known, format{"jsonl"};
  std::int64_t cpus{}, memory_mib{}, size_mib{}, limit{}, from{}, days{};
  bool follow{}, host_is_off{}, with_failed_disk{};
  std::string shell;
  std::vector<std::string> words;  ///< __complete

  Exit (*run)(Session&){};
  bool changes{};  ///< needs a reason
};

/// The whole command tree, bound to `args`. Throws nothing; parsing happens in `parse`.
std::shared_ptr<CLI::App> make_app(Args& args);

/// Parses; -1 = go on with `args`, else the exit code after help or an error was printed.
int parse(CLI::App& app, Args& args, int argc, const char* const* argv);

/// Completion, from the same tree. `names` asks the cell for the names of a kind: VM, HOST, IMAGE, OPERATION,
/// ALERT, VM/VOLUME.
using Names = std::function<std::vector<std::string>(const std::string& kind)>;
/// One candidate a line, a tab and its description; the line ":files" asks the shell for file names.
std::string complete(const CLI::App& app, const std::vector<std::string>& words, const Names& names);
std::string completion_script(const std::string& shell);
/// Every command and option of the tree, one a line: "vm migrate --to". For the test of the man page.
std::string list_commands(const CLI::App& app);

}  // namespace bascule::hostctl
