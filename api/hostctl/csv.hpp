// CSV (RFC 4180) that a spreadsheet opens without running anything in it.
#pragma once

#include <cstddef>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"

namespace bascule::hostctl {

inline constexpr std::size_t kMaxCsvRow = 1024 * 1024;
inline constexpr std::size_t kMaxCsvFields = 64;

/// One row with its line end (CRLF). Every field is quoted. One that a spreadsheet could take for a formula (it begins
/// with = + - @, a tab or a line break, or their wide forms) gets an apostrophe in front, and so does one that begins
/// with an apostrophe: `read_csv_row` takes exactly that one away again.
std::string csv_row(const std::vector<std::string>& fields);

/// The next row; an empty list is the end of the file. Errors: invalid, naming what is wrong with it.
core::Result<std::vector<std::string>> read_csv_row(std::istream& in);

}  // namespace bascule::hostctl
