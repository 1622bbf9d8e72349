#!/usr/bin/python3
"""Scenarios of docs/failover.md that need several faults in a row, on a lab that is up; the judge at the end. Not part of
`lab test`, for its time.

    ./lab up --timing fast && tests/lab/nasty_scenarios.py"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import faults, ledger  # noqa: E402
from lablib.case import expect, main  # noqa: E402
from lablib.client_vm import NAME, ClientVm  # noqa: E402
from lablib.plan import Lab  # noqa: E402
from lablib.proc import wait_for  # noqa: E402
from lablib.trial import Firmware, bring_home, settle  # noqa: E402

HOME = "a1"
LOST_DISKS = "/var/lib/bascule/state/lost-disks"
state = {}


def the_vm():
    if "vm" not in state:
        state["vm"] = ClientVm(Lab(os.environ.get("LAB_NAME", "lab")).load())
        state["vm"].prepare()
    vm = state["vm"]
    faults.heal(vm.lab)
    settle(vm)
    bring_home(vm, HOME)
    return vm


def hang_etcd(vm):
    for node in vm.lab.voters:
        faults.make(vm.lab, "etcd-hung", node)


def drbd(vm, host):
    return faults.run_in(vm.lab, host, "cat", "/proc/drbd")


def why(vm):
    return vm.job.hostctl(["why", NAME], 30)


def mend(vm):
    faults.heal(vm.lab)
    settle(vm)


def test_frozen_while_the_other_host_reboots(_lab):
    """1. etcd is away and the other host reboots beside a frozen primary: its leg does not connect before its own write (R5).
    The holder's hostd hangs and its watchdog is broken: they would end the frozen guest long before the other host is back."""
    vm = the_vm()
    home, other = vm.lab.node(HOME), vm.lab.node("b1")
    vm.do("vm", "migrate", NAME, "--to", "b1")
    faults.make(vm.lab, "watchdog-broken", home)
    vm.job.hosts_ready()
    vm.in_sync()
    vm.failback()
    hang_etcd(vm)
    faults.make(vm.lab, "hostd-hung", home)
    faults.make(vm.lab, "power-cut", other)
    wait_for("the primary to be frozen", lambda: "WFConnection ro:Primary" in drbd(vm, HOME), 20, every=0.5)
    count = ledger.reports(vm.lab)
    faults.power_on(vm.lab, other)
    # A member that waits for the others holds hostd's start up; and were it to find one of them, etcd would be back.
    faults.make(vm.lab, "etcd-stopped", other)
    wait_for("hostd on b1", lambda: faults.run_in(vm.lab, "b1", "systemctl", "is-active", "hostd").strip() == "active", 60, every=0.5)
    time.sleep(15)
    expect("cs:Connected" not in drbd(vm, "b1"), f"the leg has connected without its write: {drbd(vm, 'b1')}")
    expect("ro:Primary" in drbd(vm, HOME), f"the frozen primary is gone, nothing was shown: {drbd(vm, HOME)}")
    expect(ledger.reports(vm.lab) == count, "records were confirmed by one leg while the record lists two")
    for node in vm.lab.voters:
        faults.KINDS["etcd-hung"][2](vm.lab, node)
    # Either b1 leaves the record and connects, and the primary goes on; or it takes over, should a1's silence count first.
    wait_for("the VM to go on", lambda: ledger.reports(vm.lab) > count, 90, every=0.5)
    listed = vm.ask("vm", "show", NAME)["right"]
    expect(listed["host"] == "b1" or [leg["host"] for leg in listed["insync"]["system"]] == [HOME],
           f"it goes on beside a leg that the record lists and that lacks its writes: {listed}")
    faults.KINDS["hostd-hung"][2](vm.lab, home)
    wait_for("one copy", lambda: [vm.domain(node.id) for node in vm.lab.hosts].count("running") == 1 and
             [vm.domain(node.id) for node in vm.lab.hosts].count("absent") == 1, 60, every=0.5)
    mend(vm)


def test_no_quorum_at_the_hand_over(_lab):
    """9. etcd has no quorum between the arrival of the guest and the hand-over: it waits, and then runs on one side."""
    vm = the_vm()
    with Firmware(vm.lab):
        ident = vm.start_operation("vm", "migrate", NAME, "--to", "b1")
        vm.until_step(ident, "live-migrate")
        hang_etcd(vm)
        time.sleep(6)
        mend(vm)
    end = vm.ended(ident)
    expect(end["state"] in ("done", "undone"), f"a person is asked: {end}")


