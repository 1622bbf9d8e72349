#!/usr/bin/python3
"""The lab's own faults, its machines' firmware and their power switch: each does what it says, and heals."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster, faults, power_switch, remote, uml  # noqa: E402
from lablib.case import expect, main, sh  # noqa: E402
from lablib.plan import PLAN  # noqa: E402
from lablib.proc import LabError, wait_for  # noqa: E402


def make(lab, kind, host):
    with cluster.locked(lab):
        faults.make(lab, kind, lab.node(host))


def heal(lab):
    with cluster.locked(lab):
        faults.heal(lab)


def agent(lab, host, plug, action, *lines):
    """Exit code of the fence agent in a host, asked as hostd asks it."""
    options = [f"ip={power_switch.address()}", f"ipport={power_switch.port()}", f"plug={plug}", "method=onoff", f"action={action}",
               *lines]
    said = "\n".join([f"password={power_switch.password(lab)}", *options])
    return remote.execute(lab, lab.node(host), ["/usr/sbin/fence_bascule_lab"], check=False, input=said + "\n", stdin=None).returncode


def boot_id(lab, host):
    return sh(lab, host, "cat", "/proc/sys/kernel/random/boot_id").strip()


def test_watchdog_resets(lab):
    """A watchdog that nobody pets ends the machine, and its firmware boots it again with nobody asked."""
    b1 = lab.node("b1")
    faults.boot(lab, [b1])  # an earlier end of it is forgotten
    noted, before = b1.dir / "ended", boot_id(lab, "b1")
    sh(lab, "b1", "wdctl", "--settimeout", "2", "/dev/watchdog1")  # its close pings once more, and does not disarm
    # As its firmware notes it: b1 may be on again before anybody looks.
    wait_for("b1 to end by its watchdog", lambda: noted.exists() and noted.read_text() == "watchdog", 30)
    expect(power_switch.state(lab, b1) == "on", "the switch calls a machine off that is about to boot")
    wait_for("b1 to boot by itself", lambda: uml.is_on(lab, b1), PLAN["machine"]["bios_seconds"] + 60)
    cluster.wait_booted(lab, b1)
    expect(boot_id(lab, "b1") != before, "it is the same boot")


def test_power_switch(lab):
    """A host asks by the fence agent for another's state, and switches it on and off: off is confirmed when nothing is left,
    and then nothing boots it, nor a host that powered itself off."""
    b1 = lab.node("b1")
    with power_switch.PowerSwitch(lab):
        expect(agent(lab, "a1", "b1", "status") == 0, "status of a running host is not 0")
        sh(lab, "b1", "systemctl", "poweroff", "--no-block")
        wait_for("b1 to be off", lambda: agent(lab, "a1", "b1", "status") == 2, 60, every=0.5)
        time.sleep(PLAN["machine"]["bios_seconds"] + 1)
        expect(agent(lab, "a1", "b1", "off") == 0, "off of what is off failed")
        expect(agent(lab, "a1", "b1", "on") == 0 and uml.is_on(lab, b1), "on failed")
        expect(agent(lab, "a1", "b1", "off") == 0, "off failed")
        expect(not uml.is_on(lab, b1), "off was confirmed and b1 runs")
        expect(agent(lab, "a1", "b1", "status", "password=wrong") == 3, "a wrong password was taken")
        expect(agent(lab, "a1", "w", "status") == 1, "the witness has a plug")
        time.sleep(PLAN["machine"]["bios_seconds"] + 1)
        expect(agent(lab, "a1", "b1", "status") == 2, "b1 was booted by nobody")
    expect(agent(lab, "a1", "b1", "status") == 1, "a switch that is absent answers")


def test_power_switch_misbehaves(lab):
    """A switch that is silent, or refuses, never confirms, and does nothing to the host."""
    with power_switch.PowerSwitch(lab):
        for kind, code in (("power-silent", 5), ("power-refuses", 1)):
            make(lab, kind, "b1")
            expect(agent(lab, "a1", "b1", "off", "power_timeout=2") == code, f"{kind}: not exit {code}")
            expect(uml.is_on(lab, lab.node("b1")), f"{kind}: b1 is off")
            heal(lab)
        expect(agent(lab, "a1", "b1", "status") == 0, "healed, and does not answer")


def test_disk_error(lab):
    """A broken disk fails every access, below a thin pool as well; healed it carries volumes again."""
    read = ["dd", "if=/dev/mapper/labdisk", "of=/dev/null", "bs=4k", "count=1", "iflag=direct"]
    sh(lab, "b1", "lvremove", "-q", "-y", "vg0/extra", check=False)  # of an earlier try
    sh(lab, "b1", "lvcreate", "-q", "-y", "-V", "8M", "-T", "vg0/thin", "-n", "extra")
    make(lab, "disk-error", "b1")
    expect(remote.execute(lab, lab.node("b1"), read, check=False).returncode != 0, "the broken disk could be read")
    expect("labdisk=error" in uml.boot_words(lab.node("b1")), "a reboot would mend the disk")
    heal(lab)
    sh(lab, "b1", *read)
    sh(lab, "b1", "dd", "if=/dev/zero", "of=/dev/vg0/extra", "bs=1M", "count=8", "oflag=direct")
    sh(lab, "b1", "lvremove", "-q", "-y", "vg0/extra")


def test_netem(lab):
    """A lossy link loses, a slow one delays, both at once do both, and both heal."""
    def ping():
        said = sh(lab, "b1", "ping", "-q", "-i", "0.02", "-c", "60", "-W", "1", lab.node("a1").address("repl"), check=False)
        return "100% packet loss" not in said, " 0% packet loss" not in said, float(said.rsplit("= ", 1)[1].split("/")[0])
    for kind in ("loss-20", "delay-100"):
        make(lab, kind, "a1")
    some, lossy, fastest = ping()
    expect(some and lossy and fastest >= 100, f"lossy {lossy}, fastest {fastest} ms")
    heal(lab)
    some, lossy, fastest = ping()
    expect(some and not lossy and fastest < 100, f"healed: lossy {lossy}, fastest {fastest} ms")


def test_hang(lab):
    """A machine that hangs answers nothing and is on for its power switch; woken it is the same boot."""
    before = boot_id(lab, "b1")
    make(lab, "hang", "b1")
    ping = ["ping", "-c", "1", "-W", "1", lab.node("b1").address("mgmt")]
    expect(remote.execute(lab, lab.node("a1"), ping, check=False).returncode != 0, "it answers")
    expect(power_switch.state(lab, lab.node("b1")) == "on", "it is off")
    heal(lab)
    expect(boot_id(lab, "b1") == before, "it booted")


def test_site_fibre(lab):
    """With the fibre cut the sites do not reach each other, both reach the witness, and it heals."""
    def reaches(host, address):
        return remote.execute(lab, lab.node(host), ["ping", "-c", "1", "-W", "1", address], check=False).returncode == 0
    make(lab, "site-fibre", "a1")
    for link in ("mgmt", "repl"):
        expect(not reaches("a1", lab.node("b1").address(link)), f"{link} carries")
    for host in ("a1", "b1"):
        wait_for(f"{host} to reach the witness", lambda here=host: reaches(here, lab.node("w").address("mgmt")), 30)
    heal(lab)
    for link in ("mgmt", "repl"):
        wait_for(f"{link} to carry", lambda net=link: reaches("a1", lab.node("b1").address(net)), 30)


def test_every_kind(lab):
    """Each kind has a sentence; an unknown kind, or one where it cannot be, is refused with what there is."""
    expect(all(what for what, _make, _heal in faults.KINDS.values()), "a kind without a sentence")
    for kind, host, words in (("nonsense", "a1", "power-cut"), ("disk-error", "w", "is for a host")):
        try:
            make(lab, kind, host)
        except LabError as err:
            expect(words in str(err), str(err))
        else:
            expect(False, f"{kind} on {host} was made")
    expect(not lab.faults, f"remembered: {lab.faults}")


main(globals(), tries=3)
