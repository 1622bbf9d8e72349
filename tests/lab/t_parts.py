#!/usr/bin/python3
"""The parts below hostd by hand: what `virsh` and `drbdadm` alone do here is the measure for what hostd does with them."""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster, faults, ledger  # noqa: E402
from lablib.case import expect, main, sh  # noqa: E402
from lablib.proc import LabError, wait_for  # noqa: E402

MINOR, PORT, VM, VOLUME_MIB = 900, 8790, "parts", 192
MAC = "52:54:00:ba:5c:77"
RESOURCE = """resource parts {
  net { protocol C; timeout 20; ping-int 3; allow-two-primaries yes; }
  volume 0 { device minor %d; disk /dev/vg0/bascule-parts-system-0; meta-disk internal; }
  on a1 { address ipv4 %s:%d; }
  on b1 { address ipv4 %s:%d; }
}
"""
DOMAIN = """<domain type='qemu'><name>parts</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native'/>
<source dev='/dev/drbd%d'/><target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><source bridge='br-client'/><mac address='%s'/><model type='virtio'/></interface>
<memballoon model='none'/></devices></domain>
"""


def _replicate(lab):
    """One volume on both hosts, connected and equal, with the guest image on it."""
    a1, b1 = lab.node("a1"), lab.node("b1")
    text = RESOURCE % (MINOR, a1.address("repl"), PORT, b1.address("repl"), PORT)
    for host in ("a1", "b1"):
        sh(lab, host, "lvcreate", "-q", "-y", "-V", f"{VOLUME_MIB}M", "-T", "vg0/thin", "-n", "bascule-parts-system-0")
        sh(lab, host, "dd", "of=/etc/drbd.d/parts.res", "status=none", stdin=None, input=text)
        sh(lab, host, "drbdadm", "create-md", "--force", "parts")
        sh(lab, host, "drbdadm", "up", "parts")
    wait_for("DRBD to connect", lambda: "Connected" in sh(lab, "a1", "drbdadm", "cstate", "parts"), 30)
    sh(lab, "a1", "drbdadm", "--", "--clear-bitmap", "new-current-uuid", "parts/0")
    for host in ("a1", "b1"):
        sh(lab, host, "drbdadm", "primary", "parts")
    with open(cluster.program(lab, "guest.img"), "rb") as image:
        sh(lab, "a1", "dd", f"of=/dev/drbd{MINOR}", "bs=1M", "oflag=direct", "iflag=fullblock", "status=none",
           stdin=image, timeout=120)


def _remove(lab):
    for host in ("a1", "b1"):
        sh(lab, host, "virsh", "destroy", VM, check=False)
        sh(lab, host, "drbdadm", "down", "parts", check=False)
        sh(lab, host, "rm", "-f", "/etc/drbd.d/parts.res")
        sh(lab, host, "lvremove", "-q", "-y", "vg0/bascule-parts-system-0", check=False)


def _migrate(lab, source, target):
    address = lab.node(target).address("repl")
    sh(lab, source, "timeout", "200", "virsh", "migrate", "--live", "--p2p", "--tls", VM, f"qemu+tls://{target}/system",
       f"tcp://{address}", timeout=210)
    said = sh(lab, target, "virsh", "domjobinfo", VM, "--completed")
    downtime = re.search(r"Total downtime:\s+(\d+)\s+ms", said)
    return int(downtime.group(1)) if downtime else None


def test_guest_over_the_fibre(lab):
    """A guest on a replicated volume moves there and back over TLS by virsh alone: no acknowledged record is lost."""
    collector = ledger.start_collector(lab)
    try:
        _replicate(lab)
        sh(lab, "a1", "dd", "of=/run/parts.xml", "status=none", stdin=None, input=DOMAIN % (MINOR, MAC))
        sh(lab, "a1", "virsh", "create", "/run/parts.xml")
        ledger.wait_records(lab, 50, 90)
        for source, target in (("a1", "b1"), ("b1", "a1")):
            downtime = _migrate(lab, source, target)
            print(f"    {source} to {target}: downtime {downtime} ms")
            ledger.wait_records(lab, 25, 60)
        try:
            sh(lab, "a1", "virsh", "migrate", "--live", "--p2p", VM, "qemu+tls://b1/system", check=True)
            expect(False, "a migration without TLS was let through")
        except LabError as err:
            expect("TLS" in str(err), str(err))
        sh(lab, "a1", "virsh", "shutdown", VM)
        wait_for("the guest to stop", lambda: VM not in sh(lab, "a1", "virsh", "list", "--name"), 60, every=1)
        legs = []
        for host in ("a1", "b1"):
            sh(lab, host, "drbdadm", "down", "parts")
            legs.append(ledger.fetch_leg(lab, lab.node(host), ledger.leg_device(lab, lab.node(host), VM, "system")))
        print("    " + ledger.judge(lab, legs).splitlines()[0])
    finally:
        ledger.stop_collector(collector)
        _remove(lab)


def test_watchdog_contract(lab):
    """The contract of the watchdog's port holds on a device, which in the end resets the machine: no hostd is beside it."""
    # As in hostd.toml: 0 is User-Mode Linux's own.
    tool = "BASCULE_WATCHDOG=/dev/watchdog1 /opt/bascule/bin/watchdog_contract_test --gtest_filter="
    node = lab.node("b1")
    faults.boot(lab, [node])  # an earlier end of it is forgotten
    sh(lab, "b1", "systemctl", "stop", "hostd")
    try:
        for _ in range(3):  # a machine that stands still pets no watchdog
            said = sh(lab, "b1", "sh", "-c", tool + "'*device:DeviceWatchdog.*'", check=False, timeout=120)
            if node not in faults.dead(lab):
                break
            print("    b1 was reset meanwhile: once more", flush=True)
            faults.boot(lab, [node])
            sh(lab, "b1", "systemctl", "stop", "hostd")
        passed = re.search(r"\[  PASSED  \] (\d+) tests?", said)
        expect(passed and int(passed.group(1)) >= 5 and "FAILED" not in said, said)
        said = sh(lab, "b1", "sh", "-c", "BASCULE_WATCHDOG_FIRES=1 " + tool + "'*ToldToExpire*device'", check=False)
        expect("FAILED" not in said and "SKIPPED" not in said, said)
        wait_for("b1 to be reset by it", lambda: node in faults.dead(lab), 20, every=0.5)
        faults.boot(lab, [node])
    finally:
        sh(lab, "b1", "systemctl", "start", "hostd", check=False)


main(globals(), tries=3)
