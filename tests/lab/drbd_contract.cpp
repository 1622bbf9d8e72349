// Drives the storage adapters alone on a lab host, without hostd; t_storage.py tells two of them what to do.
//   drbd_contract SELF POOL VERB [ARGUMENTS]      POOL: loop, lvm or lvm-thin
//   make SIZE_MIB ID | up ID | unmake ID | drop ID   legs with DRBD metadata, resource without connection; drop: legs
//   only connect | disconnect [force] | skip | promote | demote | two yes|no | allowed | query | down verify VOLUME |
//   grow VOLUME MIB ID | size VOLUME MIB | resize VOLUME MIB | detach VOLUME [force] | space | events SECONDS
// Prints one line: "ok ..." or "<code>: <sentence>", exit 0 or 1. The resource is vm-contract on a1 and b1.
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <span>
#include <vector>

#include "storage/drbd_adapter.hpp"
#include "storage/pool_adapter.hpp"

namespace {
namespace asio = boost::asio;
using namespace bascule;
using namespace bascule::storage;
using core::Result;

constexpr std::array<const char*, 2> kVolumes = {"root", "data"};
constexpr std::uint32_t kFirstMinor = 900;

struct Tool {
  asio::io_context io;
  std::string self;
  std::unique_ptr<DrbdAdapter> drbd;
  std::unique_ptr<PoolPort> pool;

  template <class T>
  Result<T> wait(Task<T> task) {
    std::optional<Result<T>> result;
    asio::co_spawn(io, std::move(task), [&](const std::exception_ptr& bug, Result<T> r) {
      if (bug) std::rethrow_exception(bug);
      result.emplace(std::move(r));
    });
    io.restart();
    while (!result) io.run_one();
    return std::move(*result);
  }

  static LegName leg(std::size_t i, const std::string& id) { return {"contract", kVolumes.at(i), id}; }

  /// The resource; what `make` was told is remembered beside the tool's run files, as hostd's record would have it.
  Resource resource() const {
    Resource r;
    r.vm = "contract";
    r.hosts = {Endpoint{"a1", "10.77.2.11", 8799, 0}, Endpoint{"b1", "10.77.2.21", 8799, 1}};
    std::ifstream memory(kMemory);
    for (std::uint16_t i = 0; i < kVolumes.size(); ++i) {
      Volume v{kVolumes.at(i), i, kFirstMinor + i, 0, {}};
      memory >> v.size_mib >> v.backing[*side_of(r, self)];
      r.volumes.push_back(v);
    }
    return r;
  }
  static void remember(const Resource& r, const std::string& self) {
    std::ofstream memory(kMemory);
    for (const auto& v : r.volumes) memory << v.size_mib << ' ' << v.backing[*side_of(r, self)] << '\n';
  }
  static constexpr const char* kMemory = "/run/drbd_contract";

  Result<> make(std::uint64_t mib, const std::string& id, bool fresh) {
    Resource r = resource();
    for (std::size_t i = 0; i < r.volumes.size(); ++i) {
      auto path = fresh ? wait(pool->create(leg(i, id), mib)) : wait(pool->activate(leg(i, id)));
      if (!path) return path.error();
      if (fresh) r.volumes[i].size_mib = mib;
      r.volumes[i].backing[*side_of(r, self)] = *path;
    }
    remember(r, self);
    if (fresh) {
      for (const auto& v : r.volumes) {
        if (auto ok = wait(drbd->create_metadata(r, v.name)); !ok) return ok;
      }
    }
    return wait(drbd->up_standalone(r));
  }

  Result<> unmake(const std::string& id) {
    if (auto ok = wait(drbd->down("vm-contract")); !ok) return ok;
    if (auto ok = wait(drbd->remove_config("vm-contract")); !ok) return ok;
    if (auto ok = drop(id); !ok) return ok;
    std::filesystem::remove(kMemory);
    return {};
  }

  Result<> drop(const std::string& id) {
    for (std::size_t i = 0; i < kVolumes.size(); ++i) {
      if (auto ok = wait(pool->remove(leg(i, id))); !ok) return ok;
    }
    return {};
  }

  Result<> snapshot(const std::string& id) {
    for (std::size_t i = 0; i < kVolumes.size(); ++i) {
      if (auto ok = wait(pool->snapshot(leg(i, id), Snapshot::copy)); !ok) return ok;
    }
    return {};
  }

  static void print(const ResourceState& s) {
    std::cout << "ok name=" << s.name << " present=" << s.present << " role=" << to_string(s.role) << " peer=" << to_string(s.peer_role)
              << " link=" << to_string(s.connection) << " suspended=" << s.suspended;
    for (const auto& [index, v] : s.volumes) {
      std::cout << " v" << index << "=" << to_string(v.disk) << "/" << to_string(v.peer_disk) << "/"
                << to_string(v.replication) << "/" << v.size_kib << "/" << v.out_of_sync_kib;
    }
    std::cout << std::endl;
  }

