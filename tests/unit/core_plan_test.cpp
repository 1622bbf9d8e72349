// plan(): what every request must pass, creation, and a changed definition.
#include "hostd/core/plan.hpp"

#include <functional>

#include "core_fixture.hpp"
#include "core_plan_fixture.hpp"

namespace bascule::core {
namespace {

using test::ask;
using test::cell;
using test::client;
using test::spec;
using test::steps;
using test::text;

// ---- before any verb --------------------------------------------------------------------

TEST(AnyRequest, NeedsAReasonASyncedHostAndRoomInTheJournal) {
  CellView view = cell();
  Request r = ask(ResetVm{"vm1"});
  EXPECT_EQ(text(plan(view, r, "a1")), "ok");
  r.reason = "";
  EXPECT_EQ(text(plan(view, r, "a1")), "invalid: reason: every change needs one; nothing was changed");
  r.reason = "a\nb";
  EXPECT_EQ(text(plan(view, r, "a1")), "invalid: reason: control characters are not allowed");
  r.reason = "test";
  view.synced = false;
  EXPECT_EQ(text(plan(view, r, "a1")),
            "unavailable: this host has not heard from etcd yet, or lost it; nothing was changed. Ask another host or "
            "try again");
  view.synced = true;
  for (std::size_t i = 0; i < kMaxUnfinishedOperations; ++i) {
    view.operations["op" + std::to_string(i)].value.state = OpState::running;
  }
  EXPECT_EQ(text(plan(view, r, "a1")), "exhausted: too many operations are at work; try again when some have ended");
  view.operations["op7"].value.state = OpState::needs_operator;
  EXPECT_EQ(text(plan(view, r, "a1")), "ok") << "ended ones do not count";
}

// ---- creation ---------------------------------------------------------------------------

TEST(CreateVm, MakesLegsOnBothHostsThenTheRecordThenStarts) {
  const auto p = plan(cell(), ask(PutVm{spec("new")}), "a1");
  ASSERT_TRUE(p) << text(p);
  EXPECT_FALSE(p->unchanged);
  EXPECT_EQ(p->operation.kind, OpKind::vm_create);
  EXPECT_EQ(p->operation.vm, "new");
  EXPECT_EQ(p->operation.project, "blue");
  EXPECT_EQ(p->compare_spec, 0) << "it must not exist";
  EXPECT_EQ(p->object, "vm/new");
  ASSERT_TRUE(p->layout && p->spec);
  EXPECT_EQ(p->layout->volumes[0].legs[0].id, "labca0") << "the view's revision makes leg ids new";
  EXPECT_EQ(steps(*p), "make-leg@a1 make-leg@b1 connect@a1 connect@b1 skip-first-sync@a1 grant@a1 join-peer@a1 "
                       "admit-start@a1 promote@a1 start-domain@a1");
}

TEST(CreateVm, ThatIsToBeOffIsNotStarted) {
  VmSpec s = spec("new");
  s.power = Power::off;
  EXPECT_EQ(steps(*plan(cell(), ask(PutVm{s}), "a1")),
            "make-leg@a1 make-leg@b1 connect@a1 connect@b1 skip-first-sync@a1 grant@a1 join-peer@a1");
}

TEST(CreateVm, FillsFromTheHostThatKeepsTheImageAndHandsOver) {
  CellView view = cell();
  VmSpec s = spec("new");
  s.volumes[0].image = "guest";
  view.images["guest"] = {{"guest", 64ULL << 20U, "", "a1"}, 1, 1};
  EXPECT_EQ(steps(*plan(view, ask(PutVm{s}), "a1")),
            "make-leg@a1 make-leg@b1 connect@a1 connect@b1 skip-first-sync@a1 grant@a1 join-peer@a1 fill@a1 "
            "admit-start@a1 promote@a1 start-domain@a1");
  view.images["guest"].value.host = "b1";
  const auto p = plan(view, ask(PutVm{s}), "a1");
  EXPECT_EQ(steps(*p), "make-leg@b1 make-leg@a1 connect@b1 connect@a1 skip-first-sync@b1 grant@b1 join-peer@b1 fill@b1 "
                       "hand-over@b1 admit-start@a1 promote@a1 start-domain@a1");
  EXPECT_EQ(p->operation.source_host, "b1");
}

TEST(CreateVm, ChoosesHostsAndAddressesThatTheRequestLeftOpen) {
  VmSpec s = spec("new");
  s.nominal_host = s.peer_host = s.nics[0].mac = "";
  s.nics[0].mac = "";
  const auto p = plan(cell(), ask(PutVm{s}), "b2");
  ASSERT_TRUE(p) << text(p);
  EXPECT_EQ(p->spec->nominal_host, "b2");
  EXPECT_EQ(p->spec->peer_host, "a2");
  EXPECT_FALSE(p->spec->nics[0].mac.empty());
}

TEST(CreateVm, IsRefusedWithTheReason) {
  const struct {
    std::function<void(CellView&, VmSpec&, Request&)> change;
    std::string wanted;
  } table[] = {
      {[](CellView&, VmSpec&, Request&) {}, "ok"},
      {[](CellView&, VmSpec& s, Request&) { s.cpus = 0; }, "invalid: cpus: 1 to 255"},
      {[](CellView&, VmSpec&, Request& r) { r.caller = client("blue"); },
       "forbidden: your role may not do this; an operator can"},
      {[](CellView&, VmSpec&, Request& r) { r.caller.role = Role::auditor; },
       "forbidden: your role may not do this; an operator can"},
      {[](CellView&, VmSpec&, Request& r) { r.caller.role = Role::host; },
       "forbidden: your role may not do this; an operator can"},
      {[](CellView&, VmSpec&, Request& r) { r.if_match = 5; }, "stale: there is no VM 'new' any more"},
      {[](CellView&, VmSpec&, Request& r) { r.if_none_match = true; }, "ok"},
      {[](CellView& v, VmSpec&, Request&) {
         for (std::size_t i = v.vms.size(); i < Limits::vms; ++i) v.vms["v" + std::to_string(i)];
       },
       "exhausted: this cell has as many VMs as it may"},
      {[](CellView&, VmSpec& s, Request&) { s.peer_host = "a2"; },
       "invalid: hosts: a1 and a2 are on the same site; a volume has one leg on each"},
      {[](CellView&, VmSpec& s, Request&) { s.nics[0].mac = "52:54:00:00:00:01"; },
       "conflict: networks.mac: 52:54:00:00:00:01 is in use"},
      {[](CellView&, VmSpec& s, Request&) { s.volumes[0].image = "none"; },
       "invalid: volumes.image: there is no image 'none'"},
      {[](CellView&, VmSpec& s, Request&) { s.volumes[0].image = "far"; },
       "invalid: volumes.image: 'far' is kept by host b2, which has no leg of this VM; import it through a1"},
      {[](CellView&, VmSpec& s, Request&) { s.volumes = {{"one", 64, "here"}, {"two", 64, "there"}}; },
       "invalid: volumes.image: the images are kept by different hosts"},
      {[](CellView&, VmSpec& s, Request&) { s.volumes[0] = {"root", 10, "here"}; },
       "invalid: volumes.size_mib of 'root': image 'here' needs 11 MiB"},
      {[](CellView&, VmSpec& s, Request&) { s.volumes[0] = {"root", 11, "here"}; }, "ok"},
      {[](CellView& v, VmSpec&, Request&) { v.hosts["b1"].info.value.pool_free_mib = 63; },
       "exhausted: the pool of host b1 has 63 MiB free, the volumes need 64"},
      {[](CellView&, VmSpec& s, Request&) { s.volumes = {{"one", 600, ""}, {"two", 401, ""}}; },
       "exhausted: the pool of host a1 has 1000 MiB free, the volumes need 1001"},
      {[](CellView&, VmSpec& s, Request&) { s.memory_mib = 345; },
       "exhausted: host a1 has 344 MiB of memory free, the VM needs 345"},
      {[](CellView&, VmSpec& s, Request&) { s.memory_mib = 345, s.power = Power::off; }, "ok"},
      {[](CellView& v, VmSpec&, Request&) { v.hosts["a1"].info.value.last_port = 7800; },
       "exhausted: no replication port is free on both hosts"},
  };
  for (const auto& row : table) {
    CellView view = cell();
    view.images["here"] = {{"here", (10ULL << 20U) + 1, "", "a1"}, 1, 1};
    view.images["there"] = {{"there", 1, "", "b1"}, 1, 1};
    view.images["far"] = {{"far", 1, "", "b2"}, 1, 1};
    VmSpec s = spec("new");
    s.nics[0].mac = "52:54:00:00:00:09";
    Request r = ask(PutVm{});
    row.change(view, s, r);
    r.verb = PutVm{s};
    EXPECT_EQ(text(plan(view, r, "a1")), row.wanted) << "row " << &row - table;
  }
}

// ---- a changed definition ---------------------------------------------------------------

struct Stopped {
  CellView view = cell();
  VmSpec now;
  Stopped() {
    view.vms["vm1"] = test::stopped_vm();
    now = view.vms["vm1"].spec.value;
  }
};

TEST(UpdateVm, ToTheSameDefinitionChangesNothing) {
  const auto p = plan(cell(), ask(PutVm{spec()}), "a1");
  ASSERT_TRUE(p) << text(p);
  EXPECT_TRUE(p->unchanged);
  EXPECT_EQ(p->compare_spec, 20);
  EXPECT_TRUE(p->operation.steps.empty());

  VmSpec open = spec();  // what the client first sent, without what the cell chose
  open.nominal_host = open.peer_host = open.nics[0].mac = "";
  EXPECT_TRUE(plan(cell(), ask(PutVm{open}), "a1")->unchanged);
}

TEST(UpdateVm, OfHardwareWhileOffIsWrittenAtOnce) {
  Stopped s;
  s.now.cpus = 3;
  s.now.memory_mib = 512;
  const auto p = plan(s.view, ask(PutVm{s.now}), "a1");
  ASSERT_TRUE(p) << text(p);
  EXPECT_TRUE(p->operation.steps.empty());
  EXPECT_EQ(p->spec, s.now);
  EXPECT_FALSE(p->operation.spec);
  EXPECT_EQ(p->operation.restore, s.view.vms["vm1"].spec.value);
  EXPECT_EQ(p->compare_spec, 20);
  EXPECT_EQ(p->object, "vm/vm1");
}

TEST(UpdateVm, ToOnStartsAndWritesTheWishOnlyWhenItRuns) {
  Stopped s;
  s.now.power = Power::on;
  const auto p = plan(s.view, ask(PutVm{s.now}), "a1");
  ASSERT_TRUE(p) << text(p);
  EXPECT_EQ(steps(*p), "admit-start@a1 promote@a1 start-domain@a1");
  EXPECT_FALSE(p->spec) << "nothing is written before it runs";
  EXPECT_EQ(p->operation.spec, s.now);
  s.now.memory_mib = 300;
  const auto q = plan(s.view, ask(PutVm{s.now}), "a1");
  ASSERT_TRUE(q) << text(q);
  EXPECT_EQ(q->spec->memory_mib, 300U) << "the hardware is written first, still off";
  EXPECT_EQ(q->spec->power, Power::off);
  EXPECT_EQ(q->operation.spec, s.now);
}

TEST(UpdateVm, ToOnIsAdmittedLikeAStart) {
  Stopped s;
  s.now.power = Power::on;
  s.now.memory_mib = 601;
  EXPECT_EQ(text(plan(s.view, ask(PutVm{s.now}), "a1")),
            "exhausted: host a1 has 600 MiB of memory free, the VM needs 601");
  s.now.memory_mib = 256;
  s.view.vms["vm1"].right.value.insync["root"] = {test::kLegB};
  EXPECT_THAT(text(plan(s.view, ask(PutVm{s.now}), "a1")), testing::StartsWith("refused: the record does not list"));
  s.view.hosts["a1"].silent = true;
  EXPECT_THAT(text(plan(s.view, ask(PutVm{s.now}), "a1")), testing::StartsWith("unavailable: host a1"));
}

TEST(UpdateVm, ToOffStopsGracefullyAndWritesTheWishAtOnce) {
  CellView view = cell();
  VmSpec off = spec();
  off.power = Power::off;
  const auto p = plan(view, ask(PutVm{off}), "a1");
  ASSERT_TRUE(p) << text(p);
  EXPECT_EQ(steps(*p), "shutdown@a1 demote@a1");
  EXPECT_EQ(p->spec, off) << "at once, so that it defeats a takeover";
  EXPECT_EQ(p->operation.restore, spec());
  view.hosts["a1"].silent = true;
  EXPECT_THAT(text(plan(view, ask(PutVm{off}), "a1")), testing::StartsWith("unavailable: host a1"));
}

TEST(UpdateVm, IsRefusedWithTheReason) {
  const std::string off_first =
      "conflict: cpus, memory, networks and restart_on_panic change only while the VM is off; stop it first";
  const std::string no_move = "invalid: hosts: cannot be changed by a definition; use migrate";
  const struct {
    std::function<void(VmSpec&, Request&, CellView&)> change;
    std::string wanted;
  } table[] = {
      {[](VmSpec& s, Request&, CellView&) { s.project = "red"; }, "invalid: project: cannot be changed"},
      {[](VmSpec& s, Request&, CellView&) { s.nominal_host = "a2"; }, no_move},
      {[](VmSpec& s, Request&, CellView&) { s.peer_host = "b2"; }, no_move},
      {[](VmSpec& s, Request&, CellView&) { s.volumes.push_back({"more", 8, ""}); },
       "invalid: volumes: cannot be added or removed yet"},
      {[](VmSpec& s, Request&, CellView&) { s.cpus = 1; }, off_first},
      {[](VmSpec& s, Request&, CellView&) { s.memory_mib = 128; }, off_first},
      {[](VmSpec& s, Request&, CellView&) { s.nics.clear(); }, off_first},
      {[](VmSpec& s, Request&, CellView& v) {
         s.nics[0].mac = "52:54:00:00:00:07", v.vms["vm1"] = test::stopped_vm(),
         v.vms["x"].spec.value.nics = {{"clients", "52:54:00:00:00:07"}};
       },
       "conflict: networks.mac: 52:54:00:00:00:07 is in use"},
      {[](VmSpec& s, Request&, CellView&) { s.volumes[0].name = "boot"; },
       "invalid: volumes: name and image of 'root' cannot be changed"},
      {[](VmSpec& s, Request&, CellView&) { s.volumes[0].image = "other"; },
       "invalid: volumes: name and image of 'root' cannot be changed"},
      {[](VmSpec& s, Request&, CellView&) { s.volumes[0].size_mib = 63; }, "invalid: volumes: 'root' cannot shrink"},
      {[](VmSpec& s, Request&, CellView&) { s.volumes[0].size_mib = 65; },
       "invalid: volumes: grow 'root' with `hostctl volume grow`, one at a time"},
      {[](VmSpec& s, Request& r, CellView&) { s.migration_policy = "gentle", r.if_none_match = true; },
       "stale: a VM 'vm1' exists already"},
      {[](VmSpec& s, Request& r, CellView&) { s.migration_policy = "gentle", r.if_match = 19; },
       "stale: the VM changed since you read it (revision 20 now, 19 then); nothing was changed. Read it again and "
       "decide"},
      {[](VmSpec& s, Request& r, CellView&) { s.migration_policy = "gentle", r.if_match = 20; }, "ok"},
      {[](VmSpec&, Request&, CellView& v) { v.vms["vm1"].operation = {"op-1", 40, 40}; },
       "conflict: operation op-1 is at work on this VM; wait for it (hostctl op follow op-1) or cancel it"},
      {[](VmSpec&, Request& r, CellView&) { r.caller = client("blue"); },
       "forbidden: your role may not do this; an operator can"},
  };
  for (const auto& row : table) {
    CellView view = cell();
    VmSpec s = spec();
    Request r = ask(PutVm{});
    row.change(s, r, view);
    r.verb = PutVm{s};
    EXPECT_EQ(text(plan(view, r, "a1")), row.wanted) << "row " << &row - table;
  }
}

}  // namespace
}  // namespace bascule::core
