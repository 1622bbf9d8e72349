// JSON as hostctl sees it: reading never throws, and only json.cpp and the schema check compile nlohmann's header.
// Thread rule: values that share an immutable document; copy freely.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::hostctl {

/// Deepest nesting accepted: the API's answers stay below 10, and printing is recursive.
inline constexpr int kMaxJsonDepth = 64;

class Json {
 public:
  enum class Kind : std::uint8_t { null, boolean, integer, real, text, array, object };

  Json();  ///< null
  explicit Json(std::shared_ptr<const nlohmann::ordered_json> node) : node_(std::move(node)) {}
  static core::Result<Json> parse(std::string_view text);
  static Json object(const std::vector<std::pair<std::string, Json>>& members = {});
  static Json array(const std::vector<Json>& items = {});
  static Json of(std::string_view text);
  static Json of(std::int64_t number);
  static Json of(double number);
  static Json of(bool value);

  Kind kind() const;
  bool is_null() const { return kind() == Kind::null; }
  bool is_object() const { return kind() == Kind::object; }
  bool is_array() const { return kind() == Kind::array; }
  bool has(std::string_view name) const;
  /// The member, or null when there is none.
  Json operator[](std::string_view name) const;

  /// The value itself as words: text as it is, numbers in decimal, true/false; empty for anything else.
  std::string text() const;
  std::string text(std::string_view name) const { return (*this)[name].text(); }
  std::int64_t integer(std::string_view name, std::int64_t fallback = 0) const;
  bool flag(std::string_view name) const;
  std::vector<Json> items() const;                            ///< empty unless an array
  std::vector<std::pair<std::string, Json>> members() const;  ///< empty unless an object

  Json& set(std::string_view name, const Json& value);  ///< makes an object of null
  Json& set(std::string_view name, std::string_view value) { return set(name, of(value)); }
  Json& set(std::string_view name, std::int64_t value) { return set(name, of(value)); }

  /// `indent` < 0: one line. Characters that could drive a terminal are written as \u escapes.
  std::string dump(int indent = -1) const;

 private:
  std::shared_ptr<const nlohmann::ordered_json> node_;
};

}  // namespace bascule::hostctl
