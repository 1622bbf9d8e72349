// A mail as text, RFC 5322 with MIME. Whatever the words hold, no header and no second message can come of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/model.hpp"

namespace bascule::alert {

struct Mail {
  std::string from;
  std::vector<std::string> to;
  std::string subject, body;
  std::string key;    ///< the Message-ID is <key@domain of from>
  std::string alert;  ///< id, for filters
  core::WallMs date{};
};

/// With CRLF line ends, ready for DATA (dots are the transport's matter).
std::string mail_text(const Mail& mail);

/// RFC 2045; CRLF line ends, lines of at most 76 characters, nothing but printable ASCII.
std::string quoted_printable(std::string_view text);
/// RFC 2047 where the text is not printable ASCII, folded; never a line end that does not fold.
std::string header_words(std::string_view text);

}  // namespace bascule::alert
