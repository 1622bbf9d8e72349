// The audit chain as a file: a first line, the countersigned heads, every record, and a last line, so that a file that
// was cut off is known by it. As JSON lines or as CSV with fixed columns.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <optional>
#include <string>

#include "hostd/core/error.hpp"
#include "hostd/core/signed_head.hpp"

namespace bascule::hostctl {

enum class ExportFormat : std::uint8_t { jsonl, csv };

// Each gives whole lines.
std::string export_begin(ExportFormat format, std::int64_t now_ms);
std::string export_head(ExportFormat format, const core::SignedHead& head);
std::string export_record(ExportFormat format, const core::AuditRecord& record);
std::string export_end(ExportFormat format, const core::AuditHead& last);

/// What a file holds, line by line; each function returns false to stop.
struct ExportReader {
  std::function<bool(core::SignedHead)> head;
  std::function<bool(const core::AuditRecord&)> record;
  std::function<void(const core::AuditHead&)> end;
};
/// The format is told by the first byte. Errors: invalid, with the number of the line, and the record that came last.
core::Result<> read_export(std::istream& in, const ExportReader& to);

}  // namespace bascule::hostctl
