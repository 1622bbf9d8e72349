// The configuration text DRBD's tools read, and the options it is made of. hostd issues its own
// drbdsetup commands (drbd_commands.hpp, from the same options); the text is there for the kernel's
// helper, which runs `drbdadm fence-peer <resource>`, and for people. Pure.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "hostd/core/error.hpp"
#include "storage/resource.hpp"

namespace bascule::storage {

using Option = std::pair<std::string, std::string>;
using Options = std::vector<Option>;

/// Every option of a resource in the section its DRBD version wants it in.
struct Sections {
  Options resource;     ///< options { }
  Options disk;         ///< disk { }: arguments of attach
  Options peer_device;  ///< disk { } too, but on 9 arguments of peer-device-options; empty on 8.4
  Options net;          ///< net { }: arguments of connect (8.4) or new-peer (9)
};
Sections sections(const Resource& resource, const DrbdOptions& options, DrbdVersion version);

/// /etc/drbd.d/vm-<vm>.res for host `self`. Holds the secret: mode 0600. Errors: invalid (see
/// check).
core::Result<std::string> resource_config(const Resource& resource, const DrbdOptions& options, DrbdVersion version,
                                          std::string_view self);

/// /etc/drbd.d/global_common.conf: no phoning home, no check of local addresses, a limit for
/// handlers (drbdadm's own default is none). Errors: invalid.
core::Result<std::string> global_config(const DrbdOptions& options);

/// The first line of every file written here; a file without it is somebody else's and is not
/// touched.
inline constexpr std::string_view kConfigMark = "# Written by Bascule's hostd; changes are lost.";

}  // namespace bascule::storage
