// How a body's fields are read: strictly, each fault named. Private to this folder, and to the two files that read
// bodies.
#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "hostd/core/names.hpp"

namespace bascule::api::json {

using Json = nlohmann::json;
using core::Errc;
using core::fail;
using core::Result;

inline constexpr std::size_t kMaxText = 128;         // every text but a reason is a name or an address
inline constexpr std::size_t kMaxReasonText = 4096;  // check_reason says the exact limit
inline constexpr std::size_t kShown = 40;            // of a name that came from outside, in a sentence

/// What of a client's text may stand in an answer: printable ASCII, cut.
inline std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kShown)) out += c >= 0x20 && c < 0x7F ? c : '?';
  return out;
}

/// Reads the fields of an object strictly; remembers the first fault.
class Reader {
 public:
  Reader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) say("an object is needed");
  }
  void text(const char* name, std::string& out, bool needed = false, std::size_t most = kMaxText) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    if (!j->is_string()) return fault(name, "a string is needed");
    const auto& value = j->get_ref<const std::string&>();
    if (value.size() > most) return fault(name, "at most " + std::to_string(most) + " bytes are allowed");
    out = value;
  }
  /// A name, or empty for "not given".
  void name(const char* field, std::string& out, bool needed = false) {
    text(field, out, needed);
    if (!out.empty() && !core::valid_name(out)) {
      fault(field, "a name is 1 to 40 lower-case letters, digits and inner hyphens");
    }
  }
  void reason(std::string& out) { text("reason", out, false, kMaxReasonText); }
  template <class T>
  void number(const char* name, T& out, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    const auto* value = j->get_ptr<const Json::number_unsigned_t*>();
    if (value == nullptr || *value > std::numeric_limits<T>::max()) {
      return fault(name, "a whole number from 0 to " + std::to_string(std::numeric_limits<T>::max()) + " is needed");
    }
    out = static_cast<T>(*value);
  }
  void flag(const char* name, bool& out, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return;
    if (!j->is_boolean()) return fault(name, "true or false is needed");
    out = j->get<bool>();
  }
  const Json* array(const char* name, std::size_t most, bool needed = false) {
    const Json* j = find(name, needed);
    if (j == nullptr) return nullptr;
    if (j->is_array() && j->size() <= most) return j;
    fault(name, "a list of at most " + std::to_string(most) + " is needed");
    return nullptr;
  }
  void texts(const char* name, std::vector<std::string>& out, std::size_t most) {
    const Json* list = array(name, most);
    if (list == nullptr) return;
    for (const auto& item : *list) {
      if (!item.is_string() || item.get_ref<const std::string&>().size() > kMaxText) {
        return fault(name, "a list of short strings is needed");
      }
      out.push_back(item.get<std::string>());
    }
  }
  const Json* object(const char* name) { return find(name, false); }
  void fault(const char* name, const std::string& what) { say(std::string(name) + ": " + what); }
  /// The verdict, once every field was asked for.
  Result<> done() {
    if (object_.is_object()) {
      for (const auto& [name, value] : object_.items()) {
        if (!asked_.contains(name)) say("unknown field '" + shown(name) + "'");
      }
    }
    // A misspelt name says more than that the right one is missing.
    const std::string& fault = fault_.empty() ? missing_ : fault_;
    if (fault.empty()) return {};
    return fail(Errc::invalid, fault + "; nothing was changed");
  }

 private:
  void say(const std::string& what) {
    if (fault_.empty()) fault_ = path_.empty() ? what : path_ + ": " + what;
  }
  const Json* find(const char* name, bool needed) {
    asked_.insert(name);
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(name);
    if (it != object_.end()) return &*it;
    if (needed && missing_.empty()) missing_ = (path_.empty() ? "" : path_ + ": ") + name + " is missing";
    return nullptr;
  }
  const Json& object_;
  std::string path_;
  std::set<std::string, std::less<>> asked_;
  std::string fault_, missing_;
};

/// Fills `out`; an empty body is an empty object.
Result<> parse(const std::string& body, Json& out);

}  // namespace bascule::api::json
