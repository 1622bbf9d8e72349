// hostd's shell around the decisions, for its tests: one VM on a1 and b1, hostd of a1. DRBD says here what the test
// tells it, and something may happen while it is asked.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/detached.hpp>

#include "core_fixture.hpp"
#include "hand_time.hpp"
#include "hostd/arbiter.hpp"
#include "hostd/codec/codec.hpp"
#include "hostd/core/notes.hpp"
#include "hostd/runtime/cell/keys.hpp"
#include "hostd/steps/step.hpp"
#include "hostd/worker.hpp"
#include "tests/contract/etcd_testing.hpp"
#include "tests/testkit/fake_drbd.hpp"
#include "tests/testkit/fake_vm_host.hpp"

namespace bascule::testkit {

namespace keys = runtime::keys;
using core::test::kLegA;
using core::test::kLegB;
using storage::Connection;
using storage::Disk;
using storage::Replication;
using Legs = std::vector<core::Leg>;

/// DRBD that answers what it is told to, and keeps what it was asked for.
class Kernel final : public FakeDrbd {
 public:
  using FakeDrbd::FakeDrbd;
  storage::Task<storage::ResourceState> query(std::string) override {
    const auto answer = says;
    if (auto meanwhile = std::exchange(while_asked, {})) {
      meanwhile();
      co_await runtime::pause(Mono(100));
    }
    co_return answer;
  }
  storage::Task<> up_standalone(storage::Resource resource) override {
    for (const auto& volume : resource.volumes) {
      auto& disk = says.volumes[volume.index].disk;
      if (!volume.without_disk && disk == Disk::diskless) disk = attached_as;
    }
    brought_up.push_back(std::move(resource));
    if (while_attached) std::exchange(while_attached, {})();
    co_return Result<>{};
  }
  storage::Task<> mark_stale(storage::Resource, std::string volume) override {
    if (while_marked) std::exchange(while_marked, {})();
    if (!marks) co_return fail(Errc::io, "the disk does not answer");
    marked.push_back(std::move(volume));
    co_return Result<>{};
  }
  using FakeDrbd::connect;
  storage::Task<> connect(storage::Resource, storage::Discard) override {
    ++connects;
    co_return Result<>{};
  }
  storage::Task<> disconnect(std::string, bool) override {
    ++cuts;
    says.connection = Connection::stand_alone;
    co_return Result<>{};
  }
  storage::Task<> promote(std::string, storage::PromotionProof) override {
    ++promotions;
    co_return Result<>{};
  }
  storage::Task<> demote(std::string) override {
    ++demotions;
    co_return Result<>{};
  }
  storage::Task<bool> two_primaries(std::string) override {
    ++window_looks;
    if (mute) co_return fail(Errc::timeout, "drbdsetup does not answer");
    co_return false;
  }
  storage::Task<> set_two_primaries(std::string, bool allow) override {
    if (allow) ++windows;
    if (!allow && while_closed) while_closed();
    if (!allow && keeps_window) co_return fail(Errc::refused, "there are primaries on both sides");
    if (!allow) ++closings;
    co_return Result<>{};
  }
  storage::Task<std::string> generation(storage::Resource resource, std::string) override {
    const auto& backing = resource.volumes.front().backing;  // drbdadm is told of the device
    if (backing[0].empty() && backing[1].empty()) co_return fail(Errc::internal, "its backing device is not known");
    co_return identifiers;
  }
  storage::Task<> suspend_io(std::string) override {
    stopped = true;
    co_return Result<>{};
  }

