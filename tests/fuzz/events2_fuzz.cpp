// Everything DRBD's tools print that hostd reads: events2 lines into the resource table, the snapshots made of them,
// the resync meter, and `drbdsetup show`. No input may crash, throw or outgrow the limits.
//   cmake --preset fuzz && cmake --build --preset fuzz --target events2_fuzz
//   build/fuzz/bin/events2_fuzz -max_total_time=60 -dict=tests/fuzz/events2_fuzz.dict tests/fuzz/corpus/events2_fuzz
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/drbd_commands.hpp"
#include "storage/drbd_show.hpp"
#include "storage/resource_state.hpp"

using namespace bascule::storage;  // a fuzz target, nobody includes it

namespace {

/// What must hold whatever was fed in.
void judge(const ResourceTable& table, ResyncMeter& meter, std::uint64_t now) {
  BASCULE_CHECK(table.all().size() <= ResourceTable::max_resources);
  for (const auto& [name, state] : table.all()) {
    BASCULE_CHECK(state.present && state.name == name && name.size() <= EventLimits::name_bytes);
    BASCULE_CHECK(state.volumes.size() <= ResourceTable::max_volumes);
    if (in_sync(state)) {
      BASCULE_CHECK(state.connection == Connection::connected);
      BASCULE_CHECK(check_promotable(state).has_value());
    }
    if (check_promotable(state)) {
      for (const auto& [index, volume] : state.volumes) BASCULE_CHECK(volume.disk >= Disk::consistent);
    }
    const auto progress = meter.update(state, now);
    BASCULE_CHECK(progress.percent >= -1 && progress.percent <= 100);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);  // NOLINT(*-reinterpret-cast): bytes as text
  ResourceTable table;
  ResyncMeter meter;
  std::string_view rest = text;
  std::uint64_t lines = 0;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto applied = table.apply(rest.substr(0, end));
    if (!applied.resource.empty()) BASCULE_CHECK(table.get(applied.resource).name == applied.resource);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++lines;
    if (lines % 8 == 0) judge(table, meter, lines * 37);
  }
  judge(table, meter, lines * 37);
  BASCULE_CHECK(table.counters().lines == lines);
  const auto shown = parse_show(text);
  if (shown) BASCULE_CHECK(shown->disk.size() <= text.size());
  static_cast<void>(failure_code(text));
  static_cast<void>(just_created(text));
  return 0;
}
