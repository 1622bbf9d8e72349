// DRBD 8.4 as its kernel behaves between two hosts: roles, disks, generations, the freeze when a primary loses its
// peer, the one question to the fence-peer helper, resync, what a reboot leaves in the metadata. What each volume holds
// is followed write by write, so that a lost one is seen. Sources: FACTS.md 1.6 to 1.9, checked against the real kernel
// in the lab (tests/lab/t_storage.py, t_own_failover.py).
#pragma once

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "storage/resource_state.hpp"
#include "tests/sim/net.hpp"

namespace bascule::sim {

/// Every write any guest made. One that follows another on the same volume has it as parent, so a content is one
/// number.
class Writes {
 public:
  using Id = std::int64_t;  ///< 0: the zeroed volume
  Id add(Id parent) {
    parents_.push_back(parent);
    return static_cast<Id>(parents_.size());
  }
  /// `content` includes `write`.
  bool holds(Id content, Id write) const {
    while (content > write) content = parents_[static_cast<std::size_t>(content) - 1];
    return content == write;
  }

 private:
  std::vector<Id> parents_;
};

class DrbdKernel {
 public:
  using Disk = storage::Disk;
  using Role = storage::Role;
  using Replication = storage::Replication;

  struct Leg {
    bool attached{};
    Disk disk{Disk::diskless}, peer_disk{Disk::unknown};
    Replication replication{Replication::off};
    std::uint32_t minor{};
    std::uint64_t size_mib{};
    std::string backing;
    // Metadata: outlives everything but the disk.
    bool metadata{}, consistent{}, was_up_to_date{}, peer_outdated{}, crashed_primary{};
    std::uint64_t current{}, bitmap{};
    std::uint64_t exposed{};  ///< without a disk: the generation its primary works on over the link (ed_uuid)
    std::vector<std::uint64_t> old;
    Writes::Id content{};
    bool failed{};  ///< its disk was lost since it was last in sync
    bool mixed{};   ///< half resynced: the volume of no moment
  };
  struct Pending {
    std::uint16_t volume;
    Writes::Id write;
    bool local{}, remote{};
    bool refused{};        ///< the peer has no disk for it
    std::uint64_t sent{};  ///< in which session
    std::function<void()> acknowledged;
  };
  struct Side {
    std::string host;
    bool up{}, wants_link{}, linked{}, two_primaries{};
    bool promoting{};                   ///< its helper asks: until it has answered the kernel lets no link come up
    bool fencing{}, user{}, no_data{};  ///< why I/O stands still
    int helpers{};                      ///< that the worker thread waits for: it sends nothing meanwhile
    Role role{Role::secondary};
    std::uint64_t session{}, timer{};  ///< of the connection; of the time-out that is running for it
    std::map<std::uint16_t, Leg> legs;
    std::vector<Pending> pending;
    bool suspended() const { return fencing || user || no_data; }
  };
  struct Pair {
    std::array<Side, 2> sides;
    std::uint64_t session{};
    bool shaking{};  ///< a handshake is on its way
  };

  /// What the kernel does to the world above it. Set once.
  struct Hooks {
    std::function<void(const std::string& host, const std::string& resource)> changed;
    /// Starts the helper; `answer` takes its exit code.
    std::function<void(const std::string& host, const std::string& resource, std::function<void(int)> answer)> ask;
    /// A disk failed: runs the local-io-error helper; `done` when it has ended, never when its machine goes down.
    std::function<void(const std::string& host, const std::string& resource, std::uint16_t volume,
                       std::function<void()> done)>
        disk_lost;
    std::function<bool(const std::string& host, const std::string& resource)> held_open;
    std::function<bool(const std::string& host)> disk_broken;
    std::function<bool(const std::string& host)> running;  ///< the machine executes
    // For the checkers.
    std::function<void(const std::string& host, const std::string& resource)> promoted;
    std::function<void(const std::string& resource, std::uint16_t volume, const Leg& source, const Leg& target)> resync;
  };

  DrbdKernel(Engine& engine, Net& net) : engine_(engine), net_(net) {}
  Hooks hooks;
  Writes writes;

