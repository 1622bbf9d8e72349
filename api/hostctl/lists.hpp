// Whole lists from a paged API.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/hostctl/client.hpp"
#include "api/hostctl/session.hpp"

namespace bascule::hostctl {

inline constexpr int kPageItems = 200;
/// A list of every record of a large cell; beyond it something repeats itself.
inline constexpr int kMaxPages = 10'000;

/// Calls `on_item` for each item of each page; it returns false to stop.
core::Result<> each_item(Client& client, const std::string& path, const std::function<bool(const Json&)>& on_item);
core::Result<std::vector<Json>> all_items(Client& client, const std::string& path);

}  // namespace bascule::hostctl