  /// For so long, or until SIGTERM: the stream is ended in order then, too.
  void events(int seconds) {
    asio::signal_set end(io, SIGTERM);
    end.async_wait([this](const boost::system::error_code& error, int) {
      if (!error) io.stop();
    });
    drbd->listen([](const ResourceState& s) { print(s); },
                 [](const core::Error& e) { std::cout << "trouble: " << e.what << std::endl; });
    io.restart();
    io.run_for(std::chrono::seconds(seconds));
    drbd->stop();
  }

  Result<> skip() {
    const Resource r = resource();
    for (const auto& v : r.volumes) {
      if (auto ok = wait(drbd->new_current_uuid_clear_bitmap(r, v.name)); !ok) return ok;
    }
    return {};
  }

  Result<> grow(const std::string& volume, std::uint64_t mib, const std::string& id) {
    for (std::size_t i = 0; i < kVolumes.size(); ++i) {
      if (kVolumes.at(i) == volume) return wait(pool->grow(leg(i, id), mib));
    }
    return core::fail(core::Errc::not_found, "no such volume");
  }

  Result<> resize(const std::string& volume, std::uint64_t mib) {
    Resource r = resource();
    return wait(drbd->resize(r, volume, mib));
  }

  /// As the record of a cell has it before DRBD grows.
  Result<> size(const std::string& volume, std::uint64_t mib) {
    Resource r = resource();
    for (auto& v : r.volumes) {
      if (v.name == volume) v.size_mib = mib;
    }
    remember(r, self);
    return wait(drbd->write_config(r));
  }

  Result<> act(std::span<char*> words) {
    const std::string verb = words[0];
    const auto word = [&](std::size_t i) { return i < words.size() ? std::string(words[i]) : std::string(); };
    const auto number = [&](std::size_t i) { return std::strtoull(word(i).c_str(), nullptr, 10); };
    const std::string name = "vm-contract";
    if (verb == "make") return make(number(1), word(2), true);
    if (verb == "up") return make(0, word(1), false);
    if (verb == "drop") return drop(word(1));
    if (verb == "snapshot") return snapshot(word(1));
    if (verb == "unmake") return unmake(word(1));
    if (verb == "connect") return wait(drbd->connect(resource()));
    if (verb == "disconnect") return wait(drbd->disconnect(name, word(1) == "force"));
    if (verb == "skip") return skip();
    if (verb == "promote") return wait(drbd->promote(name, PromotionProof{"contract", self, 1, 1}));
    if (verb == "demote") return wait(drbd->demote(name));
    if (verb == "two") return wait(drbd->set_two_primaries(name, word(1) == "yes"));
    if (verb == "verify") return wait(drbd->verify(resource(), word(1)));
    if (verb == "grow") return grow(word(1), number(2), word(3));
    if (verb == "resize") return resize(word(1), number(2));
    if (verb == "size") return size(word(1), number(2));
    if (verb == "detach") return wait(drbd->detach(resource(), word(1), word(2) == "force"));
    if (verb == "stale") return wait(drbd->mark_stale(resource(), word(1)));
    if (verb == "down") return wait(drbd->down(name));
    return core::fail(core::Errc::invalid, "no such verb: " + verb);
  }

  int say(const Result<>& result) {
    if (result) {
      std::cout << "ok" << std::endl;
      return 0;
    }
    std::cout << to_string(result.error().code) << ": " << result.error().what << std::endl;
    return 1;
  }

  int run(std::span<char*> words) {
    const std::string verb = words[0];
    if (verb == "query") {
      auto state = wait(drbd->query("vm-contract"));
      if (!state) return say(state.error());
      print(*state);
      return 0;
    }
    if (verb == "allowed") {
      auto two = wait(drbd->two_primaries("vm-contract"));
      if (!two) return say(two.error());
      std::cout << "ok " << (*two ? "yes" : "no") << std::endl;
      return 0;
    }
    if (verb == "space") {
      auto space = wait(pool->space());
      if (!space) return say(space.error());
      std::cout << "ok " << space->free_mib << " " << space->total_mib << std::endl;
      return 0;
    }
    if (verb == "events" && words.size() > 1) {
      events(std::atoi(words[1]));
      return 0;
    }
    return say(act(words));
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: drbd_contract SELF loop|lvm|lvm-thin VERB [ARGUMENTS]\n";
    return 2;
  }
  Tool tool;
  tool.self = argv[1];
  const auto kind = parse_pool_kind(argv[2]);
  DrbdOptions options;
  options.ping_int_s = 1;
  options.timeout_ds = 9;
  // Answers what its file says; without one the I/O stays frozen, as with a hostd that does not win.
  options.fence_peer = "/run/drbd_contract_fence";
  auto drbd = DrbdAdapter::make(tool.io.get_executor(), tool.self, options);
  if (!kind || !drbd) {
    std::cerr << (drbd ? "no such pool" : drbd.error().what) << "\n";
    return 2;
  }
  tool.drbd = std::move(*drbd);
  tool.pool = make_pool(tool.io.get_executor(), {*kind, "/var/lib/bascule/volumes", "vg0", "thin"});
  return tool.run(std::span(argv + 3, static_cast<std::size_t>(argc - 3)));
}
