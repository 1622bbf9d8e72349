// The command tree. Help, completion and the man page's test all come from it.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "api/hostctl/args.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/text.hpp"
#include "hostd/core/model.hpp"

namespace bascule::hostctl {
namespace {
constexpr const char* kPolicies = "gentle|standard|must-finish";
constexpr const char* kExitCodes =
    "Exit codes: 0 done, 1 wrong usage or input, 2 refused by the cell, 3 not reachable or outcome unknown,\n"
    "            4 the operation ended undone, 5 the operation needs a person (or audit verify found a break: 2).";

class Tree {
 public:
  Tree(CLI::App& root, Args& args) : root_(root), args_(args) {}

  void build() {
    globals();
    hosts_and_images();
    vms();
    volumes_and_operations();
    records();
    tools();
  }

 private:
  CLI::App* group(const char* name, const char* what) {
    CLI::App* app = root_.add_subcommand(name, what);
    app->require_subcommand(1);
    return app;
  }
  CLI::App* leaf(CLI::App* parent, const char* name, const char* what, Exit (*run)(Session&)) {
    CLI::App* app = parent->add_subcommand(name, what);
    app->final_callback([this, run] { args_.run = run; });
    return app;
  }
  CLI::App* named(CLI::App* parent, const char* name, const char* what, const char* kind, Exit (*run)(Session&)) {
    CLI::App* app = leaf(parent, name, what, run);
    app->add_option(kind, args_.name)->required()->type_name(kind)->check(not_empty());
    return app;
  }
  static CLI::Validator not_empty() {
    return {[](std::string& s) { return s.empty() ? std::string("must not be empty") : std::string(); }, ""};
  }
  static CLI::Validator one_of(const std::string& choices) {
    return {[choices](std::string& s) {
              const bool known = ("|" + choices + "|").find("|" + s + "|") != std::string::npos && !s.empty();
              return known ? std::string() : "must be one of " + choices;
            },
            ""};
  }

  /// The API's pattern for keys.
  static CLI::Validator key_shape() {
    return {[](std::string& s) {
              const bool good =
                  !s.empty() && s.size() <= 100 &&
                  s.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") ==
                      std::string::npos;
              return good ? std::string() : std::string("a key is 1 to 100 letters, digits and . _ : -");
            },
            ""};
  }

  static CLI::Validator known_record() {
    return {[](std::string& s) {
              const std::size_t colon = s.find(':');
              const bool good = colon != std::string::npos && colon > 0 && colon <= 15 &&
                                s.find_first_not_of("0123456789") == colon && s.size() == colon + 65 &&
                                s.find_first_not_of("0123456789abcdef", colon + 1) == std::string::npos;
              return good ? std::string() : std::string("write N:HASH as audit verify printed it");
            },
            ""};
  }

  enum class Kind : std::uint8_t { operation, upload, request, at_once, steps };
  void change(CLI::App* app, Kind kind = Kind::operation) {
    app->parse_complete_callback([this] { args_.changes = true; });
    app->add_option("--reason", args_.reason, "Why; goes into the audit chain (mandatory)")->type_name("TEXT");
    const bool steps = kind == Kind::steps;  // many requests; each that was carried out before changes nothing
    if (!steps) {
      app->add_option("--idempotency-key", args_.idempotency_key,
                      "Key of an earlier run whose outcome is unknown; nothing is done twice")
          ->type_name("KEY")
          ->check(key_shape());
    }
    if (kind == Kind::operation || steps)
      app->add_flag("--dry-run", args_.dry_run, "Only show the steps it would take");
    if (kind != Kind::at_once && !steps) app->add_flag("--watch", args_.watch, "Follow the operation to its end");
  }

  void mib_option(CLI::App* app, const char* name, std::int64_t& to, const char* what, bool required) {
    auto* option =
        app->add_option_function<std::string>(name, [&to](const std::string& text) { to = parse_mib(text); }, what);
    option->type_name("SIZE")->required(required);
    option->check(CLI::Validator(
        [](std::string& s) {
          return parse_mib(s) > 0 ? std::string() : "'" + safe(s) + "' is no size: write MiB, or a unit as in 2G";
        },
        ""));
  }

