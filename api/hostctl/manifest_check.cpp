// valijson decides; the words for people come from the schema's own descriptions.
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "api/hostctl/manifest.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
using Node = nlohmann::json;
constexpr std::size_t kShownValueBytes = 60;
constexpr std::size_t kTypoDistance = 3;

const Node& schema_json() {
  static const Node schema = Node::parse(vm_schema());
  return schema;
}
const valijson::Schema& schema() {
  static const valijson::Schema* const made = [] {
    auto* s = new valijson::Schema;  // lives as long as the program
    valijson::SchemaParser parser;
    parser.populateSchema(valijson::adapters::NlohmannJsonAdapter(schema_json()), *s);
    return s;
  }();
  return *made;
}

const Node& resolve(const Node& node) {
  const auto ref = node.find("$ref");
  if (ref == node.end()) return node;
  return schema_json().at(Node::json_pointer(ref->get<std::string>().substr(1)));
}

/// One step into the schema: a property, or the items of a list. Null when the schema has no such place.
const Node* descend(const Node* from, const std::string& step, bool index) {
  if (from == nullptr) return nullptr;
  const Node& here = resolve(*from);
  const auto group = here.find(index ? "items" : "properties");
  if (group == here.end()) return nullptr;
  if (index) return &*group;
  const auto property = group->find(step);
  return property == group->end() ? nullptr : &*property;
}

std::string description(const Node* node) {
  if (node == nullptr) return "something the schema knows";
  return resolve(*node).value("description", "of another type");
}

struct Place {
  std::string field;
  const Node* schema{};
  const Node* value{};
};

Place locate(const std::vector<std::string>& context, const Node& document) {
  Place place{"", &schema_json(), &document};
  for (std::size_t i = 1; i < context.size(); ++i) {  // [0] is "<root>"
    const std::string step = context[i].substr(1, context[i].size() - 2);
    const bool index = place.value != nullptr && place.value->is_array();
    place.schema = descend(place.schema, step, index);
    if (place.value != nullptr) {
      const Node& v = *place.value;
      if (index) {
        const std::size_t n = std::stoul(step);  // valijson wrote it: always digits
        place.value = n < v.size() ? &v[n] : nullptr;
      } else {
        place.value = v.is_object() && v.contains(step) ? &v[step] : nullptr;
      }
    }
    place.field += index ? "[" + step + "]" : (place.field.empty() ? "" : ".") + step;
  }
  return place;
}

/// The line of the field, or of the nearest thing around it.
int line_of(const Document& document, std::string field) {
  while (!field.empty()) {
    if (const auto it = document.lines.find(field); it != document.lines.end()) return it->second;
    const std::size_t cut = field.find_last_of(".[");
    field.resize(cut == std::string::npos ? 0 : cut);
  }
  return document.line;
}

void unknown_fields(const Document& document, const Node& value, const Node* schema, const std::string& path,
                    std::vector<Problem>& out) {
  const Node& here = resolve(*schema);
  if (value.is_array()) {
    const Node* items = descend(schema, "", true);
    if (items == nullptr) return;
    for (std::size_t i = 0; i < value.size(); ++i) {
      unknown_fields(document, value[i], items, fmt::format("{}[{}]", path, i), out);
    }
  }
  if (!value.is_object() || !here.contains("properties")) return;
  const Node& known = here["properties"];
  for (const auto& [name, member] : value.items()) {
    const std::string field = path.empty() ? name : path + "." + name;
    if (const Node* next = descend(schema, name, false); next != nullptr) {
      unknown_fields(document, member, next, field, out);
      continue;
    }
    std::string best, all;
    std::size_t distance = kTypoDistance;
    for (const auto& [candidate, ignored] : known.items()) {
      all += (all.empty() ? "" : ", ") + candidate;
      const std::size_t d = edit_distance(name, candidate);
      if (d < distance || (d == distance && best.empty())) {
        distance = d;
        best = candidate;
      }
    }
    const bool likely = !best.empty() && distance < std::max(name.size(), std::size_t{2});
    out.push_back(
        {line_of(document, field), field,
         likely ? "is not a field here; did you mean '" + best + "'?" : "is not a field here; there are " + all});
  }
}

std::string shown(const Node& value) {
  const std::string text = value.dump(-1, ' ', false, Node::error_handler_t::replace);
  return text.size() <= kShownValueBytes ? text : text.substr(0, kShownValueBytes) + "...";
}

std::optional<std::string> missing(const std::string& text) {
  static constexpr std::string_view kStart = "Missing required property '";
  if (!text.starts_with(kStart)) return std::nullopt;
  return text.substr(kStart.size(), text.find('\'', kStart.size()) - kStart.size());
}

bool only_repeats(const std::string& text) {
  return text.starts_with("Failed to validate") || text.starts_with("Object contains a property");
}

}  // namespace

std::vector<Problem> check_vm(const Document& document) {
  std::vector<Problem> out;
  const Node value = Node::parse(document.value.dump(), nullptr, false);
  unknown_fields(document, value, &schema_json(), "", out);
  valijson::ValidationResults results;
  valijson::Validator validator(valijson::Validator::kStrongTypes);
  const bool good = validator.validate(schema(), valijson::adapters::NlohmannJsonAdapter(value), &results);
  std::set<std::string> said;
  for (const auto& error : results) {
    if (only_repeats(error.description)) continue;
    Place place = locate(error.context, value);
    std::string text;
    if (const auto name = missing(error.description)) {
      place.field += (place.field.empty() ? "" : ".") + *name;
      text = "is missing: it must be " + description(descend(locate(error.context, value).schema, *name, false));
    } else {
      text = "must be " + description(place.schema);
      if (place.value != nullptr && place.value->is_primitive()) text += ", not " + shown(*place.value);
    }
    if (said.insert(place.field).second) out.push_back({line_of(document, place.field), place.field, text});
  }
  // The schema's word counts even where we found none of our own.
  if (!good && out.empty()) out.push_back({document.line, "", "does not fit the schema of a VM"});
  std::ranges::sort(out, {}, [](const Problem& p) { return std::tie(p.line, p.field); });
  return out;
}

}  // namespace bascule::hostctl
