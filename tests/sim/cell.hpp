// A whole cell: two sites with hosts, a witness, three etcd members, DRBD, hypervisors and guests that write all the
// time. Each host that is up runs the shipped hostd (hostd.hpp). Faults act on this, never on hostd's own objects.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "hostd/core/domain.hpp"
#include "hostd/core/timing.hpp"
#include "hostd/core/view.hpp"
#include "tests/sim/drbd.hpp"
#include "tests/sim/etcd.hpp"
#include "tests/testkit/fake_drbd.hpp"

namespace bascule::sim {

class Hostd;
class Cell;

/// What is found wrong, and by which invariant of DESIGN section 2.
struct Violation {
  std::string invariant, what;
  Us at{};
};

/// Follows what happens from outside the code under test; one small file each in checkers/.
class Checker {
 public:
  Checker() = default;
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;
  virtual ~Checker() = default;
  virtual void guest_runs(Cell&, const std::string& /*host*/, const std::string& /*vm*/) {}
  /// A machine that stood still goes on, and this guest with it.
  virtual void guest_wakes(Cell&, const std::string& /*host*/, const std::string& /*vm*/) {}
  /// A guest is about to hear that its write is safe; `cell.acknowledged` still has the one before.
  virtual void confirmed(Cell&, const std::string& /*host*/, const std::string& /*vm*/, std::uint16_t /*volume*/,
                         Writes::Id /*write*/) {}
  virtual void promoted(Cell&, const std::string& /*host*/, const std::string& /*vm*/) {}
  virtual void resync(Cell&, const std::string& /*vm*/, std::uint16_t /*volume*/, const DrbdKernel::Leg& /*source*/,
                      const DrbdKernel::Leg& /*target*/) {}
  /// A record has changed in etcd.
  virtual void committed(Cell&, const core::kv::Event&) {}
  /// After the last fault was healed and the cell had its time.
  virtual void end(Cell&) {}
};
std::vector<std::unique_ptr<Checker>> all_checkers();

struct Guest {
  core::DomainInfo info;
  core::DomainSpec spec;
  std::map<std::uint16_t, Writes::Id> holds;  ///< what it has read or written last, by volume
  std::uint64_t life{};                       ///< new at each start and arrival
  bool writing{};                             ///< a write of it is on its way
  bool dying{};                               ///< killed, but its process waits for a frozen disk
};

/// A live migration that libvirt carries out; hostd may die meanwhile.
struct MigrationJob {
  std::string target;
  std::uint64_t id{};
  Us left{};
  Us stalled{};
  bool abort{};
  std::optional<core::Result<>> result;
  std::vector<std::function<void()>> waiters;
};

struct Machine {
  std::string name;
  core::Site site{};
  MachineClock clock;
  bool on{}, hung{}, disk_broken{};
  std::optional<Us> woke;  ///< when it last went on after it had stood still
  bool kept_off{};         ///< its power switch is off, or nobody has come yet
  std::uint64_t boot{};
  std::uint64_t instances{};
  std::optional<std::string> notes;                            ///< on its disk
  std::set<std::pair<std::string, std::uint16_t>> lost_disks;  ///< likewise: what the kernel's helper wrote down
  bool libvirtd{};
  std::map<std::string, Guest> guests;
  std::map<std::string, MigrationJob> jobs;
  testkit::FakePool pool{1'000'000};
  struct {
    bool armed{}, expired{};
    Us timeout{}, last_pet{};
  } watchdog;
  bool watchdog_works{true};
  struct Question {
    std::string resource;
    std::function<void(int)> answer;
  };
  std::map<std::uint64_t, Question> questions;  ///< fence-peer helpers that wait for hostd
  std::unique_ptr<Hostd> hostd;
  bool running() const { return on && !hung; }
};

struct CellOptions {
  std::uint64_t seed{1};
  bool four_hosts{};
  bool power_switch{};        ///< hosts can switch each other off
  bool watchdogs_fire{true};  ///< false: the lock of S1 is broken, S2 must hold all the same
  bool judge_one_runner{};    ///< S1 is judged although the watchdogs are broken: to see that it is found
  bool may_ask{};             ///< a person may have to be asked: the schedule has such a fault
  core::Timing timing;
};

class Cell {
 public:
  explicit Cell(const CellOptions& options);
  Cell(const Cell&) = delete;
  Cell& operator=(const Cell&) = delete;
  ~Cell();

  Engine engine;
  Net net{engine};
  SimEtcd etcd;
  DrbdKernel drbd{engine, net};
  std::map<std::string, std::unique_ptr<Machine>> machines;
  std::vector<std::unique_ptr<Checker>> checkers;
  std::vector<Violation> violations;
  /// By VM and volume: the last write whose flush returned to a guest.
  std::map<std::string, std::map<std::uint16_t, Writes::Id>> acknowledged;
  std::uint64_t acknowledged_count{};
  CellOptions options;

  Machine& machine(const std::string& host) { return *machines.at(host); }
  void run_until(Us until);
  void violate(std::string invariant, std::string what);
  /// Runs `what` on this life of the machine; later when it is hung, never when it went down meanwhile.
  void on_machine(const std::string& host, Us length, std::function<void()> what);

  // Power and processes.
  void boot(const std::string& host);
  void power_cut(const std::string& host);
  /// By its power switch; somebody comes and switches it on again.
  void switch_off(const std::string& host);
  void hang(const std::string& host, bool on);
  void kill_hostd(const std::string& host);
  void start_hostd(const std::string& host);
  void hang_hostd(const std::string& host, bool on);
  void kill_libvirtd(const std::string& host);
  void topology_changed();
  void break_disk(const std::string& host, bool broken);
  void kill_helpers(const std::string& host);

  // Guests.
  void guest_starts(const std::string& host, const std::string& vm, core::DomainSpec spec);
  void guest_ends(const std::string& host, const std::string& vm, core::DomainReason reason);
  void guest_changes(const std::string& host, const std::string& vm, core::DomainState state,
                     core::DomainReason reason);
  void migrate(const std::string& host, const std::string& vm, const std::string& target,
               std::function<void(core::Result<>)> done);
  bool runs(const std::string& host, const std::string& vm) const;

  void arm_watchdog(const std::string& host, Us timeout, bool pet);
  void pet_watchdog(const std::string& host);
  void ask_helper(const std::string& host, const std::string& resource, std::function<void(int)> answer);

  /// Every leg that the record lists has lost its disk: two faults, which only a person can weigh (S2's limit).
  bool out_of_legs(const core::VmView& vm);
  /// What the host tells of the VM in its status is that all its volumes are in sync.
  static bool told_in_sync(const core::VmView& vm, const std::string& host);
  /// The records, decoded: what a person would see. Valid until something happens.
  const core::CellView& view() const;

 private:
  void guest_writes(const std::string& host, const std::string& vm, std::uint64_t life);
  void check_runs(const std::string& host, const std::string& vm);
  void tick_migration(const std::string& host, const std::string& vm, std::uint64_t id);
  void hand_over(const std::string& host, const std::string& vm);
  void end_migration(const std::string& host, const std::string& vm, core::Result<> result);
  void libvirtd_up(const std::string& host);
  void boot_again(const std::string& host);
  void watchdog_due(const std::string& host, Us pet);
  void deliver(Machine& m, std::uint64_t question);
  void look_at(const core::kv::Event& event) const;
  std::uint64_t lives_{}, ids_{};
  mutable core::CellView view_;  ///< as of viewed_: only what has changed since is decoded again
  mutable core::Revision viewed_{};
};

}  // namespace bascule::sim