  storage::ResourceState says;
  std::function<void()> while_asked;     ///< once, after the answer to the next question is made and before it is heard
  std::function<void()> while_attached;  ///< once, when a disk has just been attached
  Disk attached_as{Disk::diskless};
  std::function<void()> while_closed;  ///< each time a window is being closed
  std::function<void()> while_marked;  ///< once, when a disk is being marked as old
  std::vector<storage::Resource> brought_up;
  std::vector<std::string> marked;
  std::string identifiers{"00000000000000A0:0000000000000000:0000000000000000:0000000000000000"};
  int connects{}, cuts{}, windows{}, closings{}, promotions{}, demotions{}, window_looks{};
  bool stopped{}, keeps_window{}, mute{}, marks{true};
};

struct Paper final : NotePort {
  Result<std::optional<std::string>> read() override { return std::optional<std::string>{}; }
  Result<> write(const std::string&) override { return full ? Result<>(fail(Errc::io, "full")) : Result<>{}; }
  Result<std::vector<LostDisk>> lost_disks() override { return lost; }
  Result<> drop_lost_disk(const LostDisk& disk) override {
    std::erase_if(lost, [&](const LostDisk& at) { return at.vm == disk.vm && at.volume == disk.volume; });
    return {};
  }
  std::vector<LostDisk> lost;
  bool full{};
};

inline core::LocalVm holder() {
  core::LocalVm l;
  l.up = true;
  l.role = "Primary";
  l.connection = "Connected";
  l.peer_role = "Secondary";
  l.domain = core::DomainState::running;
  l.volumes["root"] = {"UpToDate", "UpToDate", "Established", 0};
  return l;
}
inline core::LocalVm other() {
  core::LocalVm l = holder();
  l.role = "Secondary";
  l.domain = core::DomainState::absent;
  return l;
}

inline storage::ResourceState whole() {
  storage::ResourceState s;
  s.name = "vm-vm1";
  s.present = true;
  s.role = storage::Role::primary;
  s.connection = Connection::connected;
  s.volumes[0].disk = s.volumes[0].peer_disk = Disk::up_to_date;
  s.volumes[0].replication = Replication::established;
  return s;
}
inline storage::ResourceState alone() {
  auto s = whole();
  s.connection = Connection::connecting;
  s.suspended = "fencing";
  s.suspended_fencing = true;
  s.volumes[0].peer_disk = Disk::unknown;
  s.volumes[0].replication = Replication::off;
  return s;
}

class Shell : public testing::Test {
 protected:
  Shell() {
    config_.cell = "c";
    config_.networks["clients"] = "br0";
    config_.timing = *core::timing_profile("fast");
    int number = 0;
    for (const auto* host : {"a1", "b1"}) {
      auto info = core::test::host(host, number == 0 ? core::Site::a : core::Site::b).info.value;
      info.replication_address = "10.0.0." + std::to_string(++number);
      set(keys::host_info(root_, host), info);
      core::HostLease lease{"i", 1, "boot"};
      lease.guarding = true;
      set(keys::host_lease(root_, host), lease);
    }
    const core::VmView vm = core::test::running_vm();
    set(keys::vm_spec(root_, "vm1"), vm.spec.value);
    set(keys::vm_layout(root_, "vm1"), vm.layout.value);
    record(vm.right.value);
    pool_.devices[*storage::device_name({"vm1", "root", "la"}, pool_.config())] = 65;
    node_.domains_known = true;
    node_.facts = [this] {
      core::HaFacts facts;
      facts.renewed = renewed_;
      facts.absent["b1"] = absent_;
      return facts;
    };
    node_.arm = [] { return Result<>{}; };
    node_.helpers = [this](const std::string&) { return helpers_; };
    drbd_.says = whole();
    vms_.connect();
    asio::co_spawn(io_, cell_.run(), asio::detached);
    time_.pass(Mono(50));
    EXPECT_TRUE(cell_.view().synced);
  }
  template <class T>
  void set(const std::string& key, const T& value) {
    ASSERT_TRUE(etcd_.kv.apply_now(put(key, codec::encode(value))));
  }
  void record(const core::Right& right) { set(keys::vm_right(root_, "vm1"), right); }
  /// The record as it is in etcd.
  core::Right record() {
    kv::Txn read;
    read.success.emplace_back(kv::get(keys::vm_right(root_, "vm1")));
    const auto reply = etcd_.kv.apply_now(read);
    return codec::decode<core::Right>(std::get<kv::RangeReply>(reply->responses.front()).kvs.front().value).value();
  }
  Legs listed() { return record().insync.at("root"); }
  static core::Right right(Legs legs, const std::string& host = "a1") {
    core::Right r = core::test::right();
    r.host = host;
    r.insync["root"] = std::move(legs);
    return r;
  }
  bool writes_right(const kv::Txn& txn) const {
    return std::ranges::any_of(txn.success, [this](const auto& op) {
      const auto* write = std::get_if<kv::Put>(&op);
      return write != nullptr && write->key == keys::vm_right(root_, "vm1");
    });
  }
  void see(core::LocalVm local) {
    node_.local["vm1"] = std::move(local);
    node_.touched.insert("vm1");
    cell_.changed().notify();
  }
  /// hostd works on it for this long, under this record and with what this host sees of it.
  void mend(const core::Right& right, core::LocalVm local, Mono time = Mono(1500)) {
    record(right);
    time_.pass(Mono(50));
    node_.local["vm1"] = std::move(local);
    asio::co_spawn(io_, worker_.run(), asio::detached);
    time_.pass(time);
  }
  void swap_is_due() {
    drbd_.says.volumes[0].disk = Disk::diskless;
    auto local = holder();
    local.volumes["root"].disk = "Diskless";
    mend(right({kLegA}), std::move(local));
  }
  std::optional<runtime::FenceAnswer> asked(Mono time = Mono(3000)) {
    std::optional<runtime::FenceAnswer> answer;
    asio::co_spawn(io_, decide_fence(node_, "vm-vm1"), [&](std::exception_ptr, runtime::FenceAnswer a) { answer = a; });
    time_.pass(time);
    if (!answer) io_.stop();
    return answer;
  }
  /// The end of a step of this host, of a migration from `source` if it is one.
  Result<core::Outcome> step(core::StepKind kind, const std::string& source = "a1") {
    core::Operation op;
    op.id = "op-1";
    op.vm = "vm1";
    op.source_host = source;
    op.target_host = source == "a1" ? "b1" : "a1";
    op.steps.push_back({.kind = kind, .host = "a1"});
    Result<core::Outcome> out = fail(Errc::timeout, "no end");
    asio::co_spawn(io_, steps::run({node_, op, 0}),
                   [&](std::exception_ptr, Result<core::Outcome> end) { out = std::move(end); });
    time_.pass(Mono(3000));
    return out;
  }
  void note_failed_leg() {
    ASSERT_TRUE(notes_.keep(core::leg_failed(notes_.notes(), "vm1", "la", true)));
    time_.pass(Mono(50));
  }

  const std::string root_ = keys::root("c");
  HandTime time_{io_};  // outlives the coroutines, which io_ ends
  asio::io_context io_;
  Etcd etcd_{io_.get_executor(), time_};
  Config config_;
  runtime::CellStore cell_{io_.get_executor(), etcd_, "c", "a1", "instance"};
  FakeHypervisors hypervisors_{io_.get_executor()};
  FakeVmHost vms_{hypervisors_, "c", "a1"};
  FakeDrbdWorld world_;
  Kernel drbd_{world_, "a1"};
  FakePool pool_{1000};
  ImageStore images_{"/nonexistent", 1};
  std::unique_ptr<Paper> own_paper_{std::make_unique<Paper>()};
  Paper& paper_{*own_paper_};
  NoteStore notes_{std::move(own_paper_)};
  Node node_{config_, cell_, vms_, drbd_, pool_, images_, notes_};
  Worker worker_{node_};
  bool renewed_{true};
  Mono absent_{};
  std::size_t helpers_{1};
};

}  // namespace bascule::testkit
