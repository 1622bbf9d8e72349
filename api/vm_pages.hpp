// The list of VMs, serialized once and sent to many. A list of a thousand VMs is asked for thousands of times a second
// and changes a few times a second, one VM at a time.
// Thread rule: io thread only.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "hostd/core/request.hpp"
#include "hostd/core/view.hpp"

namespace bascule::api {

struct VmQuery {
  std::string project, host;  ///< empty = any
  std::string after;          ///< name of the last VM of the page before
  std::size_t limit{};
  bool full{};                             ///< whole VMs instead of summaries; not kept
  std::vector<std::string> among{};        ///< projects; empty = any
  core::Role role{core::Role::operator_};  ///< whose whole VMs
  auto operator<=>(const VmQuery&) const = default;
};

class VmPages {
 public:
  /// The page as JSON. The view's revision (or a host's silence) must change with everything a page shows.
  std::shared_ptr<const std::string> page(const core::CellView& view, const VmQuery& query);

  std::uint64_t made() const { return made_; }  ///< pages that were not in the cache

 private:
  /// Everything a summary is made of; equal = the text is still right.
  struct Source {
    core::Revision spec{}, layout{}, right{}, operation{};
    bool operation_known{};
    std::uint8_t state{};
    auto operator<=>(const Source&) const = default;
  };
  struct Entry {
    Source source;
    std::string text;
  };
  std::string build(const core::CellView& view, const VmQuery& query);
  const std::string& summary(const core::CellView& view, const std::string& name, const core::VmView& vm);
  void forget_removed(const core::CellView& view);

  std::unordered_map<std::string, Entry> entries_;
  std::map<VmQuery, std::shared_ptr<const std::string>> pages_;
  std::size_t page_bytes_{};
  core::Revision revision_{-1};
  std::string silent_;  ///< the hosts that were silent
  std::uint64_t made_{};
};

}  // namespace bascule::api
