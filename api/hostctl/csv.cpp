#include "api/hostctl/csv.hpp"

#include <algorithm>
#include <array>

namespace bascule::hostctl {
namespace {
using core::Errc;
using core::fail;

/// What makes a formula of a cell in Excel, LibreOffice or Google Sheets; the wide forms in some of their languages.
constexpr std::array<std::string_view, 11> kDangerous{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "\xEF\xBC\x8D",
                                                      "＠"};

bool needs_apostrophe(std::string_view text) {
  return text.starts_with('\'') ||
         std::ranges::any_of(kDangerous, [&](std::string_view d) { return text.starts_with(d); });
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  if (needs_apostrophe(text)) out += '\'';
  for (const char c : text) {
    out += c;
    if (c == '"') out += '"';
  }
  return out + '"';
}

std::string unescaped(std::string text) {
  if (text.starts_with('\'')) text.erase(0, 1);
  return text;
}

/// A quoted field after its first quote. False: the file ends in it, or it is too long.
bool read_quoted(std::istream& in, std::string& field) {
  for (char c = 0; field.size() < kMaxCsvRow && in.get(c);) {
    if (c != '"') {
      field += c;
    } else if (in.peek() == '"') {
      in.get(c);
      field += c;
    } else {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string csv_row(const std::vector<std::string>& fields) {
  std::string out;
  for (const auto& field : fields) out += (out.empty() ? "" : ",") + quoted(field);
  return out + "\r\n";
}

core::Result<std::vector<std::string>> read_csv_row(std::istream& in) {
  std::vector<std::string> out;
  if (in.peek() == std::istream::traits_type::eof()) return out;
  const auto cut = fail(Errc::invalid, "the file ends in the middle of a row");
  while (out.size() < kMaxCsvFields) {
    std::string field;
    char c = 0;
    if (in.peek() == '"') {
      in.get(c);
      if (!read_quoted(in, field)) return cut;
      if (!in.get(c)) return cut;
    } else {  // another program may have written it without quotes
      while (in.get(c) && c != ',' && c != '\r' && c != '\n' && field.size() < kMaxCsvRow) field += c;
      if (!in) return cut;
    }
    out.push_back(unescaped(std::move(field)));
    if (c == ',') continue;
    if (c == '\r' && in.peek() == '\n') in.get(c);
    if (c == '\n') return out;
    return fail(Errc::invalid, "a field goes on after its closing quote");
  }
  return fail(Errc::invalid, "a row has too many fields");
}

}  // namespace bascule::hostctl
