#include "api/hostctl/table.hpp"

#include <algorithm>

#include "api/hostctl/text.hpp"

namespace bascule::hostctl {
namespace {
constexpr std::size_t kGap = 2;
constexpr std::size_t kMinLastColumn = 10;  // below this a cut says nothing: let the terminal wrap

const char* code(Colour colour) {
  switch (colour) {
    case Colour::none: return "";
    case Colour::green: return "\x1b[32m";
    case Colour::yellow: return "\x1b[33m";
    case Colour::red: return "\x1b[31m";
    case Colour::dim: return "\x1b[2m";
    case Colour::bold: return "\x1b[1m";
  }
  return "";
}
}  // namespace

std::string paint(bool on, Colour colour, const std::string& text) {
  if (!on || colour == Colour::none || text.empty()) return text;
  return code(colour) + text + "\x1b[0m";
}

Table::Table(std::vector<std::string> headings) : headings_(std::move(headings)) {
  for (auto& h : headings_) {
    right_.push_back(h.starts_with('>'));
    if (right_.back()) h.erase(0, 1);
  }
}

void Table::add(std::vector<Cell> row) {
  row.resize(headings_.size(), Cell(""));
  for (auto& cell : row) cell.text = cell.text.empty() ? "-" : safe(cell.text);
  rows_.push_back(std::move(row));
}

std::string Table::render(bool colour, std::size_t columns) const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < headings_.size(); ++i) {
    std::size_t w = width(headings_[i]);
    for (const auto& row : rows_) w = std::max(w, width(row[i].text));
    widths.push_back(w);
  }
  std::size_t before_last = 0;
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) before_last += widths[i] + kGap;
  const bool cut = columns >= before_last + kMinLastColumn;
  std::string out;
  const auto put = [&](const std::string& text, std::size_t i, Colour c) {
    const bool last = i + 1 == headings_.size();
    const std::string shown = last && cut ? fit(text, columns - before_last) : text;
    const std::size_t taken = width(shown);
    const std::size_t missing = widths[i] > taken ? widths[i] - taken : 0;
    if (right_[i]) out.append(missing, ' ');
    out += paint(colour, c, shown);
    if (!last) out.append((right_[i] ? 0 : missing) + kGap, ' ');
  };
  for (std::size_t i = 0; i < headings_.size(); ++i) put(headings_[i], i, Colour::bold);
  out += '\n';
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) put(row[i].text, i, row[i].colour);
    out += '\n';
  }
  return out;
}

Colour colour_of_state(const std::string& word) {
  static const std::vector<std::string> good{"running", "done", "UpToDate", "Connected", "ok", "yes", "alive"};
  static const std::vector<std::string> busy{"undoing",      "paused",     "creating",  "updating", "starting",
                                             "stopping",     "migrating",  "removing",  "working",  "pending",
                                             "Inconsistent", "SyncSource", "SyncTarget"};
  static const std::vector<std::string> bad{"crashed",  "undone",   "failed",     "needs-operator", "silent",  "Failed",
                                            "Outdated", "Diskless", "StandAlone", "frozen",         "unknown", "down"};
  if (std::ranges::find(good, word) != good.end()) return Colour::green;
  if (std::ranges::find(busy, word) != busy.end()) return Colour::yellow;
  if (std::ranges::find(bad, word) != bad.end()) return Colour::red;
  return Colour::none;
}

}  // namespace bascule::hostctl
