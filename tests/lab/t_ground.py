#!/usr/bin/python3
"""The ground the scenarios stand on: etcd, libvirt over TLS, DRBD, storage, links, power, commands in hosts."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lablib import cluster, net, remote  # noqa: E402
from lablib.case import expect, main, sh  # noqa: E402
from lablib.proc import LabError, run, wait_for  # noqa: E402


def test_units(lab):
    """No unit of any host has failed, and each host is the one it should be."""
    for node in lab.nodes.values():
        failed = sh(lab, node.id, "systemctl", "--failed", "--no-legend", "--plain").strip()
        expect(not failed, f"{node.id}: {failed}")
        expect(sh(lab, node.id, "cat", "/etc/hostname").strip() == node.id, f"{node.id} has another name")


def test_exec(lab):
    """A command in a host gives its stdout, stderr, exit code and stdin exactly, whatever characters it holds."""
    nasty = "a b'c\"d$HOME;`x`\\n*\n\tend"
    done = remote.execute(lab, lab.node("a1"), ["sh", "-c", 'cat; printf %s "$1" >&2; exit 41', "sh", nasty], check=False,
                          stdin=None, input="over stdin\0and more")
    expect(done.returncode == 41, f"exit {done.returncode}")
    expect(done.stdout == "over stdin\0and more", f"stdout {done.stdout!r}")
    expect(done.stderr == nasty, f"stderr {done.stderr!r}")


def test_etcd_needs_certificate(lab):
    """etcd on every member answers a host's certificate, and not a caller without one."""
    for node in lab.voters:
        url = f"https://{node.address('mgmt')}:2379/health"
        expect('"true"' in cluster.curl(lab, node.id, url)[1], f"{node.id} is not healthy")
        bare = net.inside(lab, ["curl", "-s", "-m", "5", "--cacert", str(lab.pki / "ca.pem"), url])
        expect(run(bare, check=False).returncode != 0, f"{node.id} answered a caller without a certificate")


def test_libvirt_over_tls(lab):
    """libvirtd of each host reaches the other's over TLS; a user's certificate is refused."""
    for here, there in (("a1", "b1"), ("b1", "a1")):
        uri = f"qemu+tls://{there}/system"
        said = sh(lab, here, "timeout", "20", "virsh", "-c", uri, "hostname").strip()
        expect(said == there, f"{uri} is {said}")
    try:
        sh(lab, "a1", "mkdir", "-p", "/tmp/user")
        for source, target in (("ca.pem", "cacert.pem"), ("operator.pem", "clientcert.pem"), ("operator.key", "clientkey.pem")):
            with open(lab.pki / source, encoding="utf-8") as file:
                remote.execute(lab, lab.node("a1"), ["dd", f"of=/tmp/user/{target}", "status=none"], input=file.read())
        done = remote.execute(lab, lab.node("a1"), ["timeout", "20", "virsh", "-c", "qemu+tls://b1/system?pkipath=/tmp/user",
                                                    "hostname"], check=False)
        expect(done.returncode != 0, "libvirtd let a user's certificate in")
    finally:
        sh(lab, "a1", "rm", "-rf", "/tmp/user")


def test_storage(lab):
    """Every host has DRBD 8.4, a volume group with a thin pool on a linear device, and the loop pool's folder."""
    for node in lab.hosts:
        expect("version: 8.4" in sh(lab, node.id, "cat", "/proc/drbd"), "no DRBD 8.4")
        expect("thin-pool" in sh(lab, node.id, "lvs", "--noheadings", "-o", "segtype", "vg0/thin"), "no thin pool")
        expect(" linear " in sh(lab, node.id, "dmsetup", "table", "labdisk"), "no linear device below")
        expect("vg0-files" in sh(lab, node.id, "findmnt", "-no", "SOURCE", "/var/lib/bascule/volumes"), "no loop folder")


def _pings(lab, host, address):
    done = remote.execute(lab, lab.node(host), ["ping", "-c", "1", "-W", "1", address], check=False)
    return done.returncode == 0


def test_cut_links_alone(lab):
    """Each link of a host can be cut alone and heals; commands still reach the host."""
    for link, other in (("mgmt", "repl"), ("repl", "mgmt")):
        b1 = lab.node("b1")
        with cluster.locked(lab):
            net.cut(lab, lab.node("a1"), link)
        expect(not _pings(lab, "a1", b1.address(link)), f"{link} is cut and still carries")
        wait_for(f"{other} to carry beside {link}", lambda address=b1.address(other): _pings(lab, "a1", address), 30)
        with cluster.locked(lab):
            net.heal(lab)
        wait_for(f"{link} to carry again", lambda address=b1.address(link): _pings(lab, "a1", address), 30)


def test_cut_survives_reboot(lab):
    """A cut link stays cut when the host's power is cut and comes back."""
    a1, b1 = lab.node("a1"), lab.node("b1")
    with cluster.locked(lab):
        net.cut(lab, a1, "repl")
        cluster.power(lab, a1, False)
        cluster.power(lab, a1, True)
    expect(not _pings(lab, "a1", b1.address("repl")), "the cut link carries after the reboot")
    wait_for("the management link to carry", lambda: _pings(lab, "a1", b1.address("mgmt")), 30)


def test_power_cut(lab):
    """A power cut loses what was not flushed at most: flushed data, disks and etcd's data are there after it."""
    sh(lab, "b1", "sh", "-c", "lvremove -q -y vg0/extra; echo kept >/var/lib/bascule/volumes/flushed; sync; lvcreate -q -y -L 8M -n extra vg0")
    before = sh(lab, "b1", "cat", "/proc/sys/kernel/random/boot_id")
    with cluster.locked(lab):
        cluster.power(lab, lab.node("b1"), False)
        expect(cluster.status(lab)["nodes"][2]["on"] is False, "b1 still runs")
        try:
            sh(lab, "b1", "true", timeout=20)
            expect(False, "b1 answered while its power was off")
        except LabError:
            pass
        cluster.power(lab, lab.node("b1"), True)
    expect(sh(lab, "b1", "cat", "/proc/sys/kernel/random/boot_id") != before, "it did not boot")
    expect(sh(lab, "b1", "cat", "/var/lib/bascule/volumes/flushed").strip() == "kept", "flushed data is gone")
    sh(lab, "b1", "lvremove", "-q", "-y", "vg0/extra")


main(globals(), tries=3)
