#include <CLI/CLI.hpp>
#include <cstdio>

#include "hostd/app.hpp"
#include "hostd/config.hpp"
#include "hostd/new_cluster.hpp"
#include "hostd/runtime/say.hpp"

int main(int argc, char** argv) {
  CLI::App cli{"hostd: one host of a Bascule cell"};
  std::string config_path = "/etc/bascule/hostd.toml";
  bool check_only = false;
  bool new_cluster = false;
  cli.add_option("--config", config_path, "configuration file")->capture_default_str();
  cli.add_flag("--check", check_only, "check the configuration and end");
  cli.add_flag("--new-cluster", new_cluster,
               "after all of etcd was lost: forget the old cluster's id in this host's notes, and end");
  cli.set_version_flag("--version", BASCULE_VERSION);
  CLI11_PARSE(cli, argc, argv);
  bascule::start_log();
  auto config = bascule::load_config(config_path);
  if (!config) {
    std::fprintf(stderr, "hostd: %s\n", config.error().what.c_str());
    if (!check_only) bascule::say(bascule::msg::config_refused, {}, "{}", config.error().what);
    return 2;
  }
  if (check_only) {
    // Only here: a wrong mode of a mail's password keeps no host from starting its VMs.
    if (auto ok = bascule::alert::check_files(config->alerts); !ok) {
      std::fprintf(stderr, "hostd: %s: %s\n", config_path.c_str(), ok.error().what.c_str());
      return 2;
    }
    return 0;
  }
  if (new_cluster) {
    const auto done = bascule::join_new_cluster(*config);
    std::fprintf(done ? stdout : stderr, "hostd: %s%s\n", (done ? *done : done.error().what).c_str(),
                 done ? "" : "; the old cluster is not forgotten");
    return done ? 0 : 1;
  }
  return bascule::run_app(*config);
}