  void globals() {
    auto* g = &root_;
    g->add_option("--endpoint", args_.given.endpoints, "A host's API, tried in order (repeatable)")
        ->type_name("URL")
        ->allow_extra_args(false);
    g->add_option("--ca", args_.given.ca, "Certificate of the cell's CA (PEM)")->type_name("FILE");
    g->add_option("--cert", args_.given.cert, "Your certificate (PEM), or its pkcs11: URI")->type_name("FILE");
    g->add_option("--key", args_.given.key, "Your private key (PEM), or its pkcs11: URI on a card")->type_name("FILE");
    g->add_option("--pin-file", args_.given.pin_file, "The card's PIN; without it you are asked")->type_name("FILE");
    g->add_option("--pkcs11-module", args_.given.pkcs11_module, "The card's PKCS#11 module")->type_name("FILE");
    g->add_option("--timeout", args_.given.timeout_s, "Seconds an answer may take, fail-over included (30)")
        ->type_name("SECONDS")
        ->check(CLI::Range(1, kMaxTimeoutS));
    g->add_flag("--json", args_.json, "JSON for programs instead of tables");
    g->add_flag("--no-color", args_.no_color, "No colours (also: NO_COLOR in the environment)");
    g->set_version_flag("--version", "hostctl " BASCULE_VERSION, "Print hostctl's version");
  }

  void hosts_and_images() {
    auto* host = group("host", "The hosts of the cell");
    leaf(host, "list", "All hosts", &host_list);
    named(host, "show", "One host", "HOST", &host_show);
    auto* maintenance =
        named(host, "maintenance", "Keep VMs off a host, moving those on it away live", "HOST", &host_maintenance);
    maintenance->add_option("STATE", args_.state)->required()->type_name("on|off")->check(one_of("on|off"));
    change(maintenance);
    auto* watchdog = group("watchdog", "The device that resets a host which cannot prove that it may run guests");
    change(named(watchdog, "prove", "Let it fire on a host in maintenance, and measure it; the machine is reset",
                 "HOST", &watchdog_prove));
    auto* ha = group("ha", "Automatic failover of the whole cell");
    leaf(ha, "status", "Is it armed, and if not, who disarmed it and why", &ha_status);
    change(leaf(ha, "arm", "A lost host's VMs start elsewhere by themselves again", &ha_arm));
    change(leaf(ha, "disarm", "A lost host's VMs stay down until a person acts: for work on the network", &ha_disarm));
    auto* image = group("image", "Images that fill a volume at creation");
    leaf(image, "list", "All images", &image_list);
    auto* import = named(image, "import", "Send a raw or qcow2 file to the host that answers", "NAME", &image_import);
    import->add_option("FILE", args_.files)->required()->type_name("FILE")->expected(1)->check(not_empty());
    change(import, Kind::upload);
    change(named(image, "remove", "Remove an image; volumes filled from it stay", "IMAGE", &image_remove));
  }

