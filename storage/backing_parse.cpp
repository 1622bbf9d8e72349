// JSON of lvs, vgs and losetup; the only file of this folder that knows a JSON library.
#include <charconv>
#include <nlohmann/json.hpp>

#include "storage/backing.hpp"

namespace bascule::storage {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using nlohmann::json;

constexpr std::size_t kMaxText = 8 * 1024 * 1024;

constexpr int kMaxDepth = 8;  // the reports have five levels

bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') ++i;
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if ((c == '[' || c == '{') && ++depth > kMaxDepth) return true;
    if (c == ']' || c == '}') --depth;
  }
  return false;
}

json parse(std::string_view text) {
  if (text.size() > kMaxText || too_deep(text)) return json(json::value_t::discarded);
  return json::parse(text, nullptr, false);
}

const json* member(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

std::string text_of(const json& object, const char* key) {
  const json* value = member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string{};
}

/// LVM prints numbers as text.
std::optional<std::uint64_t> number_of(const json& object, const char* key) {
  const std::string text = text_of(object, key);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool flag_of(const json& object, const char* key) {
  const json* value = member(object, key);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

/// report[0].<kind>[]
const json* rows(const json& document, const char* kind) {
  const json* report = member(document, "report");
  if (report == nullptr || !report->is_array() || report->empty()) return nullptr;
  const json* list = member(report->front(), kind);
  return list != nullptr && list->is_array() ? list : nullptr;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const auto comma = std::min(text.find(',', at), text.size());
    if (comma > at) parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

core::Error unreadable(const char* tool) {
  return fail(Errc::invalid,
              std::string(tool) + " printed something that is not the report asked for; nothing was changed");
}

}  // namespace

Result<std::vector<LvInfo>> parse_lvs(std::string_view text) {
  const json document = parse(text);
  const json* list = rows(document, "lv");
  if (list == nullptr) return unreadable("lvs");
  std::vector<LvInfo> volumes;
  for (const auto& row : *list) {
    LvInfo info;
    info.name = text_of(row, "lv_name");
    const auto size = number_of(row, "lv_size");
    if (info.name.empty() || !size) return unreadable("lvs");
    info.size_bytes = *size;
    info.tags = split(text_of(row, "lv_tags"));
    info.pool = text_of(row, "pool_lv");
    info.active = text_of(row, "lv_active") == "active";
    const std::string percent = text_of(row, "data_percent");
    std::from_chars(percent.data(), percent.data() + percent.size(), info.data_percent);
    volumes.push_back(std::move(info));
  }
  return volumes;
}

Result<VgInfo> parse_vgs(std::string_view text, std::string_view group) {
  const json document = parse(text);
  const json* list = rows(document, "vg");
  if (list == nullptr) return unreadable("vgs");
  for (const auto& row : *list) {
    if (text_of(row, "vg_name") != group) continue;
    const auto size = number_of(row, "vg_size");
    const auto free = number_of(row, "vg_free");
    const auto extent = number_of(row, "vg_extent_size");
    if (!size || !free || !extent) return unreadable("vgs");
    return VgInfo{std::string(group), *size, *free, *extent};
  }
  return fail(Errc::not_found, "the volume group " + std::string(group) + " does not exist on this host");
}

Result<std::vector<LoopInfo>> parse_losetup(std::string_view text) {
  std::vector<LoopInfo> loops;
  if (text.find_first_not_of(" \n\t") == std::string_view::npos) return loops;
  const json document = parse(text);
  const json* list = member(document, "loopdevices");
  if (list == nullptr || !list->is_array()) return unreadable("losetup");
  for (const auto& row : *list) {
    LoopInfo info{text_of(row, "name"), text_of(row, "back-file"), flag_of(row, "dio"), flag_of(row, "ro")};
    if (info.device.empty() || info.file.empty()) return unreadable("losetup");
    loops.push_back(std::move(info));
  }
  return loops;
}

}  // namespace bascule::storage
