#include "api/hostctl/json.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
using Node = nlohmann::ordered_json;

/// Nesting measured before the parser runs: cheap, and no document can be deeper than its brackets.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxJsonDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

Json make(Node node) { return Json(std::make_shared<const Node>(std::move(node))); }
}  // namespace

Json::Json() : node_(std::make_shared<const Node>()) {}
Json Json::object(const std::vector<std::pair<std::string, Json>>& members) {
  Node node = Node::object();
  for (const auto& [name, value] : members) node[name] = *value.node_;
  return make(std::move(node));
}
Json Json::array(const std::vector<Json>& items) {
  Node node = Node::array();
  for (const auto& item : items) node.push_back(*item.node_);
  return make(std::move(node));
}
Json Json::of(std::string_view text) { return make(Node(std::string(text))); }
Json Json::of(std::int64_t number) { return make(Node(number)); }
Json Json::of(double number) { return make(Node(number)); }
Json Json::of(bool value) { return make(Node(value)); }

core::Result<Json> Json::parse(std::string_view text) {
  if (too_deep(text)) return core::fail(core::Errc::invalid, "the JSON is nested too deeply");
  Node node = Node::parse(text, nullptr, false);
  if (node.is_discarded()) return core::fail(core::Errc::invalid, "this is not JSON");
  return make(std::move(node));
}

Json::Kind Json::kind() const {
  switch (node_->type()) {
    case Node::value_t::boolean: return Kind::boolean;
    case Node::value_t::number_integer:
    case Node::value_t::number_unsigned: return Kind::integer;
    case Node::value_t::number_float: return Kind::real;
    case Node::value_t::string: return Kind::text;
    case Node::value_t::array: return Kind::array;
    case Node::value_t::object: return Kind::object;
    case Node::value_t::null:
    case Node::value_t::binary:
    case Node::value_t::discarded: return Kind::null;
  }
  return Kind::null;
}

bool Json::has(std::string_view name) const {
  return node_->is_object() && node_->find(std::string(name)) != node_->end();
}

Json Json::operator[](std::string_view name) const {
  if (!node_->is_object()) return {};
  const auto it = node_->find(std::string(name));
  if (it == node_->end()) return {};
  return Json(std::shared_ptr<const Node>(node_, &*it));
}

std::string Json::text() const {
  switch (kind()) {
    case Kind::text: return node_->get_ref<const std::string&>();
    case Kind::integer:
    case Kind::real: return node_->dump();
    case Kind::boolean: return node_->get<bool>() ? "true" : "false";
    case Kind::null:
    case Kind::array:
    case Kind::object: return {};
  }
  return {};
}

std::int64_t Json::integer(std::string_view name, std::int64_t fallback) const {
  const Json member = (*this)[name];
  if (member.kind() == Kind::real) {
    const double d = member.node_->get<double>();
    // The range where every double is a whole int64; 2^53.
    return d > -9007199254740992.0 && d < 9007199254740992.0 ? static_cast<std::int64_t>(d) : fallback;
  }
  if (member.kind() != Kind::integer) return fallback;
  if (member.node_->is_number_unsigned() &&
      member.node_->get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    return fallback;
  }
  return member.node_->get<std::int64_t>();
}

bool Json::flag(std::string_view name) const {
  const Json member = (*this)[name];
  return member.kind() == Kind::boolean && member.node_->get<bool>();
}

std::vector<Json> Json::items() const {
  std::vector<Json> out;
  if (!node_->is_array()) return out;
  out.reserve(node_->size());
  for (const auto& item : *node_) out.emplace_back(Json(std::shared_ptr<const Node>(node_, &item)));
  return out;
}

std::vector<std::pair<std::string, Json>> Json::members() const {
  std::vector<std::pair<std::string, Json>> out;
  if (!node_->is_object()) return out;
  for (const auto& [name, value] : node_->items()) {
    out.emplace_back(name, Json(std::shared_ptr<const Node>(node_, &value)));
  }
  return out;
}

Json& Json::set(std::string_view name, const Json& value) {
  Node copy = node_->is_object() ? *node_ : Node::object();
  copy[std::string(name)] = *value.node_;
  node_ = std::make_shared<const Node>(std::move(copy));
  return *this;
}

std::string Json::dump(int indent) const {
  return escape_json_controls(node_->dump(indent, ' ', false, Node::error_handler_t::replace));
}

}  // namespace bascule::hostctl
