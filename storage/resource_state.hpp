// What DRBD says of every resource on this host, built from events2. Pure: the same lines give the
// same state.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "hostd/core/error.hpp"
#include "storage/events2.hpp"
#include "storage/resource.hpp"

namespace bascule::storage {

struct VolumeState {
  std::uint32_t minor{};
  Disk disk{Disk::diskless};
  Disk peer_disk{Disk::unknown};
  Replication replication{Replication::off};
  std::uint64_t size_kib{};
  std::uint64_t out_of_sync_kib{};
  std::string resync_suspended{"no"};  ///< no, or a list of user, peer, dependency
  bool operator==(const VolumeState&) const = default;
};

struct ResourceState {
  std::string name;
  bool present{};  ///< the kernel knows the resource; false: down
  Role role{Role::unknown};
  bool suspended_fencing{};  ///< frozen until the fence-peer decision
  bool suspended_no_data{};
  bool suspended_user{};
  bool suspended_quorum{};      ///< 9
  std::string suspended{"no"};  ///< as printed
  Connection connection{Connection::stand_alone};
  Role peer_role{Role::unknown};
  std::uint32_t peer_id{};                       ///< DRBD 9's node id of the peer; 0 on 8.4
  std::map<std::uint16_t, VolumeState> volumes;  ///< by volume number
  bool operator==(const ResourceState&) const = default;

  bool frozen() const { return suspended_fencing || suspended_no_data || suspended_user || suspended_quorum; }
};

/// What was not understood; anything but zero is worth a log line, none of it stops the stream.
struct EventCounters {
  std::uint64_t lines{}, malformed{}, unknown_actions{}, unknown_objects{}, unknown_values{}, dropped{};
  bool operator==(const EventCounters&) const = default;
};

/// All resources, as one run of events2 tells them.
class ResourceTable {
 public:
  static constexpr std::size_t max_resources = 8192;  // twice Limits::vms: ours and the operator's own
  static constexpr std::size_t max_volumes = 64;      // of one resource

  struct Applied {
    std::string resource;   ///< whose state changed; empty: none
    bool completed{};       ///< this line ended the initial dump
    bool restart_needed{};  ///< the lines no longer tell what is so (`why`): start events2 again with a new table
    std::string_view why;   ///< a sentence's part, when a restart is needed
  };
  /// Applies one line. Never fails: what it cannot use is counted.
  Applied apply(std::string_view line);
  Applied apply(const Event& event);

  /// The whole initial dump has been read; before that, absent means nothing.
  bool complete() const { return complete_; }
  const ResourceState* find(std::string_view name) const;
  /// The state, or that of a resource that is down (present = false).
  ResourceState get(std::string_view name) const;
  const std::map<std::string, ResourceState, std::less<>>& all() const { return resources_; }
  const EventCounters& counters() const { return counters_; }

 private:
  bool told_before(const Event& event);
  ResourceState* slot(const Event& event);
  VolumeState* volume_slot(ResourceState& state, const Event& event);
  void apply_resource(ResourceState& state, const Event& event);
  void apply_connection(ResourceState& state, const Event& event);
  void apply_device(ResourceState& state, const Event& event);
  void apply_peer_device(ResourceState& state, const Event& event);
  template <class T, class Parse>
  void set(T& target, const Event& event, std::string_view key, Parse parse);
  void set_number(std::uint64_t& target, const Event& event, std::string_view key);

  std::map<std::string, ResourceState, std::less<>> resources_;
  std::set<std::string> told_;  // objects of which something else than `exists` was told during the dump
  EventCounters counters_;
  bool complete_{};
};

/// R3's question: Connected, and every volume of the resource Established, UpToDate on both sides,
/// nothing out of sync.
bool in_sync(const ResourceState& state, const Resource& resource);
bool in_sync(const ResourceState& state, std::uint16_t volume);
bool in_sync(const ResourceState& state);  ///< every volume the kernel has
/// A Primary whose own disk of this volume is gone and whose peer, connected, has all of it. The kernel lets a Primary
/// without a disk connect to nothing but the generation that it worked on, and a leg is UpToDate beside a connected
/// Primary only once its resync has ended.
bool works_on_peer(const ResourceState& state, std::uint16_t volume);

/// S3 and R2: may this resource be promoted, as far as its own disks say? The record decides, this
/// only forbids. Errors: conflict, naming the volume and its state.
core::Result<> check_promotable(const ResourceState& state, const Resource& resource, Force force = Force::no);
/// The same for every volume the kernel has.
core::Result<> check_promotable(const ResourceState& state, Force force = Force::no);

/// True while this volume receives or sends a resync (also paused or about to start).
bool resyncing(const VolumeState& volume);
bool verifying(const VolumeState& volume);

/// Turns snapshots of out-of-sync into progress. `now` is the caller's monotonic clock.
class ResyncMeter {
 public:
  struct Progress {
    bool active{};    ///< some volume resyncs
    int percent{-1};  ///< of what was out of sync at the start; 100 only when nothing is left
    std::uint64_t left_kib{}, total_kib{};
    std::optional<std::uint64_t> rate_kib_s;  ///< since the start; nullopt before anything can be said
    std::optional<std::uint64_t> left_s;
  };
  Progress update(const ResourceState& state, std::uint64_t now_ms);

 private:
  std::uint64_t total_kib_{}, first_left_kib_{}, first_ms_{};
  bool started_{};
};

}  // namespace bascule::storage
