// SMS by a spool folder: smstools' smsd or gammu-smsd takes the file from there to the modem.
#pragma once

#include <string>

#include "hostd/alert/settings.hpp"
#include "hostd/core/error.hpp"

namespace bascule::alert {

struct SpoolFile {
  std::string name, text;
};
/// `key` is the message's, `when` its time: the same message has the same name, so that it is there once.
SpoolFile spool_file(const std::string& format, const std::string& to, const std::string& text, const std::string& key,
                     core::WallMs when);

/// The file appears whole, or not at all; one of that name that is there already is the same message: success. It
/// belongs to the folder's group, which may read and write it. Error io.
core::Result<> put_into(const std::string& folder, const SpoolFile& file);

}  // namespace bascule::alert
