// Aligned columns for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bascule::hostctl {

enum class Colour : std::uint8_t { none, green, yellow, red, dim, bold };

/// `text` in the colour's escape codes, or as it is when `on` is false.
std::string paint(bool on, Colour colour, const std::string& text);

struct Cell {
  std::string text;
  Colour colour{Colour::none};
  Cell(std::string t) : text(std::move(t)) {}  // NOLINT(google-explicit-constructor)
  Cell(const char* t) : text(t) {}             // NOLINT(google-explicit-constructor)
  Cell(std::string t, Colour c) : text(std::move(t)), colour(c) {}
};

class Table {
 public:
  /// A heading that starts with '>' makes its column right-aligned.
  explicit Table(std::vector<std::string> headings);
  void add(std::vector<Cell> row);
  bool empty() const { return rows_.empty(); }
  /// Cells are made safe here, so no caller can forget it. The last column is cut at `columns` (0 = never).
  std::string render(bool colour, std::size_t columns) const;

 private:
  std::vector<std::string> headings_;
  std::vector<bool> right_;
  std::vector<std::vector<Cell>> rows_;
};

/// What a colour says: good is green, at work yellow, bad red.
Colour colour_of_state(const std::string& word);

}  // namespace bascule::hostctl
