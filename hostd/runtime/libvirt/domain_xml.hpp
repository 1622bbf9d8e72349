// DomainSpec -> libvirt domain XML. Pure. What it must never contain is listed in DESIGN 7 and checked by
// tests/unit/libvirt_xml_test.cpp with an XML parser of its own.
#pragma once

#include <string>
#include <string_view>

#include "hostd/core/domain.hpp"

namespace bascule::runtime::libvirt {

/// Both sides of a pair must know it; Debian 12 (QEMU 7.2) and every later QEMU do.
inline constexpr const char* machine_type = "pc-q35-7.2";

/// Only tests may set these: real disks are DRBD devices.
struct XmlOptions {
  /// Takes `DomainDisk::device` as any absolute path: a regular file or a loop device.
  bool any_disk_path{};
};

/// Error `invalid` when check(spec) says so; otherwise the text.
core::Result<std::string> domain_xml(const core::DomainSpec& spec, const XmlOptions& options = {});

/// For text nodes and attribute values alike: & < > " ' are replaced. Values are validated before; this is the
/// second lock, not the first.
std::string xml_escape(std::string_view text);

/// vda .. vdh
std::string disk_target(std::uint32_t index);

}  // namespace bascule::runtime::libvirt
