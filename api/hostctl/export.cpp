#include "api/hostctl/export.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <vector>

#include "api/hostctl/audit.hpp"
#include "api/hostctl/csv.hpp"
#include "api/hostctl/heads.hpp"
#include "api/hostctl/json.hpp"
#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::fail;
using core::Result;

constexpr std::int64_t kVersion = 1;  // of the format; a column more is another version
constexpr std::size_t kMaxLine = 1024 * 1024;

/// The columns of the CSV, in their order.
constexpr std::array<const char*, 19> kColumns{"kind",      "sequence",    "time",      "when_ms",    "who_role",
                                               "who_name",  "who_project", "what",      "object",     "project",
                                               "operation", "result",      "why",       "previous",   "hash",
                                               "cell",      "host",        "signature", "certificate"};
enum Column : std::size_t {
  kind,
  sequence,
  time,
  when_ms,
  who_role,
  who_name,
  who_project,
  what,
  object,
  project,
  operation,
  result,
  why,
  previous,
  hash,
  cell,
  host,
  signature,
  certificate
};
using Row = std::vector<std::string>;

std::string line(const Json& j) { return j.dump() + "\n"; }

std::int64_t number(const std::string& text) {
  std::int64_t value = -1;
  const char* end = text.data() + text.size();
  return std::from_chars(text.data(), end, value).ptr == end && !text.empty() ? value : -1;
}

core::AuditRecord record_of_row(const Row& r) {
  core::AuditRecord out;
  out.sequence = number(r[sequence]);
  out.when_ms = number(r[when_ms]);
  out.who = {r[who_name], r[who_role], r[who_project]};
  out.why = r[why];
  out.what = r[what];
  out.object = r[object];
  out.project = r[project];
  out.operation = r[operation];
  out.result = r[result];
  out.previous = r[previous];
  out.hash = r[hash];
  return out;
}

/// Reads one kind of file, line by line.
class Reader {
 public:
  Reader(std::istream& in, const ExportReader& to) : in_(in), to_(to) {}

  Result<> json_lines() {
    for (std::string text; next_line(text);) {
      ++number_;
      auto j = Json::parse(text);
      if (!j || !j->is_object()) return in_.eof() || in_.peek() == kEof ? cut() : wrong("is not a JSON object");
      const std::string what = j->text("kind");
      bool go_on = true;
      if (number_ == 1) {
        if (what != "export" || j->integer("version") != kVersion) return wrong("is not the beginning of an export");
      } else if (done_) {
        return wrong("stands after the end of the export");
      } else if (what == "head") {
        go_on = to_.head(head_of(*j));
      } else if (what == "record") {
        go_on = record(record_of(*j));
      } else if (what == "end") {
        end({j->integer("sequence", -1), j->text("hash")});
      } else {
        return wrong("is no head, record or end");
      }
      if (!go_on) return {};
    }
    return done_ ? Result<>{} : cut();
  }

  Result<> csv() {
    while (true) {
      auto row = read_csv_row(in_);
      if (!row) return in_.eof() ? cut() : wrong(row.error().what);
      if (row->empty()) return done_ ? Result<>{} : cut();
      ++number_;
      if (number_ == 1) {
        if (*row != Row(kColumns.begin(), kColumns.end())) return wrong("does not name the columns of an export");
        continue;
      }
      if (row->size() != kColumns.size())
        return wrong(fmt::format("has {} fields, not {}", row->size(), kColumns.size()));
      if (done_) return wrong("stands after the end of the export");
      bool go_on = true;
      const std::string& of = (*row)[kind];
      // The time for people is in no hash: it must be what the hashed one says.
      if (of != "end" && (*row)[time] != utc(number((*row)[when_ms]))) {
        return wrong(fmt::format("({} {}) was changed: its time {} is not its when_ms {}", of, safe((*row)[sequence]),
                                 safe((*row)[time]), safe((*row)[when_ms])));
      }
      if (of == "head") {
        const Row& r = *row;
        go_on = to_.head(
            {r[cell], r[host], number(r[sequence]), r[hash], number(r[when_ms]), r[signature], r[certificate]});
      } else if (of == "record") {
        go_on = record(record_of_row(*row));
      } else if (of == "end") {
        end({number((*row)[sequence]), (*row)[hash]});
      } else {
        return wrong("is no head, record or end");
      }
      if (!go_on) return {};
    }
  }

