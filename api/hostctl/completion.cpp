// Completion from the command tree itself: the shells' scripts only ask `hostctl __complete WORDS...`.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "api/hostctl/args.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {

const CLI::Option* find_option(const CLI::App* app, const std::string& name) {
  for (; app != nullptr; app = app->get_parent()) {
    if (const auto* option = app->get_option_no_throw(name); option != nullptr) return option;
  }
  return nullptr;
}
bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// Where the words before the cursor lead.
struct Position {
  const CLI::App* app{};
  const CLI::Option* value_of{};  ///< the cursor stands on this option's value
  std::size_t positionals{};
};

Position walk(const CLI::App& root, const std::vector<std::string>& words) {
  Position at{&root, nullptr, 0};
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    at.value_of = nullptr;
    if (word.starts_with('-') && word.size() > 1) {
      if (word.find('=') != std::string::npos) continue;
      const auto* option = find_option(at.app, word);
      if (option == nullptr || !takes_value(*option)) continue;
      if (i + 2 == words.size()) at.value_of = option;
      ++i;
      continue;
    }
    const auto subs = at.app->get_subcommands([&](const CLI::App* s) { return s->get_name() == word; });
    if (subs.empty())
      ++at.positionals;
    else
      at.app = subs.front(), at.positionals = 0;
  }
  return at;
}

class Candidates {
 public:
  Candidates(std::string prefix, const Names& names) : prefix_(std::move(prefix)), names_(names) {}

  void add(const std::string& word, const std::string& what) {
    if (!word.starts_with(prefix_)) return;
    out_ += safe(word) + (what.empty() ? "" : "\t" + what) + "\n";
  }
  void values(const std::string& type) {
    if (type == "FILE") {
      out_ += ":files\n";
      return;
    }
    if (type.find('|') != std::string::npos) {
      std::size_t from = 0;
      while (from <= type.size()) {
        const std::size_t to = std::min(type.find('|', from), type.size());
        add(type.substr(from, to - from), "");
        from = to + 1;
      }
      return;
    }
    static const std::vector<std::string> asked{"VM", "HOST", "IMAGE", "OPERATION", "ALERT", "VM/VOLUME"};
    if (std::ranges::find(asked, type) == asked.end()) return;
    for (const auto& name : names_(type)) add(name, "");
  }
  void options(const CLI::App* app) {
    for (; app != nullptr; app = app->get_parent()) {
      for (const auto* option : app->get_options()) {
        for (const auto& name : option->get_lnames()) add("--" + name, option->get_description());
      }
    }
  }
  const std::string& text() const { return out_; }

 private:
  std::string prefix_;
  const Names& names_;
  std::string out_;
};

void list(const CLI::App& app, const std::string& path, std::string& out) {
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) {
      if (name != "help") out += path + (path.empty() ? "" : " ") + "--" + name + "\n";
    }
  }
  for (const auto* sub : app.get_subcommands({})) {
    if (sub->get_name().starts_with("__")) continue;
    const std::string here = path + (path.empty() ? "" : " ") + sub->get_name();
    if (sub->get_subcommands({}).empty()) out += here + "\n";
    list(*sub, here, out);
  }
}

constexpr const char* kBash = R"(# hostctl completion for bash: source it, or install it as
# /usr/share/bash-completion/completions/hostctl
_hostctl() {
  local line files=
  COMPREPLY=()
  while IFS= read -r line; do
    if [ "$line" = :files ]; then files=1; else COMPREPLY+=("${line%%$'\t'*}"); fi
  done < <(hostctl __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [ -n "$files" ]; then compopt -o default; fi
}
complete -F _hostctl hostctl
)";
constexpr const char* kZsh = R"(#compdef hostctl
# hostctl completion for zsh: install it as _hostctl in a directory of $fpath
_hostctl() {
  local line
  local -a plain described
  for line in "${(@f)$(hostctl __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $line == :files ]]; then _files; return; fi
    [[ -n $line ]] && described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  _describe hostctl described
}
if (( ${funcstack[(I)_hostctl]} )); then _hostctl "$@"; else compdef _hostctl hostctl; fi
)";
constexpr const char* kFish = R"(# hostctl completion for fish: install it as ~/.config/fish/completions/hostctl.fish
function __hostctl_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (hostctl __complete -- $words[2..] 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c hostctl -f -a '(__hostctl_complete)'
)";

}  // namespace

std::string complete(const CLI::App& root, const std::vector<std::string>& words, const Names& names) {
  const Position at = walk(root, words);
  std::string prefix = words.empty() ? std::string() : words.back();
  Candidates out(prefix, names);
  if (at.value_of != nullptr) {
    out.values(at.value_of->get_type_name());
    return out.text();
  }
  if (prefix.starts_with('-')) {
    out.options(at.app);
    return out.text();
  }
  for (const auto* sub : at.app->get_subcommands({})) {
    if (!sub->get_name().starts_with("__")) out.add(sub->get_name(), sub->get_description());
  }
  std::size_t index = 0;
  for (const auto* option : at.app->get_options()) {
    if (!option->get_positional() || index++ != at.positionals) continue;
    out.values(option->get_type_name());
  }
  return out.text();
}

std::string completion_script(const std::string& shell) {
  return shell == "bash" ? kBash : shell == "zsh" ? kZsh : kFish;
}

std::string list_commands(const CLI::App& app) {
  std::string out;
  list(app, "", out);
  return out;
}

}  // namespace bascule::hostctl
