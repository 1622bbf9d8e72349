// hostd.toml as a checked value. Every key is documented in packaging/hostd.toml.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hostd/alert/settings.hpp"
#include "hostd/core/calendar.hpp"
#include "hostd/core/error.hpp"
#include "hostd/core/model.hpp"
#include "hostd/core/request.hpp"
#include "hostd/core/timing.hpp"
#include "hostd/runtime/power/agent_power.hpp"

namespace bascule {

struct TlsFiles {
  std::string ca, cert, key;
};

struct Config {
  std::string cell, host;
  core::Site site{core::Site::a};
  struct {
    std::string listen;  ///< ip:port
    TlsFiles tls;
    std::vector<std::string> crl;                       ///< PEM files of revocation lists
    std::string identities;                             ///< TOML file; empty: the certificate's own URI alone
    std::string console{"/usr/share/bascule/console"};  ///< folder of the web console; empty = none
  } api;
  struct {
    std::vector<std::string> endpoints;  ///< https://host:port
    TlsFiles tls;
  } etcd;
  struct {
    std::string address;
    std::uint16_t first_port{7800}, last_port{8799};
    std::string fence_peer{"/usr/libexec/bascule/hostd-fence-peer"};
  } replication;
  std::string migration_address;
  std::string libvirt_uri{"qemu:///system"};
  std::map<std::string, std::string> networks;  ///< client network -> bridge
  struct {
    std::string kind{"loop"};  ///< loop, lvm, lvm-thin
    std::string path{"/var/lib/bascule/volumes"};
    std::string group, thin_pool;
  } pool;
  struct {
    std::string path{"/var/lib/bascule/images"};
    std::uint64_t limit_mib{10240};
  } images;
  core::Timing timing;  ///< [timing], checked (S8)
  struct {
    std::string device{"/dev/watchdog"};
    bool accept_softdog{};
  } watchdog;
  std::uint32_t countersign_minutes{15};                ///< [audit]
  core::FourEyes four_eyes;                             ///< [four_eyes]
  core::VerifyCalendar verify;                          ///< [verify]
  std::map<std::string, runtime::PowerSwitch> power;    ///< [power.<host>]: how another host is switched off
  alert::Settings alerts;                               ///< [alerts]: who is told what
  std::string fence_socket{"/run/bascule/fence.sock"};  ///< where hostd-fence-peer asks; fixed, it has no configuration
  std::string state_path{"/var/lib/bascule/state"};
  std::uint32_t cpus{};        ///< 0 = all of the machine's
  std::uint64_t memory_mib{};  ///< 0 = the machine's less 1 GiB
};

/// Errors: io (cannot be read), invalid (line and key named; an unknown key is an error, so that a typo is not silent).
core::Result<Config> load_config(const std::string& path);
/// The same on text; `name` stands in messages. For tests and the fuzzer.
core::Result<Config> parse_config(std::string_view text, const std::string& name);

}  // namespace bascule
