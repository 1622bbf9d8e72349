// The words of an enumeration, both ways, from one table.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bascule::core {

template <class E>
using Word = std::pair<E, std::string_view>;

/// "unknown" for a value that is in no row.
template <class E>
constexpr std::string_view word(std::span<const Word<E>> table, E value) {
  const auto it = std::ranges::find(table, value, &Word<E>::first);
  return it == table.end() ? "unknown" : it->second;
}

template <class E>
constexpr std::optional<E> value(std::span<const Word<E>> table, std::string_view text) {
  const auto it = std::ranges::find(table, text, &Word<E>::second);
  return it == table.end() ? std::nullopt : std::optional<E>(it->first);
}

}  // namespace bascule::core
