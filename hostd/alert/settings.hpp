// [alerts] of hostd.toml as checked values. Every key is explained in packaging/hostd.toml.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "hostd/core/alert.hpp"
#include "hostd/core/error.hpp"

namespace bascule::alert {

enum class Way : std::uint8_t { mail, sms, sms_spool, webhook };
std::optional<Way> parse_way(std::string_view word);

/// [alerts.to.NAME]: how one list of recipients is reached.
struct Target {
  Way way{};
  std::string url;              ///< smtp://, smtps://, https://
  std::string from;             ///< mail
  std::vector<std::string> to;  ///< addresses, or numbers
  std::string username;         ///< mail, sms
  std::string password_file;    ///< mail, sms: of `username`; without one a bearer token
  std::string secret_file;      ///< sms: {secret} of the body; webhook: the key of the signature
  std::string content_type{"application/x-www-form-urlencoded"};  ///< sms
  std::string body;                                               ///< sms: with {to} {text} {key} {secret}
  std::string answer;                                             ///< sms: must stand in the gateway's answer
  std::string path;                                               ///< sms-spool: the folder
  std::string format{"smstools"};                                 ///< sms-spool: or gammu
  std::string ca;                                                 ///< who vouches for the server; empty: [alerts] ca
};

struct Settings {
  core::AlertRules rules;
  std::string heartbeat_at;  ///< HH:MM in UTC; empty: none
  std::string ca;            ///< empty: the system's
  std::map<std::string, Target> to;
};

inline constexpr std::size_t kRecipients = 50;       ///< of one list
inline constexpr std::size_t kSecretBytes = 4096;    ///< of a secret file
inline constexpr std::size_t kTemplateBytes = 2000;  ///< of a body

/// Errors invalid: one sentence that names the list and the key.
core::Result<> check(const Settings& settings);
/// What the files and folders themselves are like: secrets readable by their owner alone, a spool folder that is there.
core::Result<> check_files(const Settings& settings);

/// The secret in a file, without the line's end. Errors name the file, never what is in it.
core::Result<std::string> read_secret(const std::string& path);

bool valid_mailbox(std::string_view address);
bool valid_number(std::string_view number);

}  // namespace bascule::alert