 private:
  static constexpr int kEof = std::istream::traits_type::eof();

  bool next_line(std::string& text) {
    text.clear();
    for (char c = 0; text.size() <= kMaxLine && in_.get(c);) {
      if (c == '\n') return true;
      text += c;
    }
    return !text.empty();
  }
  bool record(const core::AuditRecord& r) {
    last_ = r.sequence;
    return to_.record(r);
  }
  void end(const core::AuditHead& head) {
    done_ = true;
    to_.end(head);
  }
  core::Error cut() const {
    const std::string where = last_ == 0 ? "before its first record" : fmt::format("after record {}", last_);
    return fail(Errc::invalid, fmt::format("the file is cut off {}: its last line is missing", where));
  }
  core::Error wrong(const std::string& how) const {
    return fail(Errc::invalid, fmt::format("line {} {}", number_, how));
  }

  std::istream& in_;
  const ExportReader& to_;
  std::int64_t number_{}, last_{};
  bool done_{};
};

}  // namespace

std::string export_begin(ExportFormat format, std::int64_t now_ms) {
  if (format == ExportFormat::csv) return csv_row(Row(kColumns.begin(), kColumns.end()));
  Json j = Json::object();
  j.set("kind", "export").set("version", kVersion).set("made", std::string_view(utc(now_ms)));
  return line(j);
}

std::string export_head(ExportFormat format, const core::SignedHead& h) {
  if (format == ExportFormat::csv) {
    Row r(kColumns.size());
    r[kind] = "head";
    r[sequence] = std::to_string(h.sequence);
    r[time] = utc(h.when_ms);
    r[when_ms] = std::to_string(h.when_ms);
    r[hash] = h.hash;
    r[cell] = h.cell;
    r[host] = h.host;
    r[signature] = h.signature;
    r[certificate] = h.certificate;
    return csv_row(r);
  }
  Json j = Json::object();
  j.set("kind", "head");
  for (const auto& [name, value] : json_of(h).members()) j.set(name, value);
  return line(j);
}

std::string export_record(ExportFormat format, const core::AuditRecord& a) {
  if (format == ExportFormat::csv) {
    return csv_row({"record", std::to_string(a.sequence), utc(a.when_ms), std::to_string(a.when_ms), a.who.role,
                    a.who.name, a.who.project, a.what, a.object, a.project, a.operation, a.result, a.why, a.previous,
                    a.hash, "", "", "", ""});
  }
  Json who = Json::object();
  who.set("name", std::string_view(a.who.name)).set("role", std::string_view(a.who.role));
  who.set("project", std::string_view(a.who.project));
  Json j = Json::object();
  j.set("kind", "record").set("sequence", a.sequence).set("when_ms", a.when_ms).set("who", who);
  for (const auto& [name, value] : {std::pair{"why", &a.why},
                                    {"what", &a.what},
                                    {"object", &a.object},
                                    {"project", &a.project},
                                    {"operation", &a.operation},
                                    {"result", &a.result},
                                    {"previous", &a.previous},
                                    {"hash", &a.hash}}) {
    j.set(name, std::string_view(*value));
  }
  return line(j);
}

std::string export_end(ExportFormat format, const core::AuditHead& last) {
  if (format == ExportFormat::csv) {
    Row r(kColumns.size());
    r[kind] = "end";
    r[sequence] = std::to_string(last.sequence);
    r[hash] = last.hash;
    return csv_row(r);
  }
  Json j = Json::object();
  j.set("kind", "end").set("sequence", last.sequence).set("hash", std::string_view(last.hash));
  return line(j);
}

Result<> read_export(std::istream& in, const ExportReader& to) {
  Reader reader(in, to);
  return in.peek() == '{' ? reader.json_lines() : reader.csv();
}

}  // namespace bascule::hostctl