  // Commands, as drbdsetup carries them out at once; empty = done, else the kernel's refusal.
  Side& side(const std::string& resource, const std::string& host);
  Side* peer_of(const std::string& resource, const std::string& host);
  Pair* pair(const std::string& resource);
  Pair& make(const std::string& resource, const std::string& a, const std::string& b);
  void bring_up(const std::string& resource, const std::string& host);
  /// drbdmeta invalidate, of a detached leg.
  std::string invalidate(const std::string& resource, const std::string& host, std::uint16_t volume);
  std::string attach(const std::string& resource, const std::string& host, std::uint16_t volume);
  void connect(const std::string& resource, const std::string& host, bool discard);
  void disconnect(const std::string& resource, const std::string& host, bool force);
  /// "ask": only the helper's word is missing; ask it, then call again with its answer.
  std::string promote(const std::string& resource, const std::string& host, storage::Force force, int answer);
  /// A promotion waits for its helper (drbd_set_role holds state_mutex): seen on real kernels in t_storage.py.
  void promoting(const std::string& resource, const std::string& host, bool on);
  std::string demote(const std::string& resource, const std::string& host);
  std::string two_primaries(const std::string& resource, const std::string& host, bool allow);
  std::string skip_first_sync(const std::string& resource, const std::string& host, std::uint16_t volume);
  void detach(const std::string& resource, const std::string& host, std::uint16_t volume);
  void suspend(const std::string& resource, const std::string& host, bool on);
  /// `resume-io` of a side without disks or peer: whatever waits fails.
  void fail_pending(const std::string& resource, const std::string& host);
  std::string down(const std::string& resource, const std::string& host);

  /// A guest's write. `acknowledged` is called when the guest's flush returns; perhaps never.
  void write(const std::string& resource, const std::string& host, std::uint16_t volume, Writes::Id write,
             std::function<void()> acknowledged);
  bool waits(const std::string& resource, const std::string& host);
  /// The guest is gone: nobody waits for its writes any more.
  void forget_waiters(const std::string& resource, const std::string& host);

  /// It stood still and goes on.
  void machine_wakes(const std::string& host);
  void machine_off(const std::string& host);
  void net_changed();
  void disk_fails(const std::string& host);
  storage::ResourceState state(const std::string& resource, const std::string& host);
  const std::map<std::string, Pair>& pairs() const { return pairs_; }

 private:
  struct Verdict {
    enum class Kind : std::uint8_t { equal, source, target, split } kind;
  };
  bool reach(const Side& a, const Side& b) const;
  void settle(const std::string& resource);
  void watch_link(const std::string& resource, Side& mine, const Side& theirs);
  void handshake(const std::string& resource);
  bool agree(const std::string& resource, Pair& pair);
  Verdict compare(const Leg& mine, const Leg& theirs) const;
  void join(const std::string& resource, Pair& pair, std::uint16_t volume);
  void start_resync(const std::string& resource, Pair& pair, std::uint16_t volume, std::size_t source);
  void end_resync(const std::string& resource, std::uint16_t volume, std::uint64_t session, std::size_t source);
  void drop(const std::string& resource, Side& mine);
  void lost_peer(const std::string& resource, Side& mine);
  void ask(const std::string& resource, Side& mine);
  void excluded(const std::string& resource, Side& mine);
  void lost_disk(const std::string& resource, Side& mine, std::uint16_t volume);
  void tell_peer_of_disk(const std::string& resource, Side& mine, std::uint16_t volume, bool was_target);
  void carry_on(const std::string& resource, Side& mine);
  bool carry_out(const std::string& resource, Side& mine, Pending& pending);
  void send(const std::string& resource, Side& mine, Pending& pending);
  /// A packet of a session: repeated while the connection stands and nobody hears it, as TCP does.
  void packet(const std::string& resource, const std::string& from, std::uint64_t session,
              std::function<void()> arrives);
  void set_disk(Side& mine, Leg& leg, Disk disk);
  void bump(Leg& leg);
  void tell(const std::string& resource);

  Engine& engine_;
  Net& net_;
  std::map<std::string, Pair> pairs_;
  std::uint64_t generations_{100};
};

}  // namespace bascule::sim
