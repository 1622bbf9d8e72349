#include "hostd/core/prune.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace bascule::core {
namespace {

/// Of each VM with an operation that needs an operator: the revision of its newest operation. That one stays too, or
/// explain() would show the old trouble as the last word.
std::map<std::string, Revision> last_words(const CellView& view) {
  std::map<std::string, Revision> last;
  for (const auto& [id, op] : view.operations) {
    if (op.value.state == OpState::needs_operator && !op.value.vm.empty()) last[op.value.vm] = 0;
  }
  if (last.empty()) return last;
  for (const auto& [id, op] : view.operations) {
    const auto it = last.find(op.value.vm);
    if (it != last.end()) it->second = std::max(it->second, op.revision);
  }
  return last;
}

/// A clock that was wrong makes nothing older: an end in the future counts as now, one before its beginning as that.
WallMs age(const Operation& op, WallMs now) { return now - std::min(now, std::max(op.created_ms, op.finished_ms)); }

}  // namespace

std::vector<std::string> prune(const CellView& view, WallMs now) {
  if (view.operations.size() <= kOperationsKept) return {};  // the usual case costs nothing
  std::vector<decltype(view.operations)::const_iterator> ended;
  for (auto it = view.operations.begin(); it != view.operations.end(); ++it) {
    const OpState state = it->second.value.state;
    if (state == OpState::done || state == OpState::undone) ended.push_back(it);
  }
  if (ended.size() <= kOperationsKept) return {};
  // Nothing is written to an operation after its end, so its revision tells when it ended relative to the others.
  std::ranges::sort(ended, {}, [](const auto& it) { return std::tie(it->second.revision, it->first); });
  const auto last = last_words(view);
  std::vector<std::string> ids;
  for (std::size_t i = 0; i + kOperationsKept < ended.size() && ids.size() < kForgetBatch; ++i) {
    const auto& [id, op] = *ended[i];
    const bool too_many = ended.size() - i > kOperationsMost;
    if (!too_many && age(op.value, now) <= kOperationsKeptMs) continue;
    const auto word = last.find(op.value.vm);
    if (word != last.end() && word->second == op.revision) continue;
    ids.push_back(id);
  }
  return ids;
}

}  // namespace bascule::core
