#include "api/vm_pages.hpp"

#include <algorithm>
#include <vector>

#include "api/json.hpp"
#include "hostd/core/explain.hpp"

namespace bascule::api {
namespace {
constexpr std::size_t kPageBytesKept = std::size_t{4} << 20U;  // all pages together

std::string silent_hosts(const core::CellView& view) {
  std::string out;
  for (const auto& [id, host] : view.hosts) {
    if (host.silent) out += id + ' ';
  }
  return out;
}
}  // namespace

const std::string& VmPages::summary(const core::CellView& view, const std::string& name, const core::VmView& vm) {
  const Source now{vm.spec.revision,
                   vm.layout.revision,
                   vm.right.revision,
                   vm.operation.revision,
                   vm.operation.revision != 0 && view.operations.contains(vm.operation.value),
                   static_cast<std::uint8_t>(core::vm_state(view, vm))};
  auto& entry = entries_[name];
  if (entry.text.empty() || entry.source != now) {
    entry.source = now;
    entry.text = json::vm_summary(view, vm);
  }
  return entry.text;
}

void VmPages::forget_removed(const core::CellView& view) {
  if (entries_.size() <= view.vms.size()) return;
  std::erase_if(entries_, [&](const auto& e) { return !view.vms.contains(e.first); });
}

std::string VmPages::build(const core::CellView& view, const VmQuery& query) {
  std::vector<std::string> items;
  std::string next;
  std::string last;
  for (auto it = view.vms.upper_bound(query.after); it != view.vms.end(); ++it) {
    const auto& [name, vm] = *it;
    if (vm.spec.revision == 0) continue;
    if (!query.project.empty() && vm.spec.value.project != query.project) continue;
    if (!query.among.empty() && std::ranges::find(query.among, vm.spec.value.project) == query.among.end()) continue;
    if (!query.host.empty() && vm.right.value.host != query.host) continue;
    if (items.size() == query.limit) {
      next = last;
      break;
    }
    items.push_back(query.full ? json::vm(view, vm, query.role) : summary(view, name, vm));
    last = name;
  }
  return json::list(items, next, view.revision);
}

std::shared_ptr<const std::string> VmPages::page(const core::CellView& view, const VmQuery& query) {
  std::string silent = silent_hosts(view);
  if (revision_ != view.revision || silent_ != silent) {
    pages_.clear();
    page_bytes_ = 0;
    revision_ = view.revision;
    silent_ = std::move(silent);
    forget_removed(view);
  }
  const auto kept = pages_.find(query);
  if (kept != pages_.end()) return kept->second;
  ++made_;
  auto text = std::make_shared<const std::string>(build(view, query));
  if (!query.full && page_bytes_ + text->size() <= kPageBytesKept) {
    page_bytes_ += text->size();
    pages_.emplace(query, text);
  }
  return text;
}

}  // namespace bascule::api
