#include "api/hostctl/lists.hpp"

#include <fmt/format.h>

namespace bascule::hostctl {

core::Result<> each_item(Client& client, const std::string& path, const std::function<bool(const Json&)>& on_item) {
  const std::string base =
      fmt::format("{}{}limit={}", path, path.find('?') == std::string::npos ? '?' : '&', kPageItems);
  std::string target = base;
  std::string last;
  for (int page = 0; page < kMaxPages; ++page) {
    auto answer = client.get(target);
    if (!answer) return answer.error();
    if (!answer->body["items"].is_array()) return core::fail(core::Errc::internal, path + ": the answer is no list");
    for (const auto& item : answer->body["items"].items()) {
      if (!on_item(item)) return {};
    }
    const std::string next = answer->body.text("next");
    if (next.empty()) return {};
    if (next == last) break;
    last = next;
    target = base + "&after=" + encode_part(next);
  }
  return core::fail(core::Errc::internal, path + ": the list has no end");
}

core::Result<std::vector<Json>> all_items(Client& client, const std::string& path) {
  std::vector<Json> out;
  auto r = each_item(client, path, [&](const Json& item) {
    out.push_back(item);
    return true;
  });
  if (!r) return r.error();
  return out;
}

}  // namespace bascule::hostctl
