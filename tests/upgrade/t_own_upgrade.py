#!/usr/bin/python3
"""What tests/upgrade/run runs: hosts of one cell go from one version to the next, one after the other, while a VM runs on them."""
import pathlib
import re
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
sys.path.insert(0, str(HERE.parent / "image"))

import image_lab  # noqa: E402
from lablib import faults, remote  # noqa: E402
from lablib.case import expect, sh  # noqa: E402
from lablib.client_vm import NAME  # noqa: E402
from lablib.proc import LabError, run, wait_for  # noqa: E402
from lablib.trial import Trial, longest_gap, reports_since  # noqa: E402

QUIET_SECONDS = 4.0  # longest silence of a guest while its host's hostd is replaced, on this slow kind of kernel
ETCDCTL = "ETCDCTL_API=3 etcdctl --cacert /etc/etcd/ca.pem --cert /etc/etcd/host.pem --key /etc/etcd/host.key --endpoints https://{}:2379 "
work = pathlib.Path(tempfile.mkdtemp(prefix="upgrade-run.", dir="/var/tmp"))
state = {}


def previous():
    lines = [line for line in (HERE / "previous").read_text().splitlines() if line and not line.startswith("#")]
    expect(len(lines) == 1 and re.fullmatch("[0-9a-f]{40}", lines[0]), f"tests/upgrade/previous: {lines}")
    return lines[0]


def debs(which):
    return image_lab.packages(work, previous(), "BASCULE_OLD_PACKAGES") if which == "old" else image_lab.packages(work)


def version(which):
    found = list(debs(which).glob("bascule-hostd_*.deb"))
    expect(len(found) == 1, f"{debs(which)} holds {len(found)} packages of hostd")
    return run(["dpkg-deb", "-f", str(found[0]), "Version"]).stdout.strip()


def the_vm():
    """The lab of this file: hosts with the old packages, the VM at a1, and both sets of packages in /lab of each host."""
    if "vm" not in state:
        # With what the new ones need, too: the lab's hosts have no archive to take it from.
        image_lab.build_image(work / "old", debs("old"), "--emulation", "--no-disk", "--with", ",".join(image_lab.needs(debs("new"))))
        vm = image_lab.boot("own-upgrade", work / "old/host-root.tar.zst")
        for which in ("old", "new"):
            for deb in debs(which).glob("bascule-host*.deb"):
                if "dbgsym" not in deb.name:
                    (vm.lab.exchange / which).mkdir(exist_ok=True)
                    shutil.copyfile(deb, vm.lab.exchange / which / deb.name)
        state["vm"], state["failovers"] = vm, 0
    return state["vm"]


def installed(host):
    return sh(the_vm().lab, host, "dpkg-query", "-W", "-f", "${Version}", "bascule-hostd").strip()


def running(host):
    """(version that the running hostd is of, its pid, the host's boot, pid of the VM's QEMU or nothing)."""
    lab = the_vm().lab
    pid = sh(lab, host, "systemctl", "show", "-p", "ExecMainPID", "--value", "hostd").strip()
    stale = sh(lab, host, "readlink", f"/proc/{pid}/exe").strip().endswith("(deleted)")
    boot = sh(lab, host, "cat", "/proc/sys/kernel/random/boot_id").strip()
    return ("replaced" if stale else installed(host)), pid, boot, sh(lab, host, "pidof", "qemu-system-x86_64", check=False).strip()


def change(host, which):
    """The packages of a version on one host, as docs/operations.md says; the VM's longest silence from then on."""
    vm = the_vm()
    vm.in_sync()
    before, began, at = running(host), time.time(), vm.where()
    sh(vm.lab, host, "sh", "-c", f"DEBIAN_FRONTEND=noninteractive dpkg --install /lab/{which}/*.deb", timeout=300)
    if running(host)[1] == before[1]:  # a package from before 0.2.0 restarts nothing
        sh(vm.lab, host, "sh", "-c", "systemctl daemon-reload && systemctl restart hostd", timeout=120)
    vm.job.hosts_ready()
    vm.records_go_on()
    after = running(host)
    expect(after[0] == version(which) and after[1] != before[1], f"hostd did not become {version(which)}: {before} {after}")
    expect(after[2:] == before[2:], f"the host or its QEMU began anew: {before} {after}")
    expect(vm.where() == at, f"the VM went from {at} to {vm.where()}")
    gap, _ = longest_gap(reports_since(vm.lab, began), time.time())
    print(f"      {host}: {before[0]} to {after[0]}, the VM {'runs there' if at == host else 'is at ' + at}, longest silence {gap:.1f} s", flush=True)
    expect(gap < QUIET_SECONDS, f"the VM was silent for {gap:.1f} s")
    return before, after


def handed_over(host):
    """The watchdog of a host with a guest went from the hostd before to this one, without a moment in which nobody held it."""
    said = sh(the_vm().lab, host, "journalctl", "-u", "hostd", "-b", "-o", "cat", "-g", "handed over by the hostd before", check=False)
    expect("handed over" in said, "no watchdog was handed over")


def migrate(target):
    vm = the_vm()
    vm.in_sync()
    vm.do("vm", "migrate", NAME, "--to", target)
    vm.runs_only_on(target)


