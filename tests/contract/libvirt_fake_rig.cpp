#include <utility>

#include "tests/contract/libvirt_rig.hpp"
#include "tests/testkit/fake_vm_host.hpp"

namespace bascule::test {
namespace {

class FakeRig final : public Rig {
 public:
  FakeRig() {
    world_.missing_disks.insert(missing_disk());
    listen();
    a_.connect();
    b_.connect();
  }
  runtime::VmHost& a() override { return a_; }
  runtime::VmHost& b() override { return b_; }
  core::DomainSpec spec(const std::string& name, Guest guest) override {
    world_.deaf.erase(name);
    world_.never_converge.erase(name);
    world_.panics.erase(name);
    if (guest == Guest::panics) world_.panics.insert(name);
    if (guest != Guest::obedient) world_.deaf.insert(name);
    if (guest == Guest::busy) world_.never_converge.insert(name);
    core::DomainSpec out;
    out.name = name;
    out.uuid = core::domain_uuid("test", name);
    out.memory_mib = 64;
    out.panic_device = guest == Guest::panics;
    out.disks = {{0, "/dev/drbd1", "disk"}};
    out.nics = {{"br-test", "52:54:00:00:00:01"}};
    return out;
  }
  std::string impostor() override { return "impostor"; }  // unreachable: the fake has no certificates
  std::string missing_disk() override { return "/dev/drbd999"; }
  std::string migration_address() override { return "127.0.0.1"; }
  void kill_daemon_a() override { a_.lose(); }
  void start_daemon_a() override { a_.connect(); }
  void freeze_daemon_a() override { a_.freeze(); }
  bool start_was_sent(const std::string& name) override {
    return !a_.calls.empty() && a_.calls.back() == "start " + name;
  }
  std::string process_of(const std::string& name) override {
    std::string out;
    for (const auto& [host, guests] : world_.guests) {
      if (const auto it = guests.find(name); it != guests.end()) out += std::to_string(it->second.ran);
    }
    return out;
  }
  bool advances_within(const std::string& name, std::chrono::milliseconds /*limit*/) override {
    for (const auto& [host, guests] : world_.guests) {
      const auto it = guests.find(name);
      if (it != guests.end() && it->second.info.state == core::DomainState::running) return true;
    }
    return false;
  }

 private:
  testkit::FakeHypervisors world_{io.get_executor()};
  testkit::FakeVmHost a_{world_, "test", "a1"}, b_{world_, "test", "b1"};
};

}  // namespace

std::unique_ptr<Rig> make_fake_rig() { return std::make_unique<FakeRig>(); }

}  // namespace bascule::test