  void vms() {
    auto* apply_app =
        leaf(&root_, "apply", "Bring VMs to the definition in a YAML file; a second time changes nothing", &apply);
    apply_app->add_option("-f,--file", args_.files, "The file, - for standard input (repeatable)")
        ->required()
        ->type_name("FILE")
        ->allow_extra_args(false)
        ->check(not_empty());
    change(apply_app);
    auto* vm = group("vm", "Virtual machines");
    auto* list = leaf(vm, "list", "All VMs", &vm_list);
    list->add_option("--project", args_.project, "Only those of this project")->type_name("PROJECT");
    list->add_option("--host", args_.target, "Only those this host has the right to run")->type_name("HOST");
    named(vm, "show", "One VM: definition, where it runs, its volumes", "VM", &vm_show);
    auto* history = named(vm, "history", "How long it ran, was protected or not seen, day by day", "VM", &vm_history);
    history->add_option("--days", args_.days, "The last so many, today included (30)")
        ->type_name("N")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{400}));
    auto* start = named(vm, "start", "Start it on the host that has the right to run it", "VM", &vm_start);
    start->add_flag("--with-failed-disk", args_.with_failed_disk,
                    "You state, with your name, that its leg is used although its disk has failed, where the record "
                    "lists no other; what only the other one may have confirmed since is given up");
    change(start);
    change(named(vm, "stop", "Press its power button (ACPI) and wait", "VM", &vm_stop));
    change(named(vm, "off", "Cut its power: it loses what it did not flush", "VM", &vm_off));
    change(named(vm, "reset", "Press its reset button", "VM", &vm_reset));
    auto* migrate = named(vm, "migrate", "Move it live to its other host", "VM", &vm_migrate);
    migrate->add_option("--to", args_.target, "The host to move to")->type_name("HOST")->check(not_empty());
    migrate->add_option("--policy", args_.policy, "How hard to push; the VM's own policy if not given")
        ->type_name(kPolicies)
        ->check(one_of(kPolicies));
    change(migrate);
    auto* failover = named(vm, "failover", "Start it on its other host, because its own is lost", "VM", &vm_failover);
    failover->add_flag("--host-is-off", args_.host_is_off,
                       "You state, with your name, that the lost host is off: nothing is waited for");
    failover
        ->add_option("--sacrifice", args_.target,
                     "Start from legs that are not in sync, such as a cold copy: the "
                     "lost host, whose newer data you give up")
        ->type_name("HOST")
        ->check(not_empty());
    change(failover);
    change(named(vm, "copy", "Bring its cold copy up to date now (protection 'backup')", "VM", &vm_copy));
    auto* adopt = named(vm, "adopt",
                        "After all of etcd was lost: show both legs of a restored VM, keep both, and give it to a host "
                        "once a second operator approves",
                        "VM", &vm_adopt);
    adopt->add_option("--host", args_.target, "The host from whose legs it will start")
        ->required()
        ->type_name("HOST")
        ->check(not_empty());
    change(adopt);
    auto* failback = named(vm, "failback", "Move it back to its nominal host", "VM", &vm_failback);
    failback->add_option("--policy", args_.policy, "How hard to push; the VM's own policy if not given")
        ->type_name(kPolicies)
        ->check(one_of(kPolicies));
    change(failback);
    auto* resize = named(vm, "resize", "Change CPUs or memory, while the VM is off", "VM", &vm_resize);
    resize->add_option("--cpus", args_.cpus, "Number of virtual CPUs")
        ->type_name("N")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{core::Limits::cpus}));
    mib_option(resize, "--memory", args_.memory_mib, "Memory in MiB, or with a unit: 2G", false);
    change(resize);
    change(named(vm, "remove", "Remove a stopped VM and its volumes, on both hosts", "VM", &vm_remove));
    auto* exercised =
        leaf(&root_, "drills", "When each VM was last carried to the other site, and when it is due again", &drills);
    exercised->add_option("--project", args_.project, "Only those of this project")->type_name("PROJECT");
    named(&root_, "why", "Say in one sentence what is going on with a VM", "VM", &why);
  }

  void volumes_and_operations() {
    auto* volume = group("volume", "Volumes, replicated over both sites");
    auto* list = leaf(volume, "list", "All volumes, or those of one VM", &volume_list);
    list->add_option("VM", args_.name)->type_name("VM");
    auto* grow = named(volume, "grow", "Make a volume larger, running or not", "VM/VOLUME", &volume_grow);
    mib_option(grow, "--size", args_.size_mib, "New size in MiB, or with a unit: 20G", true);
    change(grow);
    change(named(volume, "verify", "Compare both legs block by block", "VM/VOLUME", &volume_verify));
    change(named(volume, "repair",
                 "After a split brain: show both legs, keep both, and resync once a second operator approves", "VM",
                 &volume_repair));
    auto* op = group("op", "Operations: every change is one");
    auto* ops = leaf(op, "list", "Operations, newest first", &op_list);
    constexpr const char* kStates = "running|undoing|done|undone|needs-operator";
    ops->add_option("--state", args_.state, "Only those in this state")->type_name(kStates)->check(one_of(kStates));
    ops->add_option("--vm", args_.object, "Only those of this VM")->type_name("VM");
    named(op, "show", "One operation with its steps", "OPERATION", &op_show);
    named(op, "follow", "Follow it to its end; the exit code says how it ended", "OPERATION", &op_follow);
    change(named(op, "cancel", "Ask it to stop and undo its steps", "OPERATION", &op_cancel), Kind::request);
    change(named(op, "approve", "Agree, as a second operator, to what it waits to do", "OPERATION", &op_approve),
           Kind::request);
  }

  void records() {
    auto* stream = leaf(&root_, "events", "What changes in the cell", &events);
    stream->add_flag("--follow", args_.follow, "Go on until interrupted, over a host's failure too");
    stream->add_option("--type", args_.type, "Only these types or kinds: vm.changed,operation")->type_name("TYPES");
    stream->add_option("--object", args_.object, "Only those of one VM, operation, host or image")->type_name("NAME");
    stream->add_option("--since", args_.since, "Only events after this id")->type_name("ID");
    auto* alert = group("alert", "Who was told what by mail, SMS or webhook");
    leaf(alert, "list", "Alerts of the last week, newest first, and how their messages went", &alert_list);
    change(leaf(alert, "test", "One message to every list of recipients", &alert_test), Kind::at_once);
    change(named(alert, "ack", "Take notice of an alert, so that it goes to nobody further", "ALERT", &alert_ack),
           Kind::at_once);
    auto* audit = group("audit", "Who did what, when and why");
    auto* list = leaf(audit, "list", "The newest records, oldest first", &audit_list);
    list->add_option("--from", args_.from, "First sequence number")
        ->type_name("N")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 53));
    list->add_option("--limit", args_.limit, "How many (50)")
        ->type_name("N")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000}));
    auto* save = leaf(audit, "export", "All records and countersigned heads, to standard output", &audit_export);
    save->add_option("--format", args_.format, "JSON lines, or CSV for spreadsheets")
        ->type_name("jsonl|csv")
        ->check(one_of("jsonl|csv"))
        ->capture_default_str();
    auto* verify = leaf(audit, "verify", "Check the chain and the hosts' signatures here, of the cell or of an export",
                        &audit_verify);
    verify->add_option("FILE", args_.files)->type_name("FILE")->expected(0, 1);
    verify->add_option("--heads", args_.object, "Heads kept elsewhere: hostd's lines 'audit head:' of the journal")
        ->type_name("FILE")
        ->check(not_empty());
    verify->add_option("--known", args_.known, "A record noted earlier: finds a chain rewritten up to its end")
        ->type_name("N:HASH")
        ->check(known_record());
    auto* cell = group("cell", "The cell as a whole");
    auto* backup = leaf(cell, "backup", "Write the cell's records and its audit chain into a new file", &cell_backup);
    backup->add_option("FILE", args_.files)->required()->type_name("FILE")->expected(1)->check(not_empty());
    auto* restore =
        leaf(cell, "restore", "Write a backup's VMs into an empty cell, power off and without a right to run",
             &cell_restore);
    restore->add_option("FILE", args_.files)->required()->type_name("FILE")->expected(1)->check(not_empty());
    change(restore, Kind::steps);
  }

  void tools() {
    leaf(&root_, "health", "Can the host that answers do its work", &health);
    leaf(&root_, "version", "Versions of hostctl and of the host that answers", &version);
    auto* script = leaf(&root_, "completion", "Print a completion script for your shell", &completion);
    script->add_option("SHELL", args_.shell)->required()->type_name("bash|zsh|fish")->check(one_of("bash|zsh|fish"));
    leaf(&root_, "__commands", "", &commands)->group("");
  }

  CLI::App& root_;
  Args& args_;
};

