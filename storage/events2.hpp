// Lines of `drbdsetup events2 [--now] --timestamps --statistics`, from the tools for DRBD 8.4 and
// for 9, as values. Never throws; anything not known is kept as such and counted by the reducer
// (resource_state.hpp). Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "hostd/core/error.hpp"

namespace bascule::storage {

struct EventLimits {
  static constexpr std::size_t line_bytes = 4096;  // the longest real line is about 400
  static constexpr std::size_t fields = 48;        // DRBD 9 prints up to 26
  static constexpr std::size_t name_bytes = 128;   // a resource's name
};

enum class EventAction : std::uint8_t { exists, create, change, destroy, call, response, rename, skipped, unknown };
enum class EventObject : std::uint8_t {
  resource,
  device,
  connection,
  peer_device,
  path,
  helper,
  none,  ///< "-": the end of the initial dump
  unknown,
};

enum class Role : std::uint8_t { unknown, primary, secondary };
/// In the kernel's order: "below UpToDate" means a smaller value. `unknown` is DUnknown.
enum class Disk : std::uint8_t {
  unknown,
  diskless,
  attaching,
  detaching,
  failed,
  negotiating,
  inconsistent,
  outdated,
  consistent,
  up_to_date,
};
enum class Connection : std::uint8_t {
  unknown,
  stand_alone,
  disconnecting,
  unconnected,
  timeout,
  broken_pipe,
  network_failure,
  protocol_error,
  tear_down,
  connecting,
  connected,
};
enum class Replication : std::uint8_t {
  unknown,
  off,
  established,
  starting_sync_source,
  starting_sync_target,
  bitmap_source,
  bitmap_target,
  waiting_uuid,
  sync_source,
  sync_target,
  paused_sync_source,
  paused_sync_target,
  verify_source,
  verify_target,
  ahead,
  behind,
};

/// DRBD's own words, as in VmStatus.
std::string_view to_string(Role v);
std::string_view to_string(Disk v);
std::string_view to_string(Connection v);
std::string_view to_string(Replication v);
std::optional<Role> parse_role(std::string_view s);
std::optional<Disk> parse_disk(std::string_view s);
std::optional<Connection> parse_connection(std::string_view s);
std::optional<Replication> parse_replication(std::string_view s);

/// One line; its texts point into the line, which must outlive it.
struct Event {
  struct Field {
    std::string_view key, value;
  };
  std::string_view timestamp;  ///< as printed, local time; empty when there is none
  EventAction action{EventAction::unknown};
  EventObject object{EventObject::unknown};
  std::array<Field, EventLimits::fields> fields{};
  std::size_t field_count{};

  /// The value of a key; nullopt when the line does not have it.
  std::optional<std::string_view> find(std::string_view key) const;
  /// The same as a number; nullopt also when it is not one.
  std::optional<std::uint64_t> number(std::string_view key) const;
};

/// Errors: invalid (too long, too many fields, control characters, no action and object). Unknown
/// words are not errors.
core::Result<Event> parse_event(std::string_view line);

}  // namespace bascule::storage
