// What hostd keeps of what libvirt tells.
#include "hostd/observer.hpp"

#include "shell_fixture.hpp"

namespace bascule::testkit {
namespace {

using core::DomainReason;
using core::DomainState;

class Watching : public Shell {
 protected:
  Watching() {
    auto& guest = hypervisors_.guests["a1"]["vm1"];
    guest.info.name = "vm1";
    guest.info.uuid = core::domain_uuid("c", "vm1");
    guest.info.state = DomainState::running;
    vms_.connect();
    node_.local_vm("vm1").domain = DomainState::running;
  }
  void libvirt_restarts() {
    vms_.lose();
    time_.pass(Mono(50));
    EXPECT_EQ(node_.local["vm1"].domain, DomainState::unknown);
    vms_.connect();
    time_.pass(Mono(50));
    EXPECT_EQ(node_.local["vm1"].domain, DomainState::absent);
  }
  Observer observer_{node_};
};

TEST_F(Watching, AGuestThatSwitchedItselfOffStaysOffWhenLibvirtIsBack) {
  vms_.guest_powers_off("vm1");
  time_.pass(Mono(50));
  ASSERT_EQ(node_.local["vm1"].reason, DomainReason::guest_shutdown);
  libvirt_restarts();
  EXPECT_EQ(node_.local["vm1"].reason, DomainReason::guest_shutdown);
}

TEST_F(Watching, OneThatEndedWhileLibvirtWasAwayIsNotTakenForIt) {
  vms_.lose();
  time_.pass(Mono(50));
  hypervisors_.guests["a1"].clear();
  vms_.connect();
  time_.pass(Mono(50));
  EXPECT_EQ(node_.local["vm1"].domain, DomainState::absent);
  EXPECT_EQ(node_.local["vm1"].reason, DomainReason::other);
}

}  // namespace
}  // namespace bascule::testkit