/// The settings among the words being completed: the cell is asked with them.
void read_settings(const std::vector<std::string>& words, Given& to) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "--endpoint") to.endpoints.push_back(words[i + 1]);
    if (words[i] == "--ca") to.ca = words[i + 1];
    if (words[i] == "--cert") to.cert = words[i + 1];
    if (words[i] == "--key") to.key = words[i + 1];
  }
}

}  // namespace

std::shared_ptr<CLI::App> make_app(Args& args) {
  auto app = std::make_shared<CLI::App>("hostctl: Bascule's VMs, volumes and operations from the shell", "hostctl");
  app->require_subcommand(1);
  app->fallthrough();
  app->footer(kExitCodes);
  app->get_formatter()->column_width(34);
  Tree(*app, args).build();
  return app;
}

int parse(CLI::App& app, Args& args, int argc, const char* const* argv) {
  // Not part of the tree: an unfinished command line does not parse.
  if (argc > 2 && std::string_view(argv[1]) == "__complete" && std::string_view(argv[2]) == "--") {
    args.words.assign(argv + 3, argv + argc);
    read_settings(args.words, args.given);
    args.run = &complete_words;
    return -1;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const bool asked = e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
    if (asked) return app.exit(e);
    std::string text = safe(e.what());
    std::fprintf(stderr, "hostctl: %s\nTry: hostctl --help\n", text.c_str());
    return static_cast<int>(Exit::invalid);
  }
  return -1;
}

}  // namespace bascule::hostctl
