// Small configuration files, replaced whole. Not synced to disk: they are written again before
// every use.
#pragma once

#include <string>
#include <string_view>

#include "hostd/core/error.hpp"

namespace bascule::storage {

/// `path` holds `text`, mode 0600, by writing beside it and renaming. A file there that does not
/// begin with `mark` is somebody else's: kept as `<path>.before-bascule` when `take_over`, else an
/// error. Errors: conflict, io.
core::Result<> replace_file(const std::string& path, std::string_view text, std::string_view mark, bool take_over);

/// Not there afterwards. Errors: conflict (not ours), io.
core::Result<> remove_file(const std::string& path, std::string_view mark);

/// The first `limit` bytes of a file. Errors: not_found, io.
core::Result<std::string> read_file(const std::string& path, std::size_t limit);

}  // namespace bascule::storage
