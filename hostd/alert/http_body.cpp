#include "hostd/alert/http_body.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <nlohmann/json.hpp>

#include "hostd/codec/digest.hpp"
#include "hostd/core/alert_text.hpp"

namespace bascule::alert {
namespace {

using Json = nlohmann::json;

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string percent(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

std::string fill(const Target& target, const Filling& filling) {
  const bool json = target.content_type == "application/json";
  const auto coded = [json](const std::string& text) {
    if (!json) return percent(text);
    const std::string quoted = dump(Json(text));
    return quoted.substr(1, quoted.size() - 2);
  };
  const std::pair<std::string_view, const std::string&> parts[] = {
      {"{to}", filling.to}, {"{text}", filling.text}, {"{key}", filling.key}, {"{secret}", filling.secret}};
  std::string out;
  std::string_view rest = target.body;
  while (!rest.empty()) {  // one pass: what was put in is not looked at again
    bool found = false;
    for (const auto& [name, value] : parts) {
      if (!rest.starts_with(name)) continue;
      out += coded(value);
      rest.remove_prefix(name.size());
      found = true;
      break;
    }
    if (found) continue;
    out += rest.front();
    rest.remove_prefix(1);
  }
  return out;
}

std::string without(std::string text, const std::string& secret) {
  if (secret.empty()) return text;
  const std::string quoted = dump(Json(secret));
  for (const auto& form : {secret, percent(secret), quoted.substr(1, quoted.size() - 2)}) {
    for (auto at = text.find(form); at != std::string::npos; at = text.find(form, at + 3)) {
      text.replace(at, form.size(), "***");
    }
  }
  return text;
}

std::string webhook_json(const std::string& cell, const std::string& sender, const core::AlertMessage& message) {
  Json j = {{"cell", cell},
            {"sent_by", sender},
            {"key", message.key},
            {"may_be_repeat", message.repeat},
            {"subject", core::subject(cell, message)},
            {"alerts", Json::array()}};
  for (const auto& a : message.alerts) {
    j["alerts"].push_back({{"id", a.id},
                           {"kind", core::to_string(a.kind)},
                           {"severity", core::to_string(a.severity)},
                           {"title", a.title},
                           {"what", a.what},
                           {"did", a.did},
                           {"todo", a.todo},
                           {"vm", a.vm},
                           {"host", a.host},
                           {"site", a.site},
                           {"operation", a.operation},
                           {"created_ms", a.created_ms},
                           {"ended_ms", a.ended_ms}});
  }
  return dump(j);
}

std::string signature(const std::string& secret, const std::string& body) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest, &length);
  return "sha256=" + codec::hex({digest, length});
}

}  // namespace bascule::alert
