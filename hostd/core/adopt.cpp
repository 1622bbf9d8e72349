#include "hostd/core/adopt.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "hostd/core/right.hpp"

namespace bascule::core {
namespace {

constexpr std::size_t kIdentifiers = 4;  // current, bitmap and what DRBD keeps of older ones; flags follow them
constexpr std::size_t kDigits = 16;

/// Without the bit of the role; empty where it is no such text.
std::vector<std::uint64_t> identifiers(std::string_view text) {
  std::vector<std::uint64_t> out;
  while (out.size() < kIdentifiers) {
    const auto part = text.substr(0, text.find(':'));
    std::uint64_t value = 0;
    const auto [end, wrong] = std::from_chars(part.data(), part.data() + part.size(), value, 16);
    if (wrong != std::errc{} || part.size() != kDigits || end != part.data() + part.size()) return {};
    out.push_back(value & ~std::uint64_t{1});
    if (part.size() == text.size()) break;
    text.remove_prefix(part.size() + 1);
  }
  return out.size() == kIdentifiers ? out : std::vector<std::uint64_t>{};
}

bool knows(const std::vector<std::uint64_t>& older, std::uint64_t current) {
  return current != 0 && std::find(older.begin() + 1, older.end(), current) != older.end();
}

std::optional<std::int64_t> number(const Operation& op, const std::string& key) {
  const auto it = op.result.find(key);
  std::int64_t value = 0;
  if (it == op.result.end()) return std::nullopt;
  const auto [end, wrong] = std::from_chars(it->second.data(), it->second.data() + it->second.size(), value);
  if (wrong != std::errc{} || end != it->second.data() + it->second.size() || value < 0) return std::nullopt;
  return value;
}

std::string text_of(const Operation& op, const std::string& key) {
  const auto it = op.result.find(key);
  return it == op.result.end() ? std::string{} : it->second;
}

}  // namespace

Lineage lineage(std::string_view own, std::string_view other) {
  const auto mine = identifiers(own);
  const auto theirs = identifiers(other);
  if (mine.empty() || theirs.empty()) return Lineage::unknown;
  if (mine.front() == theirs.front()) return Lineage::same;
  const bool older = knows(theirs, mine.front());
  const bool newer = knows(mine, theirs.front());
  if (older == newer) return Lineage::parted;
  return older ? Lineage::behind : Lineage::ahead;
}

std::string adopt_epoch_key(const std::string& host) { return "epoch_" + host; }
std::string adopt_generation_key(const std::string& host, const std::string& volume) {
  return "generation_" + host + "_" + volume;
}

std::string remembered(const Notes& notes, const std::string& vm) {
  const auto it = notes.vms.find(vm);
  if (it == notes.vms.end()) return "it remembers no run-right";
  const VmNote& note = it->second;
  if (!note.others) return fmt::format("it last saw epoch {}, held by the other host", note.epoch);
  return fmt::format("it held the run-right at epoch {}, {}", note.epoch,
                     note.others->empty() ? "with nobody else in sync"
                                          : fmt::format("with {} in sync", fmt::join(*note.others, ", ")));
}

Result<std::string> not_older(const Operation& op, const VmView& vm, const std::string& host) {
  if (vm.spec.value.protection == Protection::none) return std::string("it has no other leg");
  const std::string other = other_host(vm.layout.value, host);
  std::vector<std::string> out;
  for (const auto& volume : vm.layout.value.volumes) {
    const auto line = lineage(text_of(op, adopt_generation_key(host, volume.name)),
                              text_of(op, adopt_generation_key(other, volume.name)));
    if (line == Lineage::unknown) {
      return fail(Errc::refused, "the legs of volume " + volume.name + " cannot be compared by what DRBD says of them");
    }
    if (line == Lineage::behind) {
      return fail(Errc::refused, "the leg of volume " + volume.name + " on " + host + " is older than the one on " +
                                     other + ", which was written to since; adopt it on " + other);
    }
    out.push_back(volume.name + ": " +
                  (line == Lineage::same    ? "the legs have one generation"
                   : line == Lineage::ahead ? "the leg on " + host + " is newer than the one on " + other
                                            : "THE LEGS HAVE PARTED: each was written to without the other, and what " +
                                                  other + " wrote is given up (it stays in the snapshot there)"));
  }
  return fmt::format("{}", fmt::join(out, "; "));
}

Result<Right> adopted(const Operation& op, const VmView& vm, const std::string& host) {
  if (!op.result.contains("approved_by")) return fail(Errc::conflict, "nobody has approved it");
  if (vm.right.revision != 0) return fail(Errc::conflict, "the VM has a run-right, held by " + vm.right.value.host);
  if (vm.restored.revision == 0) return fail(Errc::conflict, "the VM was not restored from a backup");
  if (vm.layout.value.volumes.empty()) return fail(Errc::conflict, "the VM has no layout");
  std::int64_t epoch = vm.restored.value.epoch;
  for (const auto& volume : vm.layout.value.volumes) {
    if (leg_of(volume, host) == nullptr) {
      return fail(Errc::invalid, "host " + host + " has no leg of volume " + volume.name);
    }
    for (const auto& leg : volume.legs) {
      if (vm.spec.value.protection == Protection::none && leg.host != host) continue;
      const auto seen = number(op, adopt_epoch_key(leg.host));
      if (!seen || text_of(op, adopt_generation_key(leg.host, volume.name)).empty()) {
        return fail(Errc::conflict, "host " + leg.host + " has not said what it has of volume " + volume.name);
      }
      epoch = std::max(epoch, *seen);
    }
  }
  // safety: S2. What the other leg confirmed since they parted is not here. [model: W_adopt]
  if (auto fits = not_older(op, vm, host); !fits) return fits.error();
  Right right = first_right(vm.layout.value, host);
  // safety: R6, S1. Above whatever any record of the lost cell had that either host has seen: neither distrusts it, and
  // nothing that rests on an older one goes on. [model: W_adopt]
  right.epoch = epoch + 1;
  return right;
}

}  // namespace bascule::core
