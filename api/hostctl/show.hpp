// Showing one thing or a list of them: the API's JSON, or words for people.
#pragma once

#include <functional>
#include <string>

#include "api/hostctl/json.hpp"
#include "api/hostctl/session.hpp"
#include "api/hostctl/table.hpp"

namespace bascule::hostctl {

using Row = std::function<void(Table&, const Json&)>;
/// All pages of a list; `empty` is said when nothing is in it.
Exit show_list(Session& session, const std::string& path, const std::string& empty, Table table, const Row& row);
Exit show_one(Session& session, const std::string& path, const std::function<std::string(const Json&)>& words);
/// "  label:   value\n", nothing when the value is empty; made safe.
std::string field(const std::string& label, const std::string& value);

}  // namespace bascule::hostctl