def lose(host, winner):
    """The power of a host with the VM is cut: the other takes over; the host comes back."""
    vm = the_vm()
    expect(vm.where() == host, f"the VM is at {vm.where()}")
    row = Trial(vm, "power-cut").run()
    state["failovers"] += 1
    print(f"      {row}", flush=True)
    expect(any(f"vm-failover to {winner}: done" in act for act in row.get("acts", [])) and row["human"] == "no", f"{row}")
    vm.in_sync()


def test_versions():
    """The packages of the previous version are lower than the tree's, and the cell begins with them."""
    vm = the_vm()
    expect(run(["dpkg", "--compare-versions", version("old"), "lt", version("new")], check=False).returncode == 0,
           f"{version('old')} is not lower than {version('new')}")
    expect([installed(host.id) for host in vm.lab.hosts] == [version("old")] * 2, "not every host begins with the old one")
    print(f"      {version('old')} ({previous()[:7]}) to {version('new')}", flush=True)
    vm.runs_only_on("a1")


def test_first_host():
    """The host without the VM is upgraded first."""
    change("b1", "new")


def test_migration_between_versions():
    """Old to new and new to old: the VM moves live between hosts of two versions."""
    migrate("b1")
    migrate("a1")


def test_failover_between_versions():
    """An old host is lost and a new one takes over; then the new one is lost and the old one takes over."""
    expect((running("a1")[0], running("b1")[0]) == (version("old"), version("new")), "the versions are not mixed")
    lose("a1", "b1")
    lose("b1", "a1")


def test_second_host_with_the_vm():
    """The host with the VM is upgraded while the VM runs on it: QEMU and the machine are the same, the watchdog is handed over."""
    expect(the_vm().where() == "a1", "the VM is elsewhere")
    change("a1", "new")
    handed_over("a1")


def test_bad_configuration_keeps_the_old():
    """A new hostd that does not take the configuration does not replace the one that runs."""
    vm = the_vm()
    before = running("a1")
    sh(vm.lab, "a1", "sh", "-c", "cp /etc/bascule/hostd.toml /run/hostd.toml.kept && echo 'nonsense = 1' >>/etc/bascule/hostd.toml")
    said = remote.execute(vm.lab, vm.lab.node("a1"), ["sh", "-c", "dpkg --install /lab/new/bascule-hostd_*.deb 2>&1"], timeout=300).stdout
    sh(vm.lab, "a1", "sh", "-c", "cp /run/hostd.toml.kept /etc/bascule/hostd.toml && rm /run/hostd.toml.kept")
    expect("goes on" in said and "nonsense" in said, said)
    expect(running("a1")[1] == before[1], "hostd was replaced")
    vm.job.hosts_ready()


def test_down_and_up_again():
    """Within one format a host may go back: downgraded without the VM, it takes the VM in and gives it back; then upgraded again."""
    change("b1", "old")
    migrate("b1")
    migrate("a1")
    change("b1", "new")


def _format(value=None):
    vm = the_vm()
    key, at = f"/bascule/{vm.lab.name}/format", ETCDCTL.format(vm.lab.node("a1").address("mgmt"))
    return sh(vm.lab, "a1", "sh", "-c", at + (f"put {key} {value}" if value else f"get --print-value-only {key}")).strip()


def _says(host, text):
    vm = the_vm()
    try:
        said = vm.job.hostctl(["--endpoint", f"https://{vm.lab.node(host).address('mgmt')}:8443", "health"], 30)
    except LabError as err:
        said = str(err)
    return text in said


def test_newer_format():
    """Records of a newer format: every host says so and changes nothing, also one that is started then; the VM runs on; gone, all works again."""
    vm = the_vm()
    expect(_format() == "1", f"the cell's format is {_format()!r}")
    began, before = time.time(), running("a1")
    _format("2")
    try:
        for host in ("a1", "b1"):
            wait_for(f"{host} to refuse", lambda h=host: _says(h, "have format 2"), 30, every=0.5)
        said = vm.refused("vm", "migrate", NAME, "--to", "b1")
        expect("have format 2" in said and "Install" in said, said)
        for host in ("a1", "b1"):
            sh(vm.lab, host, "systemctl", "restart", "hostd", timeout=120)
        time.sleep(15)  # longer than the fast profile's watchdog and takeover
        expect(all(_says(host, "have format 2") for host in ("a1", "b1")), "a hostd that was started then does not refuse")
        after = running("a1")
        expect(after[2:] == before[2:], f"the host or its QEMU began anew: {before} {after}")
    finally:
        _format("1")
    vm.job.hosts_ready()
    vm.runs_only_on("a1")
    gap, _ = longest_gap(reports_since(vm.lab, began), time.time())
    expect(gap < QUIET_SECONDS, f"the VM was silent for {gap:.1f} s")
    print(f"      longest silence {gap:.1f} s", flush=True)
    migrate("b1")


def test_judged():
    """The VM began anew by the two failovers alone, and no acknowledged record was lost, torn or doubled, on either leg."""
    vm = the_vm()
    faults.heal(vm.lab)
    expect([running(host.id)[0] for host in vm.lab.hosts] == [version("new")] * 2, "not every host is new")
    kinds = [op["kind"] for op in vm.ask("op", "list")]
    begun = [kind for kind in kinds if kind in ("vm-failover", "vm-restart", "vm-start")]
    expect(begun == ["vm-failover"] * state["failovers"] and state["failovers"] == 2, f"the VM began anew: {begun}")
    vm.job.ctl(["audit", "verify"])
    print(f"      {vm.remove()}", flush=True)


if __name__ == "__main__":
    image_lab.scenarios(globals(), "own-upgrade", work)
