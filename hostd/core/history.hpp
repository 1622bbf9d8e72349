// How a VM fared over time: how long it ran, lay, was protected, or could not be seen. Pure; the shell is
// hostd/history_loop, the records are hostd/runtime/cell/history.
//
// Every host that has a leg of a VM looks at it with each change it is told of, and remembers what it saw for a while
// (HistoryMemory). One host writes it down, into one record per VM and day (HistoryDay): the run-right's holder, or the
// other host while that one is silent. A record says up to when it counts (`until_ms`), and what was seen before that
// is not counted again: whoever writes, and however often, a moment counts once. What nobody saw is never counted as
// up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/timing.hpp"
#include "hostd/core/view.hpp"

namespace bascule::core {

enum class HistoryState : std::uint8_t {
  off,   ///< it should not run
  up,    ///< its guest runs
  down,  ///< it should run and does not, or its disks are frozen
  unknown,
};

/// Why it was down: for people, so as near as the records tell.
enum class OutageWhy : std::uint8_t {
  not_seen,     ///< it was started anew in a time that nobody saw
  host_lost,    ///< its host fell silent, or a failover was at work
  guest_ended,  ///< the guest was gone, by itself or with its machine
  starting,     ///< a start was at work
  moving,       ///< its guest was paused while it was handed over
  frozen,       ///< its disks waited for a decision
  paused,
  operation,  ///< another operation was at work
};

struct Outage {
  WallMs from_ms{}, to_ms{};
  OutageWhy why{};
  std::string operation;  ///< that was at work on it; empty: none was seen
  bool operator==(const Outage&) const = default;
};

/// One VM's day, in UTC. Up, down, unknown and off add up to until_ms - since_ms.
struct HistoryDay {
  std::string day;  ///< 2026-11-28
  WallMs since_ms{}, until_ms{};
  std::int64_t up_ms{}, down_ms{}, unknown_ms{}, off_ms{};
  std::int64_t protected_ms{};            ///< of up and down: both legs could run it
  std::int64_t resync_ms{};               ///< a leg was being brought up to date
  std::vector<std::uint64_t> behind_kib;  ///< by hour: the most that the other leg lacked; empty: never anything
  std::vector<Outage> outages;
  std::uint32_t more_outages{};  ///< that the list has no room for
  std::uint32_t failovers{};
  // As it stood at until_ms:
  HistoryState state{};
  bool both_legs{};
  std::int64_t epoch{};       ///< of the run-right when its state was known last
  std::int64_t unsure_ms{};   ///< unknown time up to until_ms: what is seen next may say that it was down
  std::string last_failover;  ///< its operation
  std::string by;             ///< the host that wrote it
  bool operator==(const HistoryDay&) const = default;
};

struct HistoryLimits {
  static constexpr std::size_t days = 400;         ///< kept of a VM
  static constexpr std::size_t records = 400'000;  ///< in a cell; at about 500 bytes 200 MB of etcd's 2 GiB
  static constexpr std::size_t outages = 50;       ///< listed of a day; a record stays below 12 KiB
  static constexpr std::size_t spans = 96;         ///< remembered of a VM
  static constexpr WallMs remembered_ms = WallMs{30} * 60'000;  ///< longer than the slowest pace of writing
  static constexpr Mono hole{10'000};                           ///< between two looks: more was not seen
  static constexpr WallMs jump_ms = 2'000;                      ///< of the wall clock against the monotonic one
  static constexpr WallMs back_ms = kHourMs;                    ///< a clock that goes back by more was wrong before
  static constexpr Mono settle{3'000};                          ///< between two writes of one VM
  static constexpr Mono first{20'000};  ///< a hostd that has just started lets the other host write first what it saw
  static constexpr Mono pace{300'000};  ///< when nothing changes
  static constexpr Mono pace_per_vm{300};  ///< so that a large cell writes no more than about three a second
  static constexpr WallMs fresh_ms = WallMs{30} * 60'000;  ///< a record is not older while somebody writes
};

/// What one host makes of one VM at one moment.
struct HistoryLook {
  std::string holder;      ///< of the run-right
  std::string instance;    ///< of the holder's hostd
  bool silent{};           ///< the holder is
  Revision incarnation{};  ///< of the VM: one that is made again under the same name is another
  HistoryState state{};
  OutageWhy why{};
  std::string operation, failover;  ///< at work; `failover`: the same if it is one
  bool both_legs{}, resync{}, move{};
  std::uint64_t behind_kib{};
  std::int64_t epoch{};
};
/// Nullopt: there is no such VM, or it is still being made.
std::optional<HistoryLook> history_look(const CellView& view, const std::string& vm);
/// The host that writes it down; empty: nobody.
std::string history_writer(const CellView& view, const std::string& vm);

struct HistoryClock {
  Mono now{};     ///< this host's monotonic clock
  WallMs wall{};  ///< its wall clock
  Mono heard{};   ///< how long ago the holder gave a sign of life; 0: it is this host
};

/// What was seen without a change, within one hour.
struct HistorySpan {
  WallMs from{}, to{};
  HistoryState state{};
  OutageWhy why{};
  std::string operation, failover;
  bool both_legs{}, resync{}, move{};
  std::uint64_t behind_kib{};
  std::int64_t epoch{};
  bool operator==(const HistorySpan&) const = default;
};

/// What one hostd has seen of one VM; lost without harm.
struct HistoryMemory {
  std::vector<HistorySpan> spans;  ///< oldest first, none overlaps another
  std::optional<HistoryLook> last;
  Mono began{}, at{};  ///< monotonic, of the first and the last look
  WallMs wall{};       ///< of the last look
  WallMs until{};      ///< what was before is in `spans`, or was not seen
  bool restarted{};    ///< the holder's hostd has: what this host saw before is not in its memory
};

/// One more look. A moment counts for the state that stood when it began.
void history_step(HistoryMemory& memory, const HistoryLook& look, const HistoryClock& clock);
/// What was seen up to here is in a record.
void history_written(HistoryMemory& memory, WallMs until);

/// The records of yesterday and today (oldest first, either may be missing) with what was seen since: those that
/// changed or are new, oldest first.
std::vector<HistoryDay> history_apply(std::vector<HistoryDay> days, const std::vector<HistorySpan>& spans,
                                      const std::string& self);

/// Whether to write now. `newest`: nullopt when there is no record yet; `wrote`: when this host did last.
bool history_due(const HistoryMemory& memory, const std::optional<HistoryDay>& newest, bool writer,
                 std::optional<Mono> wrote, Mono now, std::size_t vms);
/// Days to keep of each VM, so that a cell of this many stays within HistoryLimits::records.
std::size_t history_days_kept(std::size_t vms);

/// A whole stretch of days, with the days and hours that no record speaks of as not known.
struct History {
  std::vector<HistoryDay> days;  ///< oldest first; sums of each day, up to now or to the last record if it is fresh
  HistoryDay sum;                ///< of all of them; `day` is empty
  std::size_t outages{};         ///< one over midnight counts once
  std::int64_t longest_ms{};
  /// Parts of 1: of the time in which it should run and was seen; nullopt when there is none.
  std::optional<double> available, protection;
  std::optional<double> available_least;  ///< if it had been down in all the time that nobody saw
};
/// `records`: of the last `days` days up to now, oldest first; `began`: the day of the oldest record there is, empty:
/// there is none.
History history_of(const std::vector<HistoryDay>& records, const std::string& began, WallMs now, std::size_t days);

/// 2026-11-28, in UTC.
std::string history_day(WallMs at);
/// The first moment of that day; nullopt when the text is no day.
std::optional<WallMs> history_day_start(std::string_view day);

std::string_view to_string(HistoryState v);
std::string_view to_string(OutageWhy v);
std::optional<HistoryState> parse_history_state(std::string_view s);
std::optional<OutageWhy> parse_outage_why(std::string_view s);

}  // namespace bascule::core
