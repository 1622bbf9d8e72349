// Where the cell is and who we are: flags, then BASCULE_* variables, then the user's file, then the machine's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::hostctl {

inline constexpr std::uint16_t kDefaultPort = 8443;
inline constexpr int kDefaultTimeoutS = 30;
inline constexpr int kMaxTimeoutS = 3600;
inline constexpr std::size_t kMaxEndpoints = 64;
inline constexpr std::size_t kMaxConfigBytes = 64 * 1024;

struct Endpoint {
  std::string host;  ///< name or address, without brackets
  std::uint16_t port{kDefaultPort};
  bool operator==(const Endpoint&) const = default;
};
/// https://HOST[:PORT], also without the scheme; IPv6 in brackets.
core::Result<Endpoint> parse_endpoint(std::string_view text);
std::string to_string(const Endpoint& endpoint);

struct Settings {
  std::vector<Endpoint> endpoints;
  std::string ca, cert, key;                     ///< cert and key: a PEM file, or a pkcs11: URI
  std::string pkcs11_module, pin_file, askpass;  ///< for a key on a card; empty: the system's, the terminal
  int timeout_s{kDefaultTimeoutS};
};

/// The same as given in one place; empty = not given there.
struct Given {
  std::vector<std::string> endpoints;
  std::string ca, cert, key;
  std::string pkcs11_module, pin_file, askpass;
  std::optional<int> timeout_s;
};

using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// One configuration file: endpoints, ca, cert, key, pkcs11_module, pin_file, askpass, timeout. Unknown keys are
/// errors.
core::Result<Given> read_config(const std::string& text, const std::string& name);
/// The first file that exists of ~/.config/bascule/hostctl.toml and /etc/bascule/hostctl.toml; nothing when none does.
core::Result<Given> find_config(const Environment& environment);
/// Each setting from the first place that has it. An error says what is missing and where it can be given.
core::Result<Settings> settle(const Given& flags, const Environment& environment, const Given& file);

/// The CA alone.
core::Result<std::string> settle_ca(const Given& flags, const Environment& environment, const Given& file);

core::Result<std::string> read_file(const std::string& path, std::size_t limit);

}  // namespace bascule::hostctl