def test_own_disk_then_the_link_then_the_power(_lab):
    """10. The primary's own disk fails, then the fibre, then its power, and it comes back with the disk healed: the VM goes on
    from the leg that has every write, and the healed one is not used before it was resynced."""
    vm = the_vm()
    home = vm.lab.node(HOME)
    faults.make(vm.lab, "disk-error", home)
    wait_for("the leg to be out of the record", lambda: [leg["host"] for leg in vm.ask("vm", "show", NAME)["right"]["insync"]["system"]] == ["b1"],
             30, every=0.5)
    vm.records_go_on()
    faults.make(vm.lab, "link-repl", home)
    time.sleep(3)
    count = ledger.reports(vm.lab)
    time.sleep(3)
    expect(ledger.reports(vm.lab) == count, "the guest has written without any leg")
    faults.make(vm.lab, "power-cut", home)
    wait_for("the VM to run on b1", lambda: vm.domain("b1") == "running", 60, every=0.5)
    mend(vm)
    expect(vm.where() == "b1", "it went home by itself")


def test_other_disk_while_etcd_is_away(_lab):
    """11. The other leg's disk fails while etcd is away: nothing is confirmed until the record says so (R4), then it goes on."""
    vm = the_vm()
    hang_etcd(vm)
    faults.make(vm.lab, "disk-error", vm.lab.node("b1"))
    time.sleep(2.5)
    count = ledger.reports(vm.lab)
    time.sleep(3)
    expect(ledger.reports(vm.lab) == count, "records were confirmed by one leg while the record lists two")
    for node in vm.lab.voters:
        faults.KINDS["etcd-hung"][2](vm.lab, node)
    vm.records_go_on()
    mend(vm)


def test_disk_fails_while_hostd_hangs(_lab):
    """The primary's disk fails while its hostd stands still: the kernel's helper writes that down all the same (R5), the other
    side goes on, and the leg is resynced before it counts again."""
    vm = the_vm()
    home = vm.lab.node(HOME)
    with Firmware(vm.lab):
        faults.make(vm.lab, "hostd-hung", home)
        faults.make(vm.lab, "disk-error", home)
        wait_for("the helper's note", lambda: f"vm-{NAME}.0" in faults.run_in(vm.lab, HOME, "ls", LOST_DISKS), 8, every=0.2)
        wait_for("the VM to run on b1", lambda: vm.domain("b1") == "running", 60, every=0.5)
        mend(vm)


def test_the_only_disk_fails(_lab):
    """The other host is away and the only leg of the record fails: the guest stands still and loses nothing; nothing goes on by
    itself, also when the disk answers again; a person's word does, for the guest that waits and for one that was ended."""
    vm = the_vm()
    home, other = vm.lab.node(HOME), vm.lab.node("b1")
    faults.make(vm.lab, "power-cut", other)
    wait_for("the other leg to be out of the record",
             lambda: [leg["host"] for leg in vm.ask("vm", "show", NAME)["right"]["insync"]["system"]] == [HOME], 30, every=0.5)
    vm.records_go_on()
    for ended in (False, True):
        faults.make(vm.lab, "disk-error", home)
        wait_for("the disk to be gone", lambda: "ds:Diskless" in drbd(vm, HOME), 20, every=0.5)
        faults.KINDS["disk-error"][2](vm.lab, home)
        time.sleep(5)
        count = ledger.reports(vm.lab)
        if ended:
            # Its QEMU cannot end while its I/O stands still: the whole host goes.
            faults.make(vm.lab, "power-cut", home)
            faults.power_on(vm.lab, home)
            wait_for("hostd to say what it waits for", lambda: "--with-failed-disk" in why(vm), 90, every=1)
        else:
            expect("--with-failed-disk" in why(vm), f"no way out is named: {why(vm)}")
        time.sleep(3)
        expect(ledger.reports(vm.lab) == count, "it went on by itself")
        vm.do("vm", "start", NAME, "--with-failed-disk")
        vm.records_go_on()
    mend(vm)
    vm.in_sync()


def test_judged(_lab):
    """Across all of it no acknowledged record was lost, torn or doubled, and never two copies wrote."""
    print(f"      {the_vm().remove()}", flush=True)


test_judged.once = True
main(globals(), tries=3)
