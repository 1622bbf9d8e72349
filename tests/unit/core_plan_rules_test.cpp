// The rules that admission is made of, each with its error text.
#include "hostd/core/plan_rules.hpp"

#include <functional>

#include "core_fixture.hpp"

namespace bascule::core {
namespace {

using test::cell;
using test::spec;
using test::text;

TEST(CheckSpec, NamesTheFieldThatIsWrong) {
  const std::string name_rule = ": a name is 1 to 40 lower-case letters, digits and inner hyphens";
  const struct {
    std::function<void(VmSpec&)> change;
    std::string wanted;
  } table[] = {
      {[](VmSpec&) {}, "ok"},
      {[](VmSpec& s) { s.name = "../x"; }, "invalid: name" + name_rule},
      {[](VmSpec& s) { s.project = ""; }, "invalid: project" + name_rule},
      {[](VmSpec& s) { s.cpus = 0; }, "invalid: cpus: 1 to 255"},
      {[](VmSpec& s) { s.cpus = 1; }, "ok"},
      {[](VmSpec& s) { s.cpus = 255; }, "ok"},
      {[](VmSpec& s) { s.cpus = 256; }, "invalid: cpus: 1 to 255"},
      {[](VmSpec& s) { s.memory_mib = 63; }, "invalid: memory_mib: 64 to 1048576"},
      {[](VmSpec& s) { s.memory_mib = 64; }, "ok"},
      {[](VmSpec& s) { s.memory_mib = 1048576; }, "ok"},
      {[](VmSpec& s) { s.memory_mib = 1048577; }, "invalid: memory_mib: 64 to 1048576"},
      {[](VmSpec& s) { s.migration_policy = "fast"; }, "invalid: migration_policy: gentle, standard or must-finish"},
      {[](VmSpec& s) { s.migration_policy = ""; }, "invalid: migration_policy: gentle, standard or must-finish"},
      {[](VmSpec& s) { s.migration_policy = "gentle"; }, "ok"},
      {[](VmSpec& s) { s.migration_policy = "must-finish"; }, "ok"},
      {[](VmSpec& s) { s.nominal_host = "A1"; }, "invalid: hosts" + name_rule},
      {[](VmSpec& s) { s.peer_host = "b1/.."; }, "invalid: hosts" + name_rule},
      {[](VmSpec& s) { s.nominal_host = s.peer_host = ""; }, "ok"},
      {[](VmSpec& s) { s.volumes.clear(); }, "invalid: volumes: 1 to 8 are needed, 0 given"},
      {[](VmSpec& s) { s.volumes.resize(9, {"v", 64, ""}); }, "invalid: volumes: 1 to 8 are needed, 9 given"},
      {[](VmSpec& s) { s.volumes[0].name = "Root"; }, "invalid: volumes.name" + name_rule},
      {[](VmSpec& s) { s.volumes.push_back(s.volumes[0]); }, "invalid: volumes.name: 'root' is there twice"},
      {[](VmSpec& s) { s.volumes[0].size_mib = 7; }, "invalid: volumes.size_mib of 'root': 8 to 16777216 MiB"},
      {[](VmSpec& s) { s.volumes[0].size_mib = 8; }, "ok"},
      {[](VmSpec& s) { s.volumes[0].size_mib = 16777216; }, "ok"},
      {[](VmSpec& s) { s.volumes[0].size_mib = 16777217; }, "invalid: volumes.size_mib of 'root': 8 to 16777216 MiB"},
      {[](VmSpec& s) { s.volumes[0].image = "a.qcow2"; }, "invalid: volumes.image" + name_rule},
      {[](VmSpec& s) { s.nics.clear(); }, "ok"},
      {[](VmSpec& s) { s.nics.resize(9, {"clients", ""}); }, "invalid: networks: at most 8"},
      {[](VmSpec& s) { s.nics[0].network = ""; }, "invalid: networks.network" + name_rule},
      {[](VmSpec& s) { s.nics[0].mac = "01:00:5e:00:00:01"; },
       "invalid: networks.mac: six lower-case hex pairs with colons, unicast"},
      {[](VmSpec& s) { s.nics[0].mac = ""; }, "ok"},
  };
  for (const auto& row : table) {
    VmSpec s = spec();
    row.change(s);
    EXPECT_EQ(text(check_spec(s)), row.wanted) << "row " << &row - table;
  }
}

TEST(FindVm, NeedsADefinitionNotJustAStatus) {
  CellView view = cell();
  EXPECT_EQ((*find_vm(view, "vm1"))->spec.value.name, "vm1");
  EXPECT_EQ(text(find_vm(view, "vm2")), "not-found: there is no VM 'vm2'");
  view.vms["vm2"].status["a1"] = {};
  EXPECT_EQ(text(find_vm(view, "vm2")), "not-found: there is no VM 'vm2'");
}

TEST(CheckHostAlive, TellsAnUnknownHostFromASilentOne) {
  CellView view = cell();
  EXPECT_EQ(text(check_host_alive(view, "a1")), "ok");
  EXPECT_EQ(text(check_host_alive(view, "c1")), "invalid: there is no host 'c1' in this cell");
  view.hosts["b1"].info = {};  // its lease came first
  EXPECT_EQ(text(check_host_alive(view, "b1")),
            "unavailable: host b1 has not described itself yet: its hostd is just starting. Nothing was changed; try "
            "again when `hostctl host list` shows it alive");
  view.hosts["a1"].silent = true;
  EXPECT_EQ(text(check_host_alive(view, "a1")),
            "unavailable: host a1 does not renew its lease: its hostd is down or cut off. Nothing was changed; try "
            "again when `hostctl host list` shows it alive");
}

TEST(FreeMemory, CountsWhatShouldRunHereAndWhatIsComing) {
  CellView view = cell();  // vm1, 256 MiB of 600 on a1
  EXPECT_EQ(free_memory_mib(view, "a1", ""), 344U);
  EXPECT_EQ(free_memory_mib(view, "a1", "vm1"), 600U) << "the VM asked for is not counted against itself";
  EXPECT_EQ(free_memory_mib(view, "b1", ""), 600U);
  EXPECT_EQ(free_memory_mib(view, "c1", ""), 0U) << "no such host";
  view.vms["vm1"].right.value.migrating_to = "b1";
  EXPECT_EQ(free_memory_mib(view, "b1", ""), 344U) << "it is coming";
  EXPECT_EQ(free_memory_mib(view, "a1", ""), 344U) << "and still here";
  view.vms["vm1"].right.value.migrating_to.reset();
  view.vms["vm1"].right.value.host = "b1";
  EXPECT_EQ(free_memory_mib(view, "b1", ""), 344U) << "the record says where, not the definition";
  EXPECT_EQ(free_memory_mib(view, "a1", ""), 600U);
  view.vms["vm1"].right = {};
  EXPECT_EQ(free_memory_mib(view, "a1", ""), 344U) << "being created: its nominal host keeps room for it";
  view.vms["vm1"].spec.value.power = Power::off;
  EXPECT_EQ(free_memory_mib(view, "a1", ""), 600U);
  view.vms["vm1"].spec.value.power = Power::on;
  view.vms["vm1"].spec.value.memory_mib = 601;
  EXPECT_EQ(free_memory_mib(view, "a1", ""), 0U) << "never below zero";
}

std::string placed(const CellView& view, VmSpec s, const std::string& self) {
  const auto r = place(view, s, self);
  return r ? s.nominal_host + "/" + s.peer_host : text(r);
}

TEST(Place, PicksTheFreestHostOfEachSite) {
  CellView view = cell();
  VmSpec s = spec("new");
  s.nominal_host = s.peer_host = "";
  EXPECT_EQ(placed(view, s, "b2"), "b2/a2") << "ties go to the host that was asked; a1 has less room than a2";
  EXPECT_EQ(placed(view, s, "a1"), "a2/b1") << "no tie: the host that was asked has less room";
  view.hosts["a2"].info.value.memory_mib = 10000;
  EXPECT_EQ(placed(view, s, "b2"), "a2/b1");
  view.hosts["a2"].silent = true;
  EXPECT_EQ(placed(view, s, "b2"), "b2/a1");
  s.peer_host = "b1";
  EXPECT_EQ(placed(view, s, "b2"), "a1/b1") << "not on the peer's site";
  s.nominal_host = "b2";
  s.peer_host = "";
  EXPECT_EQ(placed(view, s, "a1"), "b2/a1");
}

TEST(Place, RefusesWithTheReason) {
  const std::string silent = " does not renew its lease: its hostd is down or cut off. Nothing was changed; try again "
                             "when `hostctl host list` shows it alive";
  const struct {
    std::function<void(CellView&, VmSpec&)> change;
    std::string wanted;
  } table[] = {
      {[](CellView&, VmSpec& s) { s.nominal_host = s.peer_host = "", s.memory_mib = 700; },
       "exhausted: no live host has 700 MiB of memory free"},
      {[](CellView& v, VmSpec& s) {
         s.peer_host = "", s.memory_mib = 300, v.hosts["b1"].silent = v.hosts["b2"].silent = true;
       },
       "exhausted: no live host on the other site has enough memory for the second copy"},
      {[](CellView&, VmSpec& s) { s.peer_host = "", s.memory_mib = 601; },
       "exhausted: no live host on the other site has enough memory for the second copy"},
      {[](CellView&, VmSpec& s) { s.nominal_host = "c1"; }, "invalid: there is no host 'c1' in this cell"},
      {[](CellView&, VmSpec& s) { s.peer_host = "c1"; }, "invalid: there is no host 'c1' in this cell"},
      {[](CellView& v, VmSpec&) { v.hosts["a1"].silent = true; }, "unavailable: host a1" + silent},
      {[](CellView& v, VmSpec&) { v.hosts["b1"].silent = true; }, "unavailable: host b1" + silent},
      {[](CellView&, VmSpec& s) { s.peer_host = "a2"; },
       "invalid: hosts: a1 and a2 are on the same site; a volume has one leg on each"},
      {[](CellView&, VmSpec& s) { s.peer_host = "a1"; },
       "invalid: hosts: a1 and a1 are on the same site; a volume has one leg on each"},
      {[](CellView&, VmSpec& s) { s.nics[0].network = "backbone"; },
       "invalid: networks.network: host a1 has no network 'backbone'"},
      {[](CellView& v, VmSpec&) { v.hosts["b1"].info.value.networks.clear(); },
       "invalid: networks.network: host b1 has no network 'clients'"},
  };
  for (const auto& row : table) {
    CellView view = cell();
    VmSpec s = spec("new");
    row.change(view, s);
    EXPECT_EQ(placed(view, s, "a1"), row.wanted) << "row " << &row - table;
  }
}

TEST(GiveMacs, DerivesFromTheNameAndKeepsThemUnique) {
  CellView view = cell();
  VmSpec s = spec("new");
  s.nics = {{"clients", ""}, {"clients", ""}, {"clients", "52:54:00:00:00:02"}};
  ASSERT_EQ(text(give_macs(view, s)), "ok");
  EXPECT_TRUE(s.nics[0].mac.starts_with("52:54:00:"));
  EXPECT_NE(s.nics[0].mac, s.nics[1].mac);
  EXPECT_EQ(s.nics[2].mac, "52:54:00:00:00:02");

  VmSpec again = spec("new");
  again.nics = {{"clients", ""}};
  ASSERT_EQ(text(give_macs(view, again)), "ok");
  EXPECT_EQ(again.nics[0].mac, s.nics[0].mac) << "the same name gives the same address";

  view.vms["other"].spec.value.nics = {{"clients", s.nics[0].mac}};
  again.nics[0].mac.clear();
  ASSERT_EQ(text(give_macs(view, again)), "ok");
  EXPECT_NE(again.nics[0].mac, s.nics[0].mac) << "unless another VM has it already";

  s.nics = {{"clients", "52:54:00:00:00:01"}};
  EXPECT_EQ(text(give_macs(view, s)), "conflict: networks.mac: 52:54:00:00:00:01 is in use");
  s.nics = {{"clients", "52:54:00:00:00:09"}, {"clients", "52:54:00:00:00:09"}};
  EXPECT_EQ(text(give_macs(view, s)), "conflict: networks.mac: 52:54:00:00:00:09 is in use");
  VmSpec self = spec("vm1");
  EXPECT_EQ(text(give_macs(view, self)), "ok") << "its own address is not in its way";
}

TEST(LayOut, GivesEachVmAPortABlockOfMinorsAndLegsThatAreNew) {
  CellView view = cell();
  VmSpec s = spec("new");
  s.volumes = {{"root", 64, ""}, {"data", 32, ""}};
  const auto l = lay_out(view, s, "x");
  ASSERT_TRUE(l) << text(l);
  EXPECT_EQ(l->port, 7801) << "7800 is vm1's";
  EXPECT_EQ(l->volumes, (std::vector<VolumeLayout>{{"root", 108, 64, {{"a1", "xa0"}, {"b1", "xb0"}}},
                                                   {"data", 109, 32, {{"a1", "xa1"}, {"b1", "xb1"}}}}));
  view.vms.clear();
  EXPECT_EQ(lay_out(view, s, "x")->port, 7800);
  EXPECT_EQ(lay_out(view, s, "x")->volumes[0].minor, 100U);
}

TEST(LayOut, FillsTheGapThatARemovedVmLeft) {
  CellView view = cell();
  view.vms["vm2"].layout = {{7801, {{"root", 108, 64, {}}}}, 1, 1};
  view.vms["vm3"].layout = {{7802, {{"root", 116, 64, {}}}}, 1, 1};
  view.vms.erase("vm2");
  const auto l = lay_out(view, spec("new"), "x");
  EXPECT_EQ(l->port, 7801);
  EXPECT_EQ(l->volumes[0].minor, 108U);
}

TEST(LayOut, TakesPortsThatBothHostsOffer) {
  CellView view = cell();
  view.hosts["a1"].info.value.first_port = 7900;
  view.hosts["a1"].info.value.last_port = 7999;
  view.hosts["b1"].info.value.last_port = 7900;
  EXPECT_EQ(lay_out(view, spec("new"), "x")->port, 7900);
  view.vms["vm1"].layout.value.port = 7900;
  EXPECT_EQ(text(lay_out(view, spec("new"), "x")), "exhausted: no replication port is free on both hosts");
}

TEST(LayOut, EndsWhenEveryMinorIsTaken) {
  CellView view = cell();
  view.vms.clear();
  for (std::uint32_t i = 0; i < Limits::vms; ++i) {
    view.vms["v" + std::to_string(i)].layout = {{7800, {{"root", 100 + 8 * i, 64, {}}}}, 1, 1};
  }
  EXPECT_EQ(text(lay_out(view, spec("new"), "x")), "exhausted: no DRBD minor is free in this cell");
  view.vms.erase("v4095");
  EXPECT_EQ(lay_out(view, spec("new"), "x")->volumes[0].minor, 100U + 8 * 4095);
  EXPECT_LT(100U + 8 * 4095 + 7, 1U << 20U) << "DRBD's own ceiling";
}

TEST(CheckStart, NeedsARecordALiveHolderGoodLegsAndMemory) {
  const struct {
    std::function<void(CellView&, VmView&)> change;
    std::string wanted;
  } table[] = {
      {[](CellView&, VmView&) {}, "ok"},
      {[](CellView&, VmView& vm) { vm.right = {}; },
       "conflict: the VM has no run-right: its creation did not end, or it was restored from a backup and nobody has "
       "adopted it; nothing was changed"},
      {[](CellView& v, VmView&) { v.hosts["a1"].silent = true; },
       "unavailable: host a1 does not renew its lease: its hostd is down or cut off. Nothing was changed; try again "
       "when `hostctl host list` shows it alive"},
      {[](CellView& v, VmView&) { v.hosts["b1"].silent = true; }, "ok"},  // one site is enough to start
      {[](CellView&, VmView& vm) { vm.right.value.migrating_to = "b1"; },
       "conflict: a migration to b1 is marked in the record; no second copy may start until it is settled"},
      {[](CellView&, VmView& vm) { vm.right.value.insync["root"] = {test::kLegB}; },
       "refused: the record does not list a leg of host a1 as in sync on every volume; it may hold old data, so it is "
       "not used"},
      {[](CellView& v, VmView&) { v.hosts["a1"].info.value.memory_mib = 255; },
       "exhausted: host a1 has 255 MiB of memory free, the VM needs 256"},
      {[](CellView& v, VmView&) { v.hosts["a1"].info.value.memory_mib = 256; }, "ok"},
  };
  for (const auto& row : table) {
    CellView view = cell();
    VmView& vm = view.vms["vm1"];
    vm = test::stopped_vm();
    row.change(view, vm);
    EXPECT_EQ(text(check_start(view, vm, 256)), row.wanted) << "row " << &row - table;
  }
}

TEST(CheckMigration, RefusesAnEmulatorThatWouldDamageTheGuestsMemory) {
  const struct {
    const char *accel, *qemu;
    bool good;
  } table[] = {{"kvm", "7.2.22", true}, {"kvm", "", true},       {"tcg", "7.2.22", false}, {"tcg", "8.2.1", false},
               {"tcg", "9.0.0", true},  {"tcg", "10.0.2", true}, {"tcg", "", false},       {"", "10.0.2", true}};
  for (const auto& row : table) {
    CellView view = cell();
    view.hosts["a1"].info.value.accel = row.accel;
    view.hosts["a1"].info.value.qemu_version = row.qemu;
    const auto said = text(check_migration(view, view.vms["vm1"], "b1"));
    if (row.good)
      EXPECT_EQ(said, "ok") << row.accel << ' ' << row.qemu;
    else
      EXPECT_EQ(said, std::string("conflict: host a1 emulates its guests with QEMU ") + row.qemu +
                          ", which damages a guest's memory when it is moved live; KVM or QEMU 9.0 is needed. The VM "
                          "keeps running");
  }
}

TEST(CheckMigration, AdmitsOnlyARunningReplicatedVmOntoALiveHostWithRoom) {
  const std::string not_in_sync = "conflict: volume root is not in sync between the sites (connection Connected); the "
                                  "VM keeps running on a1. Wait for the resync to end, then migrate";
  const std::string silent = " does not renew its lease: its hostd is down or cut off. Nothing was changed; try again "
                             "when `hostctl host list` shows it alive";
  const struct {
    std::function<void(CellView&, VmView&)> change;
    const char* target;
    std::string wanted;
  } table[] = {
      {[](CellView&, VmView&) {}, "b1", "ok"},
      {[](CellView&, VmView& vm) { vm.right = {}; }, "b1",
       "conflict: the VM has no run-right: its creation did not end, or it was restored from a backup and nobody has "
       "adopted it; nothing was changed"},
      {[](CellView&, VmView&) {}, "a1", "invalid: the VM already runs on a1"},
      {[](CellView&, VmView& vm) { vm.status["a1"].domain = DomainState::absent; }, "b1",
       "conflict: the VM is not running (absent on a1); only a running VM is migrated live"},
      {[](CellView&, VmView& vm) { vm.status["a1"].domain = DomainState::paused; }, "b1",
       "conflict: the VM is not running (paused on a1); only a running VM is migrated live"},
      {[](CellView&, VmView& vm) { vm.status.clear(); }, "b1",
       "conflict: the VM is not running (absent on a1); only a running VM is migrated live"},
      {[](CellView& v, VmView&) { v.hosts["a1"].silent = true; }, "b1", "unavailable: host a1" + silent},
      {[](CellView& v, VmView&) { v.hosts["b1"].silent = true; }, "b1", "unavailable: host b1" + silent},
      {[](CellView&, VmView&) {}, "c1", "invalid: there is no host 'c1' in this cell"},
      {[](CellView&, VmView&) {}, "a2", "invalid: host a2 has no leg of this VM"},
      {[](CellView&, VmView& vm) { vm.right.value.migrating_to = "b2"; }, "b1",
       "conflict: a migration to b2 is already marked"},
      {[](CellView&, VmView& vm) { vm.right.value.insync["root"] = {test::kLegA}; }, "b1",
       "conflict: the record does not list both legs as in sync on every volume; wait for the resync to end, then "
       "migrate"},
      {[](CellView&, VmView& vm) { vm.status["a1"].connection = "Connecting"; }, "b1",
       "conflict: volume root is not in sync between the sites (connection Connecting); the VM keeps running on a1. "
       "Wait for the resync to end, then migrate"},
      {[](CellView&, VmView& vm) { vm.status["a1"].volumes.clear(); }, "b1", not_in_sync},
      {[](CellView&, VmView& vm) { vm.status["a1"].volumes["root"].replication = "SyncSource"; }, "b1", not_in_sync},
      {[](CellView&, VmView& vm) { vm.status["a1"].volumes["root"].replication = "PausedSyncS"; }, "b1", not_in_sync},
      {[](CellView&, VmView& vm) { vm.status["a1"].volumes["root"].peer_disk = "Inconsistent"; }, "b1", not_in_sync},
      {[](CellView& v, VmView&) { v.hosts["b1"].info.value.memory_mib = 255; }, "b1",
       "exhausted: host b1 has 255 MiB of memory free, the VM needs 256"},
      {[](CellView& v, VmView&) { v.hosts["b1"].info.value.memory_mib = 256; }, "b1", "ok"},
      {[](CellView& v, VmView&) { v.hosts["b1"].info.value.cpus = 1; }, "b1",
       "exhausted: host b1 has 1 CPUs, the VM needs 2"},
  };
  for (const auto& row : table) {
    CellView view = cell();
    VmView& vm = view.vms["vm1"];
    row.change(view, vm);
    EXPECT_EQ(text(check_migration(view, vm, row.target)), row.wanted) << "row " << &row - table;
  }
}

TEST(MigrationPolicies, AreThreeAndEachLadderGrows) {
  for (const auto* name : {"gentle", "standard", "must-finish"}) {
    const MigrationPolicy* policy = migration_policy(name);
    ASSERT_NE(policy, nullptr) << name;
    EXPECT_EQ(policy->name, name);
    EXPECT_TRUE(std::ranges::is_sorted(policy->downtime_ms)) << name;
    EXPECT_GT(policy->step_after_s, 0U) << name;
  }
  EXPECT_EQ(migration_policy("must-finish")->give_up_after_s, 0U);
  EXPECT_GT(migration_policy("gentle")->bandwidth_mib, 0U);
  EXPECT_EQ(migration_policy(""), nullptr);
  EXPECT_EQ(migration_policy("post-copy"), nullptr);
}

TEST(DomainStateOfAVm, IsWhatTheHolderReports) {
  VmView vm = test::running_vm();
  EXPECT_EQ(domain_state(vm), DomainState::running);
  vm.right.value.host = "b1";
  EXPECT_EQ(domain_state(vm), DomainState::absent);
  vm.status.clear();
  EXPECT_EQ(domain_state(vm), DomainState::absent);
}

}  // namespace
}  // namespace bascule::core
