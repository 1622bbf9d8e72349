// What is posted to an SMS gateway or a webhook, as text.
#pragma once

#include <string>

#include "hostd/alert/settings.hpp"
#include "hostd/core/alert.hpp"

namespace bascule::alert {

struct Filling {
  std::string to, text, key, secret;
};
/// The template with {to} {text} {key} {secret} put in, encoded as the content type wants it.
std::string fill(const Target& target, const Filling& filling);

/// The same with every secret, plain or encoded, taken out: a server may say back what it was sent.
std::string without(std::string text, const std::string& secret);

/// The webhook's JSON; docs/operations.md names its fields.
std::string webhook_json(const std::string& cell, const std::string& sender, const core::AlertMessage& message);
/// "sha256=" and the HMAC in lower-case hex.
std::string signature(const std::string& secret, const std::string& body);

}  // namespace bascule::alert
