#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "storage/events2.hpp"
#include "storage/resource_state.hpp"
#include "tests/unit/storage_fixture.hpp"

namespace bascule::storage {
namespace {
using core::Errc;

const std::string kStamp = "2026-11-23T04:57:05.122219+00:00 ";

/// Recorded from drbdsetup 8.4 on a kernel with DRBD 8.4.11: two volumes, both Inconsistent, not connected.
const std::vector<std::string> kDump84 = {
    "exists resource name:vm-web role:Secondary suspended:no write-ordering:flush",
    "exists connection name:vm-web peer-node-id:0 connection:StandAlone role:Unknown congested:no",
    "exists device name:vm-web volume:0 minor:100 disk:Inconsistent size:66520 read:0 written:0 al-writes:8 "
    "bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:yes blocked:no",
    "exists device name:vm-web volume:1 minor:101 disk:Inconsistent size:66520 read:0 written:0 al-writes:8 "
    "bm-writes:0 upper-pending:0 lower-pending:0 al-suspended:yes blocked:no",
    "exists peer-device name:vm-web peer-node-id:0 volume:0 replication:Off peer-disk:DUnknown resync-suspended:no "
    "received:0 sent:0 out-of-sync:66520 pending:0 unacked:0",
    "exists peer-device name:vm-web peer-node-id:0 volume:1 replication:Off peer-disk:DUnknown resync-suspended:no "
    "received:0 sent:0 out-of-sync:66520 pending:0 unacked:0",
    "exists -",
};
/// What followed: connect, first sync skipped, peer promoted.
const std::vector<std::string> kLife84 = {
    "create connection name:vm-web peer-node-id:0 conn-name:peer connection:StandAlone role:Unknown congested:no",
    "create peer-device name:vm-web peer-node-id:0 conn-name:peer volume:0 replication:Off peer-disk:DUnknown "
    "resync-suspended:no received:0 sent:0 out-of-sync:66520 pending:0 unacked:0",
    "change connection name:vm-web peer-node-id:0 conn-name:peer connection:Unconnected",
    "change connection name:vm-web peer-node-id:0 conn-name:peer connection:Connecting",
    "change connection name:vm-web peer-node-id:0 conn-name:peer connection:Connected",
    "change connection name:vm-web peer-node-id:0 conn-name:peer role:Secondary",
    "change peer-device name:vm-web peer-node-id:0 conn-name:peer volume:0 replication:Established "
    "peer-disk:Inconsistent received:0 sent:0 out-of-sync:66520 pending:0 unacked:0",
    "change peer-device name:vm-web peer-node-id:0 conn-name:peer volume:1 replication:Established "
    "peer-disk:Inconsistent received:0 sent:0 out-of-sync:66520 pending:0 unacked:0",
    "change device name:vm-web volume:0 minor:100 disk:UpToDate size:66520 read:0 written:0 al-writes:8 bm-writes:0 "
    "upper-pending:0 lower-pending:3 al-suspended:no",
    "change peer-device name:vm-web peer-node-id:0 conn-name:peer volume:0 peer-disk:UpToDate received:0 sent:0 "
    "out-of-sync:0 pending:0 unacked:0",
    "change device name:vm-web volume:1 minor:101 disk:UpToDate size:66520 read:0 written:0 al-writes:8 bm-writes:0 "
    "upper-pending:0 lower-pending:3 al-suspended:no",
    "change peer-device name:vm-web peer-node-id:0 conn-name:peer volume:1 peer-disk:UpToDate received:0 sent:0 "
    "out-of-sync:0 pending:0 unacked:0",
    "change connection name:vm-web peer-node-id:0 conn-name:peer role:Primary",
};

ResourceTable::Applied feed(ResourceTable& table, const std::vector<std::string>& lines) {
  ResourceTable::Applied last;
  for (const auto& line : lines) last = table.apply(kStamp + line);
  return last;
}

ResourceTable connected_table() {
  ResourceTable table;
  feed(table, kDump84);
  feed(table, kLife84);
  return table;
}

TEST(Events2, ReadsTheInitialDumpOf84) {
  ResourceTable table;
  EXPECT_FALSE(table.complete());
  EXPECT_TRUE(feed(table, kDump84).completed);
  EXPECT_TRUE(table.complete());
  const auto state = table.get("vm-web");
  EXPECT_TRUE(state.present);
  EXPECT_EQ(state.role, Role::secondary);
  EXPECT_EQ(state.connection, Connection::stand_alone);
  ASSERT_EQ(state.volumes.size(), 2U);
  EXPECT_EQ(state.volumes.at(1).minor, 101U);
  EXPECT_EQ(state.volumes.at(1).disk, Disk::inconsistent);
  EXPECT_EQ(state.volumes.at(1).peer_disk, Disk::unknown);
  EXPECT_EQ(state.volumes.at(1).size_kib, 66520U);
  EXPECT_EQ(state.volumes.at(1).out_of_sync_kib, 66520U);
  EXPECT_EQ(table.counters(), (EventCounters{.lines = 7}));
}

TEST(Events2, FollowsARecordedLifeToInSync) {
  const auto table = connected_table();
  const auto state = table.get("vm-web");
  EXPECT_EQ(state.connection, Connection::connected);
  EXPECT_EQ(state.peer_role, Role::primary);
  EXPECT_TRUE(in_sync(state));
  EXPECT_TRUE(in_sync(state, sample_resource()));
  EXPECT_EQ(table.counters().malformed + table.counters().unknown_values, 0U);
}

TEST(Events2, ReportsAChangeOnlyWhenSomethingChanged) {
  auto table = connected_table();
  EXPECT_EQ(table.apply("change connection name:vm-web peer-node-id:0 role:Primary").resource, "");
  EXPECT_EQ(table.apply("change connection name:vm-web peer-node-id:0 role:Secondary").resource, "vm-web");
  EXPECT_EQ(table.apply("change device name:vm-web volume:0 read:77").resource, "");
}

TEST(Events2, SeesTheFreezeAndTheLossOfTheLink) {
  auto table = connected_table();
  table.apply("change resource name:vm-web role:Primary suspended:fencing");
  table.apply("change connection name:vm-web peer-node-id:0 conn-name:peer connection:NetworkFailure role:Unknown");
  table.apply("change peer-device name:vm-web peer-node-id:0 volume:0 replication:Off peer-disk:DUnknown");
  auto state = table.get("vm-web");
  EXPECT_TRUE(state.suspended_fencing);
  EXPECT_TRUE(state.frozen());
  EXPECT_EQ(state.connection, Connection::network_failure);
  EXPECT_FALSE(in_sync(state, 0));
  table.apply("change resource name:vm-web suspended:user,no-data");
  state = table.get("vm-web");
  EXPECT_FALSE(state.suspended_fencing);
  EXPECT_TRUE(state.suspended_user && state.suspended_no_data);
  table.apply("change resource name:vm-web suspended:no");
  EXPECT_FALSE(table.get("vm-web").frozen());
}

TEST(Events2, ForgetsThePeerWhenTheConnectionIsDestroyed) {
  auto table = connected_table();
  table.apply("destroy peer-device name:vm-web peer-node-id:0 conn-name:peer volume:0");
  table.apply("destroy connection name:vm-web peer-node-id:0 conn-name:peer");
  const auto state = table.get("vm-web");
  EXPECT_EQ(state.connection, Connection::stand_alone);
  EXPECT_EQ(state.peer_role, Role::unknown);
  EXPECT_EQ(state.volumes.at(1).peer_disk, Disk::unknown);
  EXPECT_EQ(state.volumes.at(1).replication, Replication::off);
  EXPECT_EQ(state.volumes.at(1).disk, Disk::up_to_date);
}

TEST(Events2, ForgetsAResourceThatGoesDown) {
  auto table = connected_table();
  table.apply("destroy device name:vm-web volume:0 minor:100");
  EXPECT_EQ(table.get("vm-web").volumes.size(), 1U);
  EXPECT_EQ(table.apply("destroy resource name:vm-web").resource, "vm-web");
  EXPECT_EQ(table.find("vm-web"), nullptr);
  EXPECT_FALSE(table.get("vm-web").present);
  // Late destructions of its parts must not bring it back.
  table.apply("destroy connection name:vm-web peer-node-id:0");
  EXPECT_EQ(table.find("vm-web"), nullptr);
}

TEST(Events2, ReadsTheLinesOf9) {
  ResourceTable table;
  for (const char* line :
       {"exists resource name:vm-web role:Primary suspended:no force-io-failures:no may_promote:no "
        "promotion_score:10101",
        "exists connection name:vm-web peer-node-id:1 conn-name:b1 connection:Connected role:Secondary congested:no "
        "ap-in-flight:0 rs-in-flight:0",
        "exists path name:vm-web peer-node-id:1 conn-name:b1 local:ipv4:10.0.0.1:7800 peer:ipv4:10.0.0.2:7800 "
        "established:yes",
        "exists device name:vm-web volume:0 minor:100 backing_dev:/dev/vg0/x disk:UpToDate client:no quorum:yes "
        "size:1024",
        "exists peer-device name:vm-web peer-node-id:1 conn-name:b1 volume:0 replication:SyncSource "
        "peer-disk:Inconsistent peer-client:no resync-suspended:no received:0 sent:40 out-of-sync:512 done:50.00",
        "exists -"}) {
    table.apply(line);
  }
  const auto state = table.get("vm-web");
  EXPECT_TRUE(table.complete());
  EXPECT_EQ(state.peer_id, 1U);
  EXPECT_EQ(state.volumes.at(0).replication, Replication::sync_source);
  EXPECT_EQ(state.volumes.at(0).out_of_sync_kib, 512U);
  EXPECT_EQ(table.counters(), (EventCounters{.lines = 6}));
}

TEST(Events2, AsksForARestartWhenNotificationsWereLost) {
  auto table = connected_table();
  EXPECT_TRUE(table.apply("- skipped 12").restart_needed);
  EXPECT_TRUE(table.apply(kStamp + "- skipped 1").restart_needed);
  EXPECT_TRUE(table.apply("rename resource name:a new_name:b").restart_needed);
}

/// Between the lines of the dump stands what happened meanwhile. The dump's picture was taken before it was sent.
TEST(Events2, AsksForARestartWhenTheDumpIsOlderThanAChangeBeforeIt) {
  const std::string told =
      "change connection name:vm-web peer-node-id:0 conn-name:peer connection:Connected role:Secondary";
  const std::string older = "exists connection name:vm-web peer-node-id:0 conn-name:peer role:Primary";
  ResourceTable table;
  feed(table, {kDump84[0], told});
  EXPECT_TRUE(table.apply(older).restart_needed);

  ResourceTable gone;  // what the dump brings back
  feed(gone, {"destroy peer-device name:vm-web peer-node-id:0 volume:0", "destroy resource name:vm-web"});
  EXPECT_TRUE(gone.apply(kDump84[0]).restart_needed);

  ResourceTable other;  // of another object, or without a difference, or the other way round, nothing is in doubt
  feed(other,
       {kDump84[0], told, kDump84[2], "exists connection name:vm-web peer-node-id:0 conn-name:peer", "exists -"});
  EXPECT_TRUE(other.complete());
  EXPECT_EQ(other.get("vm-web").peer_role, Role::secondary);
  ResourceTable figures;  // a figure is of the moment it is sent
  feed(figures,
       {kDump84[0], "change peer-device name:vm-web peer-node-id:0 volume:0 replication:SyncSource out-of-sync:900"});
  EXPECT_FALSE(figures.apply("exists peer-device name:vm-web peer-node-id:0 volume:0 out-of-sync:800").restart_needed);
  EXPECT_EQ(figures.get("vm-web").volumes.at(0).out_of_sync_kib, 800U);
  ResourceTable order;
  feed(order, {kDump84[0], kDump84[1]});
  EXPECT_FALSE(order.apply(told).restart_needed);
  EXPECT_EQ(order.get("vm-web").peer_role, Role::secondary);
  EXPECT_FALSE(connected_table().apply(older).restart_needed);  // after the dump there is no picture
}

TEST(Events2, CountsWhatItDoesNotKnowAndNeverKeepsABetterStateForIt) {
  auto table = connected_table();
  table.apply("change device name:vm-web volume:0 disk:Sparkling");
  EXPECT_EQ(table.get("vm-web").volumes.at(0).disk, Disk::unknown);
  EXPECT_FALSE(check_promotable(table.get("vm-web")));
  table.apply("change connection name:vm-web connection:Quantum");
  EXPECT_EQ(table.get("vm-web").connection, Connection::unknown);
  table.apply("explode resource name:vm-web");
  table.apply("change moon name:vm-web");
  table.apply("change device name:vm-web volume:zero");
  table.apply("change device name:vm-web volume:0 size:12x");
  table.apply("change");
  table.apply("");
  const auto& c = table.counters();
  EXPECT_EQ(c.unknown_values, 3U);
  EXPECT_EQ(c.unknown_actions, 1U);
  EXPECT_EQ(c.unknown_objects, 1U);
  EXPECT_EQ(c.malformed, 3U);
}

TEST(Events2, HoldsItsLimits) {
  EXPECT_FALSE(parse_event(std::string(EventLimits::line_bytes + 1, 'a')).has_value());
  std::string many = "change resource";
  for (std::size_t i = 0; i <= EventLimits::fields; ++i) many += " k" + std::to_string(i) + ":v";
  EXPECT_FALSE(parse_event(many).has_value());
  EXPECT_FALSE(parse_event("change resource name:a\x01").has_value());
  ResourceTable table;
  table.apply("exists resource name:" + std::string(EventLimits::name_bytes + 1, 'n'));
  EXPECT_TRUE(table.all().empty());
  for (std::size_t i = 0; i < ResourceTable::max_volumes + 5; ++i) {
    table.apply("exists device name:vm-web volume:" + std::to_string(i) + " minor:1 disk:UpToDate");
  }
  EXPECT_EQ(table.get("vm-web").volumes.size(), ResourceTable::max_volumes);
  EXPECT_EQ(table.counters().dropped, 5U);
  for (std::size_t i = 0; i < ResourceTable::max_resources + 3; ++i) {
    table.apply("exists resource name:r" + std::to_string(i) + " role:Secondary suspended:no");
  }
  EXPECT_EQ(table.all().size(), ResourceTable::max_resources);
}

TEST(Events2, SplitsFieldsAtTheFirstColonOnly) {
  const auto event = parse_event("exists path name:vm-web local:ipv4:10.0.0.1:7800 bare");
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(*event->find("local"), "ipv4:10.0.0.1:7800");
  EXPECT_EQ(*event->find("bare"), "");
  EXPECT_FALSE(event->find("none").has_value());
}

TEST(Events2, EveryWordIsReadBackFromItsText) {
  for (int i = 0; i <= static_cast<int>(Replication::behind); ++i) {
    EXPECT_EQ(parse_replication(to_string(static_cast<Replication>(i))), static_cast<Replication>(i));
  }
  for (int i = 0; i <= static_cast<int>(Disk::up_to_date); ++i) {
    EXPECT_EQ(parse_disk(to_string(static_cast<Disk>(i))), static_cast<Disk>(i));
  }
  for (int i = 0; i <= static_cast<int>(Connection::connected); ++i) {
    EXPECT_EQ(parse_connection(to_string(static_cast<Connection>(i))), static_cast<Connection>(i));
  }
}

/// Row by row the promote matrix, as far as the own disk decides.
TEST(Promotable, FollowsTheMatrix) {
  const auto allowed = [](Disk disk, Replication replication) {
    ResourceState state;
    state.name = "vm-web";
    state.present = true;
    for (std::uint16_t i = 0; i < 2; ++i) state.volumes[i] = {100U + i, Disk::up_to_date, Disk::up_to_date};
    state.volumes[1].disk = disk;
    state.volumes[1].replication = replication;
    const bool ok = check_promotable(state, sample_resource()).has_value();
    EXPECT_EQ(ok, check_promotable(state).has_value());
    return ok;
  };
  for (const Disk disk : {Disk::up_to_date, Disk::consistent}) {
    EXPECT_TRUE(allowed(disk, Replication::off));
    EXPECT_TRUE(allowed(disk, Replication::established));
    EXPECT_TRUE(allowed(disk, Replication::verify_target));
    EXPECT_TRUE(allowed(disk, Replication::sync_source));
    EXPECT_FALSE(allowed(disk, Replication::sync_target));
    EXPECT_FALSE(allowed(disk, Replication::paused_sync_target));
    EXPECT_FALSE(allowed(disk, Replication::bitmap_target));
    EXPECT_FALSE(allowed(disk, Replication::behind));
    EXPECT_FALSE(allowed(disk, Replication::unknown));
  }
  for (const Disk disk : {Disk::unknown, Disk::diskless, Disk::attaching, Disk::detaching, Disk::failed,
                          Disk::negotiating, Disk::inconsistent, Disk::outdated}) {
    EXPECT_FALSE(allowed(disk, Replication::established)) << to_string(disk);
    EXPECT_FALSE(allowed(disk, Replication::off)) << to_string(disk);
  }
}

TEST(Promotable, NeedsEveryVolumeOfTheResource) {
  ResourceState state = connected_table().get("vm-web");
  EXPECT_TRUE(check_promotable(state, sample_resource()));
  state.volumes.erase(1);
  EXPECT_FALSE(check_promotable(state, sample_resource()));
  EXPECT_FALSE(in_sync(state, sample_resource()));
  state.volumes.clear();
  EXPECT_FALSE(check_promotable(state));
  EXPECT_FALSE(in_sync(state));
  const auto down = check_promotable(ResourceState{.name = "vm-web"}, sample_resource());
  ASSERT_FALSE(down.has_value());
  EXPECT_EQ(down.error().code, Errc::conflict);
}

TEST(InSync, MeansConnectedBothWholeAndNothingLeftToSend) {
  const std::pair<const char*, void (*)(ResourceState&)> table[] = {
      {"down", [](ResourceState& s) { s.present = false; }},
      {"not connected", [](ResourceState& s) { s.connection = Connection::connecting; }},
      {"own disk", [](ResourceState& s) { s.volumes[1].disk = Disk::consistent; }},
      {"the peer's disk", [](ResourceState& s) { s.volumes[1].peer_disk = Disk::outdated; }},
      {"a resync", [](ResourceState& s) { s.volumes[1].replication = Replication::sync_source; }},
      {"a verify has found a difference", [](ResourceState& s) { s.volumes[1].out_of_sync_kib = 4; }},
  };
  EXPECT_TRUE(in_sync(connected_table().get("vm-web"), sample_resource()));
  for (const auto& [name, change] : table) {
    ResourceState state = connected_table().get("vm-web");
    change(state);
    EXPECT_FALSE(in_sync(state, sample_resource())) << name;
  }
}

TEST(WorksOnPeer, IsAPrimaryWithoutADiskWhosePeerHasAllOfIt) {
  const auto diskless = [] {
    ResourceState state = connected_table().get("vm-web");
    state.role = Role::primary;
    state.volumes[1].disk = Disk::diskless;
    return state;
  };
  EXPECT_TRUE(works_on_peer(diskless(), 1));
  EXPECT_FALSE(works_on_peer(diskless(), 0)) << "this volume has its disk";
  EXPECT_FALSE(works_on_peer(diskless(), 7)) << "no such volume";
  const std::pair<const char*, void (*)(ResourceState&)> table[] = {
      {"down", [](ResourceState& s) { s.present = false; }},
      {"not connected", [](ResourceState& s) { s.connection = Connection::connecting; }},
      {"no primary", [](ResourceState& s) { s.role = Role::secondary; }},
      {"a disk that only failed", [](ResourceState& s) { s.volumes[1].disk = Disk::failed; }},
      {"the peer is not whole", [](ResourceState& s) { s.volumes[1].peer_disk = Disk::inconsistent; }},
      {"a resync", [](ResourceState& s) { s.volumes[1].replication = Replication::sync_source; }},
  };
  for (const auto& [name, change] : table) {
    ResourceState state = diskless();
    change(state);
    EXPECT_FALSE(works_on_peer(state, 1)) << name;
  }
}

TEST(ResyncMeter, SaysHowFarAndHowFast) {
  ResourceState state = connected_table().get("vm-web");
  ResyncMeter meter;
  EXPECT_EQ(meter.update(state, 0).percent, -1);
  state.volumes[0].replication = Replication::sync_source;
  state.volumes[0].out_of_sync_kib = 100'000;
  auto p = meter.update(state, 1'000);
  EXPECT_TRUE(p.active);
  EXPECT_EQ(p.percent, 0);
  EXPECT_FALSE(p.rate_kib_s.has_value());
  state.volumes[0].out_of_sync_kib = 40'000;
  p = meter.update(state, 4'000);
  EXPECT_EQ(p.percent, 60);
  EXPECT_EQ(p.rate_kib_s, 20'000U);
  EXPECT_EQ(p.left_s, 2U);
  state.volumes[0].out_of_sync_kib = 1;
  EXPECT_EQ(meter.update(state, 6'000).percent, 99) << "100 only when nothing is left";
  state.volumes[0].out_of_sync_kib = 0;
  state.volumes[0].replication = Replication::established;
  p = meter.update(state, 7'000);
  EXPECT_EQ(p.percent, 100);
  EXPECT_FALSE(p.active);
}

TEST(ResyncMeter, SurvivesAbsurdNumbers) {
  ResourceState state = connected_table().get("vm-web");
  ResyncMeter meter;
  state.volumes[0].out_of_sync_kib = ~std::uint64_t{0};
  state.volumes[1].out_of_sync_kib = ~std::uint64_t{0};
  for (std::uint64_t now : {5ULL, 3ULL, ~0ULL}) {
    const auto p = meter.update(state, now);
    EXPECT_GE(p.percent, -1);
    EXPECT_LE(p.percent, 100);
    state.volumes[0].out_of_sync_kib = 7;
  }
}

}  // namespace
}  // namespace bascule::storage
