// Any text may stand in hostd.toml: it is a configuration whose values keep their promises, or an error in words.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "hostd/config.hpp"
#include "hostd/core/names.hpp"

namespace {

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "config_fuzz: %s\n", what);
  std::abort();
}

}  // namespace

// libFuzzer's name for the entry point.
// NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bascule;
  const auto config = parse_config(std::string_view(reinterpret_cast<const char*>(data), size), "hostd.toml");
  if (!config) {
    if (config.error().what.size() < 12) broken("an error without words");
    return 0;
  }
  if (!core::valid_name(config->cell) || !core::valid_name(config->host)) broken("a name that is none");
  if (config->replication.first_port > config->replication.last_port) broken("no port");
  if (config->etcd.endpoints.empty() || config->etcd.endpoints.size() > 7) broken("no endpoint");
  if (!config->state_path.starts_with('/')) broken("a relative path");
  for (const auto& [network, bridge] : config->networks) {
    if (!core::valid_name(network) || bridge.empty() || bridge.size() > 15) broken("a bridge that is none");
  }
  return 0;
}
